package fdstest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"golang.org/x/oauth2"
)

func TestFaultsAtAnEndpointDoWhatTheySay(t *testing.T) {
	a := start(t, fdstest.Options{})
	good := a.metadata()
	bearer := a.signIn().AccessToken
	for _, c := range []struct {
		name  string
		fault func(fdstest.Endpoint) fdstest.Fault
		want  func(ans answer) bool
	}{
		{"Answer", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.Answer(e, 503, "text/plain", "down") },
			func(ans answer) bool {
				return ans.status == 503 && ans.body == "down" && ans.header.Get("Content-Type") == "text/plain"
			}},
		{"Answer without a type", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.Answer(e, 500, "", "<html>") },
			func(ans answer) bool { return ans.status == 500 && ans.header.Get("Content-Type") == "" }},
		{"Unauthorized", fdstest.Unauthorized, func(ans answer) bool {
			return ans.status == 401 && strings.Contains(ans.body, "unauthorized_request") && strings.Contains(ans.header.Get("WWW-Authenticate"), "invalid_token")
		}},
		{"TooManyRequests", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.TooManyRequests(e, "7") },
			func(ans answer) bool { return ans.status == 429 && ans.header.Get("Retry-After") == "7" }},
		{"WebPage", fdstest.WebPage, func(ans answer) bool {
			return ans.status == 200 && strings.HasPrefix(ans.header.Get("Content-Type"), "text/html")
		}},
		{"Forbidden", fdstest.Forbidden, func(ans answer) bool {
			return ans.status == 403 && strings.HasPrefix(ans.header.Get("Content-Type"), "text/html") && strings.HasPrefix(ans.body, "<!DOCTYPE html>")
		}},
		{"OAuthError", func(e fdstest.Endpoint) fdstest.Fault {
			return fdstest.OAuthError(e, 400, "invalid_grant", fdstest.HostileText)
		}, func(ans answer) bool {
			var members map[string]string
			return ans.status == 400 && json.Unmarshal([]byte(ans.body), &members) == nil &&
				members["error"] == "invalid_grant" && members["error_description"] == fdstest.HostileText
		}},
		{"AnotherNonce", fdstest.AnotherNonce, func(ans answer) bool {
			return (ans.status == 400 && strings.Contains(ans.body, "use_dpop_nonce") || ans.status == 401 && strings.Contains(ans.header.Get("WWW-Authenticate"), "use_dpop_nonce")) &&
				len(ans.header.Get("DPoP-Nonce")) > 20
		}},
		{"Redirect", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.Redirect(e, 307, "https://evil.example/") },
			func(ans answer) bool {
				return ans.status == 307 && ans.header.Get("Location") == "https://evil.example/"
			}},
		{"Oversized", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.Oversized(e, 100_000) },
			func(ans answer) bool {
				return ans.status == 200 && len(ans.body) > 100_000 && len(strings.TrimSpace(ans.body)) > 1
			}},
		{"Endless", fdstest.Endless, func(ans answer) bool { return ans.status == 200 && len(ans.body) == 1<<20 }},
		{"Drip", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.Drip(e, time.Microsecond) },
			func(ans answer) bool { return ans.err == nil && ans.status == 200 && len(ans.body) > 1 }},
		{"Truncated", fdstest.Truncated, func(ans answer) bool { return ans.err != nil && ans.status == 200 && len(ans.body) > 1 }},
		{"AnswerAfterWork", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.AnswerAfterWork(e, 502, "", "<html>") },
			func(ans answer) bool {
				return ans.status == 502 && ans.body == "<html>" && ans.header.Get("Content-Type") == ""
			}},
		{"ContentType", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.ContentType(e, "text/plain") },
			func(ans answer) bool {
				return ans.status == 200 && ans.header.Get("Content-Type") == "text/plain" && len(ans.body) > 1
			}},
		{"ContentType, none", func(e fdstest.Endpoint) fdstest.Fault { return fdstest.ContentType(e, "") },
			func(ans answer) bool {
				return ans.status == 200 && ans.header["Content-Type"] == nil && len(ans.body) > 1
			}},
		{"ByteOrderMark", fdstest.ByteOrderMark, func(ans answer) bool {
			return ans.status == 200 && strings.HasPrefix(ans.body, "\xef\xbb\xbf") && len(ans.body) > 4
		}},
		{"RewriteAnswer", func(e fdstest.Endpoint) fdstest.Fault {
			return fdstest.RewriteAnswer(e, func(r *fdstest.Reply) {
				r.Status++
				r.Header.Set("X-Seen", r.Header.Get("Content-Type"))
				r.Body = []byte(strings.ToUpper(string(r.Body)))
			})
		}, func(ans answer) bool {
			return ans.status == 201 && ans.header.Get("X-Seen") == "application/json" && ans.err == nil && len(ans.body) > 1 && ans.body == strings.ToUpper(ans.body)
		}},
		{"RewriteAnswer, cut", func(e fdstest.Endpoint) fdstest.Fault {
			return fdstest.RewriteAnswer(e, func(r *fdstest.Reply) { r.Body, r.Cut = []byte("{"), true })
		}, func(ans answer) bool { return ans.status == 200 && ans.body == "{" && ans.err != nil }},
		{"DropBeforeWork", fdstest.DropBeforeWork, func(ans answer) bool { return ans.err != nil && ans.status == 0 }},
		{"DropAfterWork", fdstest.DropAfterWork, func(ans answer) bool { return ans.err != nil && ans.status == 0 }},
	} {
		off := a.p.Inject(c.fault(fdstest.MetadataEndpoint))
		ans := a.metadata()
		if !c.want(ans) {
			t.Errorf("%s at the metadata: %d, %d bytes, %v", c.name, ans.status, len(ans.body), ans.err)
		}
		off()
		off()
		if ans := a.metadata(); ans.body != good.body {
			t.Errorf("%s is not off: %d, %v", c.name, ans.status, ans.err)
		}
		off = a.p.Inject(c.fault(fdstest.APIPath("specifications")))
		ans = a.get("specifications", bearer)
		if !c.want(ans) {
			t.Errorf("%s at the Web API: %d, %d bytes, %v", c.name, ans.status, len(ans.body), ans.err)
		}
		if ans := a.get("spaces", bearer); ans.status != http.StatusOK {
			t.Errorf("%s at another path: %d, %v", c.name, ans.status, ans.err)
		}
		off()
	}
}

