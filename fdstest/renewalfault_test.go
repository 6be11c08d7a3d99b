package fdstest_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestARefusedRenewalCostsTheRefreshTokenNothing(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	refresh := text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in"), "refresh_token")
	p.Inject(fdstest.RefuseRefresh("invalid_grant", "token request is already being processed").Times(1))
	c.token(approved(t, p, "fdsdemo")).succeeds(t, "another sign-in")
	c.token(renewal("fdsdemo", refresh)).wants(t, "once", 400, "invalid_grant", "already being processed")
	refresh = text(c.token(renewal("fdsdemo", refresh)).succeeds(t, "and then"), "refresh_token")
	off := p.Inject(fdstest.RefuseRefresh("temporarily_unavailable", ""))
	for range 2 {
		ans := c.token(renewal("fdsdemo", refresh))
		if ans.wants(t, "without a description", 400, "temporarily_unavailable", ""); strings.Contains(ans.body, "description") {
			t.Errorf("%s", ans.body)
		}
	}
	off()
	c.token(renewal("fdsdemo", refresh)).succeeds(t, "off")
}

func TestASlowRenewalHasRotatedAtOnce(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	refresh := text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in"), "refresh_token")
	defer p.Inject(fdstest.ReplayRefresh(time.Hour))() // so that the test sees the answer that is held up
	off := p.Inject(fdstest.Slow(fdstest.TokenEndpoint, time.Hour).Times(1))
	slow := make(chan answer, 1)
	before := p.Requests(fdstest.TokenEndpoint)
	go func() { slow <- c.token(renewal("fdsdemo", refresh)) }()
	eventually(t, "the renewal is there", func() bool { return p.Requests(fdstest.TokenEndpoint) == before+1 })
	next := text(c.token(renewal("fdsdemo", refresh)).succeeds(t, "once more"), "refresh_token")
	select {
	case ans := <-slow:
		t.Errorf("an answer came: %d", ans.status)
	default:
	}
	off()
	if ans := <-slow; text(ans.succeeds(t, "the slow one"), "refresh_token") != next {
		t.Error("it had not rotated before the wait")
	}
}

func TestALostAnswerOfAGatewayHasSpentTheRefreshToken(t *testing.T) {
	for _, status := range []int{502, 504} {
		p := fdstest.New(t, fdstest.Options{Quiet: true})
		c := newRaw(t, p, nil)
		refresh := text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in"), "refresh_token")
		p.Inject(fdstest.AnswerAfterWork(fdstest.TokenEndpoint, status, "text/html", "<h1>Bad gateway</h1>").Times(1))
		if ans := c.token(renewal("fdsdemo", refresh)); ans.status != status || ans.header.Get("Content-Type") != "text/html" || !strings.Contains(ans.body, "gateway") {
			t.Errorf("%d %s", ans.status, ans.body)
		}
		c.token(renewal("fdsdemo", refresh)).wants(t, "again", 400, "invalid_grant", "used before")
	}
}

func TestABusyTokenEndpointHasDoneNothing(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	form := approved(t, p, "fdsdemo")
	for status, fault := range map[int]func(fdstest.Endpoint, string) fdstest.Fault{429: fdstest.TooManyRequests, 503: fdstest.Unavailable} {
		p.Inject(fault(fdstest.TokenEndpoint, "7").Times(1))
		if ans := c.token(form); ans.status != status || ans.header.Get("Retry-After") != "7" {
			t.Errorf("%d %q", ans.status, ans.header)
		}
	}
	c.token(form).succeeds(t, "the code is not spent")
}

func TestARevocationMayBeAnswered204(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	refresh := text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in"), "refresh_token")
	p.Inject(fdstest.AnswerAfterWork(fdstest.RevocationEndpoint, http.StatusNoContent, "", ""))
	if ans := c.post(p.Issuer()+"/revoke", renewal("fdsdemo", "x")); ans.status != http.StatusNoContent || ans.body != "" || ans.err != nil {
		t.Errorf("%d %q %v", ans.status, ans.body, ans.err)
	}
	c.post(p.Issuer()+"/revoke", clone(renewal("fdsdemo", ""), "token", refresh))
	c.token(renewal("fdsdemo", refresh)).wants(t, "revoked", 400, "invalid_grant", "revoked by the application")
}

func TestASpentRefreshTokenGetsTheSameAnswerAgain(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	first := text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in"), "refresh_token")
	off := p.Inject(fdstest.ReplayRefresh(time.Hour))
	answers := make(chan answer)
	for range 4 { // at once
		go func() { answers <- c.token(renewal("fdsdemo", first)) }()
	}
	renewed := (<-answers).succeeds(t, "renewal")
	for range 3 {
		if again := (<-answers).succeeds(t, "again"); !reflect.DeepEqual(again, renewed) {
			t.Errorf("%v is not %v", again, renewed)
		}
	}
	c.token(clone(renewal("fleet-app", first), "client_secret", p.ConfidentialApplication().Secret)).wants(t, "another application", 400, "invalid_grant", "another client's")
	second := text(renewed, "refresh_token")
	if ans := c.spaces("Authorization", "Bearer "+text(renewed, "access_token")); ans.status != http.StatusOK {
		t.Errorf("its access token: %d", ans.status)
	}
	third := text(c.token(renewal("fdsdemo", second)).succeeds(t, "the new one"), "refresh_token")
	off()
	late := p.Inject(fdstest.ReplayRefresh(0))
	c.token(renewal("fdsdemo", second)).wants(t, "too late", 400, "invalid_grant", "used before")
	late()
	c.token(renewal("fdsdemo", third)).wants(t, "the newest after it", 400, "invalid_grant", "revoked")

	p.Inject(fdstest.ReplayRefresh(time.Hour).Times(1))
	first = text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in"), "refresh_token")
	c.token(renewal("fdsdemo", first)).succeeds(t, "renewal")
	c.token(renewal("fdsdemo", first)).succeeds(t, "once more")
	c.token(renewal("fdsdemo", first)).wants(t, "twice more", 400, "invalid_grant", "used before")
}

