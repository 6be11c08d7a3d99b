package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

var southID = strings.ToLower(south.Spelling)

// together returns both owners items that name nobody and has them sign in with one grant.
func (s *setup) together() {
	s.t.Helper()
	s.device(s.north, `{"device_id":"n1","generic":{}}`)
	s.device(s.south, `{"device_id":"s1","generic":{}}`)
	for _, err := range []error{
		s.box.AddSpace(s.north, []byte(`{"space_id":"n2","generic":{"space_type":"site"}}`)),
		s.box.AddSpace(s.south, []byte(`{"space_id":"s2","generic":{"space_type":"site"}}`)),
		s.box.AddEventSpecification([]byte(`{"code":"c1","generic":{}}`)),
	} {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.signIn(s.north, s.south)
}

func TestAttackNothingOfASharedGrantIsShownUnderOneOfItsOwners(t *testing.T) {
	s := newSetup(t)
	s.together()
	before := s.box.Requests(fdstest.APIEndpoint)
	for _, args := range [][]string{
		{"get", "specifications", "--owner", south.Spelling}, {"get", "specifications", "--owner", north.Spelling, "--json"},
		{"get", "specifications"}, {"get", "specifications", "--json"}, {"get", "statuses"},
		{"spaces"}, {"spaces", "--tree"}, {"spaces", "--tree", "--json", "--owner", south.Spelling},
		{"tag", "list", "--owner", south.Spelling}, {"tag", "get", "x", "--owner", south.Spelling}, {"tag", "delete", "x", "--owner", south.Spelling},
	} {
		r := s.run(args...).expect(statusUsage)
		if strings.ContainsAny(r.out, `{}`) || strings.Contains(r.out, "n1") || strings.Contains(r.out, "s1") {
			t.Errorf("%q: stdout %s", args, r.out)
		}
		if !strings.Contains(r.err, "provider.dialect.subscription_parameter") || strings.Contains(r.err, "SubscriptionParameter") {
			t.Errorf("%q: stderr %s", args, r.err)
		}
		if n := strings.Count(r.err, "nothing says"); n != 1 {
			t.Errorf("%q: told %d times: %s", args, n, r.err)
		}
		if reads := args[0] != "tag" || args[1] == "list"; reads && (!strings.Contains(r.err, "provider.dialect.subscription_member") || !strings.Contains(r.err, "--grant --owner")) {
			t.Errorf("%q: stderr %s", args, r.err)
		}
	}
	if n := s.box.Requests(fdstest.APIEndpoint) - before; n != 0 {
		t.Errorf("%d requests whose answers nobody may see", n)
	}
}

func TestAGrantOfSeveralIsReadUnderTheNamesOfAll(t *testing.T) {
	s := newSetup(t)
	s.together()
	of := fmt.Sprintf(`{"owners":["%s","%s"],"issuer":"%s",`, north.Spelling, southID, s.box.Issuer())
	for _, owner := range [][]string{nil, {"--owner", south.Spelling}} {
		before := s.box.Requests(fdstest.APIEndpoint)
		r := s.run(append([]string{"get", "specifications", "--grant", "--json"}, owner...)...).expect(statusDone)
		if want := of + `"item":{"device_id":"n1","generic":{}}}` + "\n" + of + `"item":{"device_id":"s1","generic":{}}}` + "\n"; r.out != want || r.err != "" {
			t.Errorf("stdout\n%s\nwant\n%s\nstderr %s", r.out, want, r.err)
		}
		if n := s.box.Requests(fdstest.APIEndpoint) - before; n != 1 {
			t.Errorf("%d requests", n)
		}
		heading := "Grant of " + north.Spelling + " and " + southID + "\n"
		if r := s.run(append([]string{"get", "specifications", "--grant"}, owner...)...).expect(statusDone); !strings.HasPrefix(r.out, heading) || !strings.Contains(r.out, "n1") || !strings.Contains(r.out, "s1") {
			t.Errorf("stdout\n%s", r.out)
		}
		if r := s.run(append([]string{"spaces", "--tree", "--grant"}, owner...)...).expect(statusDone); r.out != heading+"site  n2\nsite  s2\n" {
			t.Errorf("stdout\n%s", r.out)
		}
		if r := s.run(append([]string{"spaces", "--tree", "--grant", "--json"}, owner...)...).expect(statusDone); len(r.lines()) != 2 || !strings.HasPrefix(r.lines()[0], of+`"id":"n2"`) {
			t.Errorf("stdout\n%s", r.out)
		}
	}
	if r := s.run("tag", "list", "--grant", "--owner", south.Spelling).expect(statusDone); !strings.HasPrefix(r.out, "Grant of ") || !strings.Contains(r.out, "\nNo tags.") {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
	// They belong to nobody.
	if r := s.run("get", "event-specifications", "--json").expect(statusDone); strings.Count(r.out, `{"code":"c1","generic":{}}`+"\n") != 1 {
		t.Errorf("stdout\n%s", r.out)
	}
	// Who signed out here is read by the grant too.
	s.run("logout", north.Spelling).expect(statusHeld)
	r := s.run("get", "specifications", "--grant", "--json").expect(statusDone)
	if want := fmt.Sprintf(`{"owners":["%s"],"others":["%s"],`, southID, north.Spelling); len(r.lines()) != 2 || !strings.HasPrefix(r.lines()[0], want) || !strings.HasPrefix(r.lines()[1], want) {
		t.Errorf("stdout\n%s", r.out)
	}
	if r := s.run("get", "specifications", "--grant").expect(statusDone); !strings.HasPrefix(r.out, "Grant of "+southID+", which reads data of "+north.Spelling+" too\n") {
		t.Errorf("stdout\n%s", r.out)
	}
	s.run("get", "specifications").expect(statusUsage).says("subscription_member")
}

func TestOwnersOfOneGrantEachHaveWhatNamesThem(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, `{"device_id":"n1","whose":"`+north.Spelling+`","generic":{}}`)
	s.device(s.south, `{"device_id":"s1","whose":"`+south.Spelling+`","generic":{}}`)
	s.signIn(s.north, s.south)
	for _, dialect := range []string{"subscription_member: whose", "subscription_parameter: owner"} {
		s.dialect("{" + dialect + "}")
		for id, want := range map[string]string{north.Spelling: "n1", southID: "s1"} {
			if r := s.run("get", "specifications", "--owner", id, "--json").expect(statusDone); len(r.lines()) != 1 || !strings.Contains(r.out, `"`+want+`"`) {
				t.Errorf("%s: of %s come\n%s", dialect, id, r.out)
			}
		}
		r := s.run("get", "specifications").expect(statusDone)
		ofNorth, ofSouth, ok := strings.Cut(r.out, "Owner "+southID)
		if !ok || !strings.HasPrefix(ofNorth, "Owner "+north.Spelling) || strings.Count(ofNorth, "n1") != 1 || strings.Contains(ofNorth, "s1") || strings.Count(ofSouth, "s1") != 1 || strings.Contains(ofSouth, "n1") {
			t.Errorf("%s: stdout\n%s", dialect, r.out)
		}
	}
	// An item that names nobody is nobody's.
	for i := range 15 {
		s.device(s.north, fmt.Sprintf(`{"device_id":"x%d","generic":{}}`, i))
	}
	s.dialect("{subscription_member: whose}")
	r := s.run("get", "specifications", "--owner", north.Spelling, "--json").expect(statusFailed)
	if len(r.lines()) != 1 || !strings.Contains(r.out, `"n1"`) || strings.Count(r.err, "it names no owner") != badTold || !strings.Contains(r.err, "5 more items of this list are no better") {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
	if r := s.run("get", "specifications", "--grant", "--json").expect(statusDone); len(r.lines()) != 17 {
		t.Errorf("stdout %s", r.out)
	}
}

func TestASignInTogetherSaysWhichSettingTellsItsOwnersApart(t *testing.T) {
	s := newSetup(t)
	login := func(owners ...fdstest.Owner) string {
		p := s.start("login", "--no-browser")
		s.approve(p, owners...)
		return p.wait().expect(statusDone).err
	}
	const warning = "fdsdemo: warning: "
	err := login(s.north, s.south)
	if strings.Count(err, warning) != 1 {
		t.Errorf("stderr %s", err)
	}
	for _, part := range []string{north.Spelling + " and " + southID + " signed in together", "set provider.dialect.subscription_member or subscription_parameter", "get --grant"} {
		if !strings.Contains(err, part) {
			t.Errorf("%q is not in %s", part, err)
		}
	}
	if err := login(s.north); strings.Contains(err, warning) {
		t.Errorf("one owner alone: %s", err)
	}
	for _, dialect := range []string{"subscription_member: whose", "subscription_parameter: owner"} {
		s.dialect("{" + dialect + "}")
		if err := login(s.north, s.south); strings.Contains(err, warning) {
			t.Errorf("%s: %s", dialect, err)
		}
	}
}

func TestASignOutOfOneOfSeveralSaysWhoHoldsTheGrantAndWhatFollows(t *testing.T) {
	s := newSetup(t)
	s.together()
	s.run("logout", north.Spelling).expect(statusHeld).says(north.Spelling+" is signed out here, but "+southID+" signed in together with it and holds the grant still",
		"read the data of "+north.Spelling, "run: fdsdemo logout "+southID)
	if n := s.box.Requests(fdstest.RevocationEndpoint); n != 0 {
		t.Errorf("%d revocations of a grant that another holds", n)
	}
	s.run("logout", north.Spelling).expect(statusSignIn).says("is not signed in")
	s.run("logout", southID).expect(statusDone)
	if n := s.box.RevokeGrants(s.south) + s.box.RevokeGrants(s.north); n != 0 {
		t.Errorf("the provider has %d grants still", n)
	}
}

func TestOwnersShowsWhoseGrantItIs(t *testing.T) {
	s := newSetup(t)
	s.together()
	var got ownerReport
	line := s.run("owners", "--json").expect(statusDone).lines()[1]
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if want := []fds.SubscriptionID{s.north.SubscriptionID, s.south.SubscriptionID}; !reflect.DeepEqual(got.GrantOwners, want) || got.GrantOthers != nil || !strings.Contains(got.Untold, "provider.dialect.subscription_member") {
		t.Errorf("got %s", line)
	}
	if r := s.run("owners").expect(statusDone); strings.Count(r.out, "whose is not told; grant of 2 owners") != 2 || !strings.Contains(r.lines()[0], "NOTE") {
		t.Errorf("stdout %s", r.out)
	}
	s.run("logout", north.Spelling).expect(statusHeld)
	s.dialect("{subscription_member: whose}")
	if r := s.run("owners", "--json").expect(statusDone); !strings.HasSuffix(r.out, `"grant_owners":["`+southID+`"],"grant_others":["`+north.Spelling+`"]}`+"\n") {
		t.Errorf("stdout %s", r.out)
	}
}