func TestAFaultHappensAsOftenAsItSays(t *testing.T) {
	a := start(t, fdstest.Options{})
	bearer := a.signIn().AccessToken
	before := a.p.Requests(fdstest.APIEndpoint)
	a.p.Inject(fdstest.Answer(fdstest.APIEndpoint, 500, "", "").Times(2))
	for i, want := range []int{500, 500, 200} {
		if ans := a.get("spaces?ids=x", bearer); ans.status != want {
			t.Errorf("request %d: %d", i, ans.status)
		}
	}
	if n := a.p.Requests(fdstest.APIEndpoint) - before; n != 3 {
		t.Errorf("%d requests counted", n)
	}
	if n := len(a.p.APIRequests()); n != 1 {
		t.Errorf("%d requests reached the API", n)
	}
}

func TestOfTwoFaultsTheLastIsTheOuterOne(t *testing.T) {
	a := start(t, fdstest.Options{})
	a.p.Inject(fdstest.Answer(fdstest.MetadataEndpoint, 500, "", "first"))
	off := a.p.Inject(fdstest.Answer(fdstest.MetadataEndpoint, 502, "", "second"))
	if ans := a.metadata(); ans.status != 502 {
		t.Errorf("%d", ans.status)
	}
	off()
	a.p.Inject(fdstest.Oversized(fdstest.MetadataEndpoint, 3))
	if ans := a.metadata(); ans.status != 500 || ans.body != "   first" {
		t.Errorf("%d %q", ans.status, ans.body)
	}
}