func TestDPoPIsDroppedAtARenewal(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Optional})
	c, key := newRaw(t, p, nil), newKey(t)
	prove := func() []string { return []string{"DPoP", proof(t, key, "POST", p.Issuer()+"/token", "")} }
	tokens := c.token(approved(t, p, "fdsdemo"), prove()...).succeeds(t, "sign-in")
	off := p.Inject(fdstest.RenewalWithoutDPoP())
	dropped := c.token(renewal("fdsdemo", text(tokens, "refresh_token")), prove()...).succeeds(t, "renewal")
	access := text(dropped, "access_token")
	if dropped["token_type"] != "Bearer" || claimOf(t, access, "cnf") != nil || c.spaces("Authorization", "Bearer "+access).status != http.StatusOK {
		t.Errorf("%v", dropped)
	}
	off()
	c.token(renewal("fdsdemo", text(dropped, "refresh_token"))).wants(t, "without a proof", 400, "invalid_grant", "bound to a key")
	bound := c.token(renewal("fdsdemo", text(dropped, "refresh_token")), prove()...).succeeds(t, "off")
	if bound["token_type"] != "DPoP" || claimOf(t, text(bound, "access_token"), "cnf") == nil {
		t.Errorf("off: %v", bound)
	}
}

func TestYoungAccessTokensAreRefused(t *testing.T) {
	a := start(t, fdstest.Options{})
	bearer := a.signIn().AccessToken
	off := a.p.Inject(fdstest.YoungTokensRefused(time.Hour))
	if ans := a.get("spaces", bearer); ans.status != http.StatusUnauthorized || !strings.Contains(ans.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%d %q", ans.status, ans.header.Get("WWW-Authenticate"))
	}
	off()
	a.p.Inject(fdstest.YoungTokensRefused(time.Nanosecond))
	if ans := a.get("spaces", bearer); ans.status != http.StatusOK {
		t.Errorf("one that is older: %d", ans.status)
	}
	a.p.Inject(fdstest.YoungTokensRefused(time.Hour).Times(1))
	if first, second := a.get("spaces", bearer).status, a.get("spaces", bearer).status; first != http.StatusUnauthorized || second != http.StatusOK {
		t.Errorf("once: %d, %d", first, second)
	}
}

func TestAnOwnerIsTakenOutOfAGrantAndTheOthersStay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Introspection: true})
	c, fleet, owners := newRaw(t, p, nil), p.ConfidentialApplication(), p.Owners()
	for i, o := range owners {
		if err := p.AddDevice(o, []byte(`{"device_id":"`+string(rune('A'+i))+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(access string) string {
		ans := c.send(http.MethodGet, p.APIURL()+"/fds/v2/specifications", nil, "Authorization", "Bearer "+access)
		if ans.status != http.StatusOK {
			return http.StatusText(ans.status)
		}
		return strings.Join(strings.FieldsFunc(ans.body, func(c rune) bool { return !strings.ContainsRune("ABC", c) }), "")
	}
	issue := func(owners ...fdstest.Owner) fdstest.Tokens {
		t.Helper()
		tokens, err := p.IssueTokens(fleet.ID, owners...)
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	renew := func(refresh string) answer {
		return c.token(clone(renewal(fleet.ID, refresh), "client_secret", fleet.Secret))
	}
	both, alone, other := issue(owners[:2]...), issue(owners[1]), issue(owners[2])
	if sees(both.AccessToken) != "AB" {
		t.Fatalf("before, it sees %q", sees(both.AccessToken))
	}
	if n := p.Withdraw(owners[1]); n != 2 {
		t.Errorf("%d grants named the owner", n)
	}
	if sees(both.AccessToken) != "A" || sees(alone.AccessToken) != "Unauthorized" || sees(other.AccessToken) != "C" {
		t.Errorf("the tokens of before see %q, %q, %q", sees(both.AccessToken), sees(alone.AccessToken), sees(other.AccessToken))
	}
	told := c.post(p.Issuer()+"/introspect", clone(renewal(fleet.ID, ""), "client_secret", fleet.Secret, "token", both.AccessToken)).succeeds(t, "introspection")
	if told["subscription_id"] != owners[0].Spelling {
		t.Errorf("introspection names %v", told["subscription_id"])
	}
	renewed := renew(both.RefreshToken).succeeds(t, "renewal")
	for _, token := range []string{"access_token", "id_token"} {
		if got := claimOf(t, text(renewed, token), "subscription_id"); got != owners[0].Spelling {
			t.Errorf("%s names %v", token, got)
		}
	}
	if sees(text(renewed, "access_token")) != "A" {
		t.Errorf("the new token sees %q", sees(text(renewed, "access_token")))
	}
	renew(alone.RefreshToken).wants(t, "the grant of no other owner", 400, "invalid_grant", "withdrawn")
	renew(other.RefreshToken).succeeds(t, "a grant of another owner")
	if n := p.Withdraw(owners[0]); n != 1 {
		t.Errorf("%d grants named the last owner", n)
	}
	renew(text(renewed, "refresh_token")).wants(t, "the last owner is gone", 400, "invalid_grant", "withdrawn")
	if n := p.Withdraw(owners[0]); n != 0 {
		t.Errorf("again: %d", n)
	}
}
