package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestNobodySignedInIsAnEmptyList(t *testing.T) {
	s := newSetup(t)
	for _, args := range [][]string{{"owners"}, {"owners", "--json"}} {
		if r := s.run(args...).expect(statusDone); r.out != "" || !strings.Contains(r.err, "fdsdemo login") {
			t.Errorf("stdout %q, stderr %q", r.out, r.err)
		}
	}
}

func TestOwnersAreListedWithoutTheNetwork(t *testing.T) {
	s := newSetup(t)
	until := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	s.certificate(s.north, fdstest.CertificateRequest{CommonName: north.Spelling, NotAfter: until})
	s.signIn(s.north)
	s.box.Close()
	r := s.run("owners", "--json").expect(statusDone)
	if len(r.lines()) != 1 || r.err != "" {
		t.Fatalf("stdout %q, stderr %q", r.out, r.err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got["owner"] != north.Spelling || got["issuer"] != s.box.Issuer() || got["token"] != "fresh" || got["certificate_expiry"] != until.Format(time.RFC3339) {
		t.Errorf("got %v", got)
	}
	expiry, err := time.Parse(time.RFC3339, got["token_expiry"].(string))
	if left := time.Until(expiry); err != nil || left < 5*time.Minute || left > 11*time.Minute {
		t.Errorf("the token expires %v", got["token_expiry"])
	}

	table := s.run("owners").expect(statusDone).lines()
	if len(table) != 2 || !strings.HasPrefix(table[0], "OWNER") || !strings.Contains(table[1], north.Spelling+"  fresh") ||
		!strings.Contains(table[1], until.Local().Format("2006-01-02 15:04:05")) {
		t.Errorf("the table is %q", table)
	}

	s.configure("provider:\n", "owners: {harbour: "+north.Spelling+", alpha: "+north.Spelling+"}\nprovider:\n")
	table = s.run("owners").expect(statusDone).lines()
	if got := strings.Fields(table[1]); strings.Fields(table[0])[1] != "NAME" || got[1] != "alpha" {
		t.Errorf("with names the table is %q", table)
	}
	if r := s.run("owners", "--jq", ".name").expect(statusDone); r.out != "alpha\n" {
		t.Errorf("stdout %q", r.out)
	}
}

func TestAnExpiredOrMissingCertificateIsShown(t *testing.T) {
	s := newSetup(t)
	now := time.Now()
	s.certificate(s.north, fdstest.CertificateRequest{CommonName: north.Spelling, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour)})
	s.configure("owners/", "owners/\n  topics: ['#']")
	s.signIn(s.north)
	if r := s.run("owners").expect(statusDone); !strings.Contains(r.out, "expired "+now.Add(-24*time.Hour).Local().Format("2006-01-02")) {
		t.Errorf("stdout %q", r.out)
	}
	s.write("nobody/x", "")
	s.configure("owners/", "nobody/")
	if r := s.run("owners", "--json").expect(statusDone); !strings.Contains(r.out, `"certificate_expiry":null,"certificate_problem":"none"`) {
		t.Errorf("stdout %q", r.out)
	}
}

func TestTheStateOfATokenFollowsItsTimes(t *testing.T) {
	now := time.Now()
	before, after := now.Add(-time.Second), now.Add(time.Second)
	for _, c := range []struct {
		grant fdsclient.GrantInfo
		want  string
	}{
		{fdsclient.GrantInfo{AccessExpiry: after}, "fresh"},
		{fdsclient.GrantInfo{AccessExpiry: after, Renewable: true, RefreshExpiry: before}, "fresh"},
		{fdsclient.GrantInfo{AccessExpiry: before}, "lapsed"},
		{fdsclient.GrantInfo{AccessExpiry: before, Renewable: true}, "renewable"},
		{fdsclient.GrantInfo{AccessExpiry: before, Renewable: true, RefreshExpiry: after}, "renewable"},
		{fdsclient.GrantInfo{AccessExpiry: before, Renewable: true, RefreshExpiry: before}, "lapsed"},
		{fdsclient.GrantInfo{AccessExpiry: after, Lapsed: fds.ErrSignInRequired}, "lapsed"},
	} {
		if got := tokenState(c.grant, now); got != c.want {
			t.Errorf("%+v is %s, want %s", c.grant, got, c.want)
		}
	}
}

func TestASignOutRevokesAndDeletes(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	r := s.run("logout", strings.ToUpper(north.Spelling)).expect(statusDone)
	if r.out != "" || !strings.Contains(r.err, north.Spelling+" is signed out") {
		t.Errorf("stdout %q, stderr %q", r.out, r.err)
	}
	if n := s.box.RevokeGrants(s.north); n != 0 {
		t.Errorf("the provider still has %d grants of the owner", n)
	}
	if n := s.box.RevokeGrants(s.south); n != 1 {
		t.Errorf("the provider has %d grants of the other owner, want 1", n)
	}
	if r := s.run("logout", north.Spelling).expect(statusSignIn).says("is not signed in", "fdsdemo owners"); strings.Contains(r.err, "login") {
		t.Errorf("who wants to sign out is told to sign in: %s", r.err)
	}
	if left := s.run("owners").expect(statusDone).out; strings.Contains(left, north.Spelling) || !strings.Contains(left, strings.ToLower(south.Spelling)) {
		t.Errorf("stored are %q", left)
	}
}

func TestASignOutThatIsNotRevokedSaysWhatWorked(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Answer(fdstest.RevocationEndpoint, 503, "text/plain", "down"))
	s.run("logout", north.Spelling).expect(statusFailed).says("the grant was deleted here", "the provider did not revoke the grant")
	s.run("get", "statuses").expect(statusSignIn).says("nobody has signed in", "fdsdemo login")
}