func TestASlowAnswerWaitsAndComesWhenTheFaultIsSwitchedOff(t *testing.T) {
	a := start(t, fdstest.Options{})
	off := a.p.Inject(fdstest.Slow(fdstest.MetadataEndpoint, time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if ans := a.do(ctx, http.MethodGet, a.p.Issuer()+"/.well-known/oauth-authorization-server", "", nil); !errors.Is(ans.err, context.DeadlineExceeded) {
		t.Errorf("an answer came: %d %v", ans.status, ans.err)
	}
	got := make(chan answer, 1)
	go func() { got <- a.metadata() }()
	eventually(t, "the second request is there", func() bool { return a.p.Requests(fdstest.MetadataEndpoint) == 2 })
	off()
	if ans := <-got; ans.err != nil || ans.status != http.StatusOK {
		t.Errorf("%d %v", ans.status, ans.err)
	}
	off = a.p.Inject(fdstest.Slow(fdstest.MetadataEndpoint, 30*time.Millisecond))
	began := time.Now()
	if ans := a.metadata(); ans.status != http.StatusOK || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%d after %v", ans.status, time.Since(began))
	}
	off()
}

func TestARenewalThatIsDroppedAfterTheWorkHasSpentTheRefreshToken(t *testing.T) {
	a := start(t, fdstest.Options{})
	kept, spent := a.signIn(), a.signIn()
	a.p.Inject(fdstest.DropBeforeWork(fdstest.TokenEndpoint).Times(1))
	if ans := a.refresh(kept.RefreshToken); ans.err == nil {
		t.Error("an answer came before the work")
	}
	if ans := a.refresh(kept.RefreshToken); ans.status != http.StatusOK {
		t.Errorf("the refresh token is spent without work: %d", ans.status)
	}
	a.p.Inject(fdstest.DropAfterWork(fdstest.TokenEndpoint).Times(1))
	if ans := a.refresh(spent.RefreshToken); ans.err == nil {
		t.Error("an answer came after the work")
	}
	if ans := a.refresh(spent.RefreshToken); ans.json(t)["error"] != "invalid_grant" {
		t.Errorf("the refresh token was not spent: %d", ans.status)
	}
}

func TestFaultsOfTheAuthorizationServerDoWhatTheySay(t *testing.T) {
	a := start(t, fdstest.Options{})
	other := a.p.Owners()[2]
	whole := func() (url.Values, *oauth2.Token) {
		t.Helper()
		verifier := oauth2.GenerateVerifier()
		q := a.callback(verifier)
		token, err := a.Exchange(a.ctx(), q.Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		return q, token
	}
	id := func(token *oauth2.Token, claim string) any {
		text, _ := token.Extra("id_token").(string)
		return claimOf(t, text, claim)
	}
	for name, c := range map[string]struct {
		fault fdstest.Fault
		holds func(q url.Values, token *oauth2.Token) bool
	}{
		"another issuer in the metadata": {fdstest.MetadataMember("issuer", "https://evil.example"), func(url.Values, *oauth2.Token) bool {
			return a.metadata().json(t)["issuer"] == "https://evil.example"
		}},
		"no member in the metadata": {fdstest.MetadataMember("token_endpoint", nil), func(url.Values, *oauth2.Token) bool {
			_, has := a.metadata().json(t)["token_endpoint"]
			return !has
		}},
		"no S256": {fdstest.MetadataMember("code_challenge_methods_supported", []string{"plain"}), func(url.Values, *oauth2.Token) bool {
			return !strings.Contains(a.metadata().body, `"S256"`)
		}},
		"tokens in the clear": {fdstest.MetadataMember("token_endpoint", "http://127.0.0.1/token"), func(url.Values, *oauth2.Token) bool {
			return a.metadata().json(t)["token_endpoint"] == "http://127.0.0.1/token"
		}},
		"hostile text": {fdstest.ResponseParameter("error_description", fdstest.HostileText), func(q url.Values, _ *oauth2.Token) bool {
			return q.Get("error_description") == fdstest.HostileText
		}},
		"wrong iss": {fdstest.ResponseIssuer("https://evil.example"), func(q url.Values, _ *oauth2.Token) bool { return q.Get("iss") == "https://evil.example" }},
		"no iss":    {fdstest.NoResponseIssuer(), func(q url.Values, _ *oauth2.Token) bool { return !q.Has("iss") && q.Has("code") }},
		"wrong state": {fdstest.ResponseParameter("state", "other"), func(q url.Values, _ *oauth2.Token) bool {
			return q.Get("state") == "other"
		}},
		"no expires_in": {fdstest.TokenAnswerMember("expires_in", nil), func(_ url.Values, token *oauth2.Token) bool { return token.Expiry.IsZero() }},
		"no refresh token": {fdstest.TokenAnswerMember("refresh_token", nil), func(_ url.Values, token *oauth2.Token) bool {
			return token.RefreshToken == ""
		}},
		"another token type": {fdstest.TokenAnswerMember("token_type", "mac"), func(_ url.Values, token *oauth2.Token) bool { return token.TokenType == "mac" }},
		"no new refresh token": {fdstest.NoNewRefreshToken(), func(_ url.Values, token *oauth2.Token) bool {
			first, second := a.refresh(token.RefreshToken), a.refresh(token.RefreshToken)
			return first.json(t)["refresh_token"] == nil && second.status == http.StatusOK
		}},
		"no subscription ID": {fdstest.TokenSubscription(nil), func(_ url.Values, token *oauth2.Token) bool {
			return claimOf(t, token.AccessToken, "subscription_id") == nil && id(token, "subscription_id") == nil &&
				a.get("spaces", token.AccessToken).status == http.StatusUnauthorized
		}},
		"no UUID of version 4": {fdstest.TokenSubscription("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), func(_ url.Values, token *oauth2.Token) bool {
			return claimOf(t, token.AccessToken, "subscription_id") == "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
		}},
		"someone else's on renewal": {fdstest.RenewalSubscription(other.Spelling), func(_ url.Values, token *oauth2.Token) bool {
			renewed, _ := a.refresh(token.RefreshToken).json(t)["access_token"].(string)
			return claimOf(t, token.AccessToken, "subscription_id") == a.p.Owners()[0].Spelling && claimOf(t, renewed, "subscription_id") == other.Spelling
		}},
		"another type of ID token": {fdstest.IDTokenHeader("typ", "at+jwt"), func(_ url.Values, token *oauth2.Token) bool {
			text, _ := token.Extra("id_token").(string)
			header, _, _ := strings.Cut(text, ".")
			content, err := base64.RawURLEncoding.DecodeString(header)
			return err == nil && strings.Contains(string(content), `"at+jwt"`)
		}},
		"another nonce": {fdstest.IDTokenClaim("nonce", "other"), func(_ url.Values, token *oauth2.Token) bool { return id(token, "nonce") == "other" }},
	} {
		off := a.p.Inject(c.fault)
		if q, token := whole(); !c.holds(q, token) {
			t.Errorf("%s: it does not", name)
		}
		off()
		if q, token := whole(); c.holds(q, token) {
			t.Errorf("%s: it is not off", name)
		}
	}
}

func TestTheQueryOfARedirectIsWrittenAsTold(t *testing.T) {
	a := start(t, fdstest.Options{})
	callback := func(decide func(context.Context, string) (string, error)) string {
		t.Helper()
		address, err := decide(t.Context(), a.link(oauth2.GenerateVerifier()))
		if err != nil {
			t.Fatal(err)
		}
		return address
	}
	approve := func(ctx context.Context, address string) (string, error) { return a.p.ApproveCallback(ctx, address) }
	off := a.p.Inject(fdstest.ResponseQuery(func(query string) string { return query + "&hint=100%+sure;try" }))
	for _, decide := range []func(context.Context, string) (string, error){approve, a.p.DenyCallback} {
		if address := callback(decide); !strings.HasSuffix(address, "&hint=100%+sure;try") || !strings.Contains(address, "state=the-state") {
			t.Errorf("%s", address)
		}
	}
	off()
	a.p.Inject(fdstest.ResponseParameter("state", ""))
	if address := callback(a.p.DenyCallback); strings.Contains(address, "state=") || strings.Contains(address, "hint=") || !strings.Contains(address, "error=access_denied") {
		t.Errorf("without state: %s", address)
	}
}

func TestTheTwoPlacesOfTheMetadataAreEndpointsOfTheirOwn(t *testing.T) {
	a := start(t, fdstest.Options{})
	places := map[fdstest.Endpoint]string{fdstest.OAuthMetadataEndpoint: "oauth-authorization-server", fdstest.OpenIDDiscoveryEndpoint: "openid-configuration"}
	for at := range places {
		off := a.p.Inject(fdstest.Answer(at, 200, "application/json", "{}"))
		for other, place := range places {
			before := a.p.Requests(other)
			ans := a.do(t.Context(), http.MethodGet, a.p.Issuer()+"/.well-known/"+place, "", nil)
			if (ans.body == "{}") != (at == other) || a.p.Requests(other) != before+1 {
				t.Errorf("%s, with a fault at %s: %s", other, at, ans.body)
			}
		}
		off()
	}
	if n := a.p.Requests(fdstest.MetadataEndpoint); n != 4 {
		t.Errorf("%d requests for metadata", n)
	}
}

func TestAFaultInsideTheAuthorizationServerHappensAsOftenAsItSays(t *testing.T) {
	a := start(t, fdstest.Options{})
	a.p.Inject(fdstest.TokenSubscription(nil).Times(1))
	for i, want := range []any{nil, a.p.Owners()[0].Spelling} {
		if got := claimOf(t, a.signIn().AccessToken, "subscription_id"); got != want {
			t.Errorf("token %d: %v", i, got)
		}
	}
}

func TestWithdrawnGrantsAreInvalid(t *testing.T) {
	a := start(t, fdstest.Options{})
	owners := a.p.Owners()
	first, second := a.signIn(owners[0]), a.signIn(owners[1])
	if n := a.p.RevokeGrants(owners[0]); n != 1 {
		t.Errorf("%d grants ended", n)
	}
	if ans := a.refresh(first.RefreshToken); ans.json(t)["error"] != "invalid_grant" {
		t.Errorf("renewal: %d", ans.status)
	}
	if a.get("spaces", first.AccessToken).status != http.StatusUnauthorized || a.get("spaces", second.AccessToken).status != http.StatusOK {
		t.Error("the wrong access token is refused")
	}
}

func TestAWrongFaultIsNoticedAtOnce(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	for _, f := range []fdstest.Fault{{}, fdstest.Slow("tokens", time.Second), fdstest.Slow("api/", 0)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is accepted", f)
				}
			}()
			p.Inject(f)
		}()
	}
	if name := fdstest.WebPage(fdstest.TokenEndpoint).String(); name != "WebPage" {
		t.Errorf("its name is %q", name)
	}
	if _, err := p.AddOwner(fdstest.Owner{SubscriptionID: fds.NewSubscriptionID()}); err != nil {
		t.Error(err)
	}
}
