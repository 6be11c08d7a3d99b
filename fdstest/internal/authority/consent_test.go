package authority

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

func (s *setup) link() string {
	return s.app().AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), consentPrompt())
}

func TestTheConsentPageEscapesNamesAndRunsNothing(t *testing.T) {
	s := start(t, nil)
	a := s.get(s.link())
	for _, want := range []string{"Desk &lt;i&gt;top", "Harbour &lt;b&gt;&amp;&#34;Co", `value="` + harbour + `"`, "http://127.0.0.1:4711", `lang="en"`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "<b>") {
		t.Errorf("unescaped: %s", a.body)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:4711; frame-ancestors 'none'; base-uri 'none'",
		"X-Frame-Options":         "DENY",
		"X-Content-Type-Options":  "nosniff",
		"Cache-Control":           "no-store",
		"Referrer-Policy":         "same-origin",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if style := s.get(s.issuer + stylePath); style.status != http.StatusOK || !strings.HasPrefix(style.header.Get("Content-Type"), "text/css") {
		t.Errorf("style sheet: %d", style.status)
	}
}

func TestThePolicyNamesWhereTheFormMayLead(t *testing.T) {
	for uri, want := range map[string]string{
		"http://127.0.0.1:80/cb":       "http://127.0.0.1:80",
		"http://[::1]:80/cb":           "http:",
		"https://app.example.com/cb":   "https://app.example.com",
		"https://x;script-src/cb":      "https:",
		"com.example.app:/cb":          "com.example.app:",
		"https://app.example.com:8/cb": "https://app.example.com:8",
	} {
		if got := originOf(uri); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

func TestAConsentFormServesOnceAndOnlyInItsBrowser(t *testing.T) {
	s := start(t, nil)
	token := s.tokenOf(s.get(s.link()))
	form := url.Values{"token": {token}, "decision": {"approve"}, "owner": {north}}

	own := s.browser.Jar
	s.browser.Jar, _ = cookiejar.New(nil)
	if a := s.post(ConsentPath, form); a.status != http.StatusBadRequest {
		t.Errorf("without the cookie: %d", a.status)
	}
	s.tokenOf(s.get(s.link())) // another browser, with a cookie of its own
	if a := s.post(ConsentPath, form); a.status != http.StatusBadRequest {
		t.Errorf("with another cookie: %d", a.status)
	}
	s.browser.Jar = own
	if q := s.redirectOf(s.post(ConsentPath, form)); q.Get("code") == "" {
		t.Errorf("redirect without a code: %v", q)
	}
	if a := s.post(ConsentPath, form); a.status != http.StatusBadRequest {
		t.Errorf("the second time: %d", a.status)
	}
}

func TestTwoConsentPagesOfOneBrowserBothWork(t *testing.T) {
	s := start(t, nil)
	first, second := s.tokenOf(s.get(s.link())), s.tokenOf(s.get(s.link()))
	for _, token := range []string{first, second} {
		if q := s.redirectOf(s.post(ConsentPath, url.Values{"token": {token}, "decision": {"approve"}, "owner": {north}})); q.Get("code") == "" {
			t.Errorf("redirect without a code: %v", q)
		}
	}
}

func TestAFormFromAnotherSiteIsRefused(t *testing.T) {
	s := start(t, nil)
	token := s.tokenOf(s.get(s.link()))
	body := url.Values{"token": {token}, "decision": {"approve"}, "owner": {north}}.Encode()
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		req := s.postRequest(ConsentPath, body)
		req.Header.Set(name, value)
		if a := s.do(req); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	req := s.postRequest(ConsentPath, body)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if a := s.do(req); a.status != http.StatusSeeOther {
		t.Errorf("from the page itself: %d", a.status)
	}
}

func TestAFaultyChoiceBringsThePageBack(t *testing.T) {
	s := start(t, nil)
	token := s.tokenOf(s.get(s.link()))
	for _, owners := range [][]string{nil, {"00000000-0000-4000-8000-000000000000"}, {strings.ToUpper(north)}} {
		a := s.post(ConsentPath, url.Values{"token": {token}, "decision": {"approve"}, "owner": owners})
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `role="alert"`) {
			t.Errorf("%v: %d", owners, a.status)
		}
	}
	q := s.redirectOf(s.post(ConsentPath, url.Values{"token": {token}, "decision": {"approve"}, "owner": {north, north}}))
	if q.Get("code") == "" {
		t.Errorf("after the correction: %v", q)
	}
	for _, form := range []url.Values{{}, {"token": {token, token}, "decision": {"deny"}}, {"token": {token}}} {
		if a := s.post(ConsentPath, form); a.status != http.StatusBadRequest {
			t.Errorf("%d for an incomplete form", a.status)
		}
	}
}

func TestAConsentPageExpiresAndTheOldestGivesWay(t *testing.T) {
	s := start(t, nil)
	oldest := s.tokenOf(s.get(s.link()))
	expired := s.tokenOf(s.get(s.link()))
	s.mu.Lock()
	s.pending[digestOf(expired)].expires = time.Now().Add(-time.Second)
	for range maxPending - len(s.pending) {
		s.pending[digestOf(newSecret())] = &pendingRequest{opened: time.Now(), expires: time.Now().Add(time.Hour)}
	}
	s.mu.Unlock()
	newest := s.tokenOf(s.get(s.link()))
	for token, want := range map[string]int{oldest: http.StatusBadRequest, expired: http.StatusBadRequest, newest: http.StatusSeeOther} {
		if a := s.post(ConsentPath, url.Values{"token": {token}, "decision": {"deny"}}); a.status != want {
			t.Errorf("%d, want %d", a.status, want)
		}
	}
}

func TestHooksChangeWhatTheServerSays(t *testing.T) {
	s := start(t, nil)
	remove := s.Hook(Hooks{
		Metadata:              func(m map[string]any) { m["issuer"] = "https://evil.example" },
		AuthorizationResponse: func(q url.Values) { q.Del("iss") },
		Claims: func(grantType string, access, id map[string]any) {
			access["subscription_id"], id["subscription_id"] = grantType, grantType
		},
		TokenAnswer:      func(_ string, answer map[string]any) { delete(answer, "expires_in") },
		KeepRefreshToken: func() bool { return true },
	})
	if m := s.get(s.issuer + OAuthMetadataPath).json(t); m["issuer"] != "https://evil.example" {
		t.Errorf("issuer %v", m["issuer"])
	}
	if q := s.decide(s.link(), "deny"); q.Has("iss") {
		t.Error("iss is there")
	}
	token := s.signIn(north)
	if got := claimsOf(t, token.AccessToken)["subscription_id"]; got != GrantAuthorizationCode || !token.Expiry.IsZero() {
		t.Errorf("claim %v, expiry %v", got, token.Expiry)
	}
	if verifies(s, token.AccessToken) {
		t.Error("a token without a subscription ID verifies")
	}
	for range 2 {
		if a := s.refresh(token.RefreshToken).json(t); a["access_token"] == nil || a["refresh_token"] != nil {
			t.Errorf("renewal: %v", a["error"])
		}
	}
	remove()
	if !verifies(s, s.signIn(north).AccessToken) {
		t.Error("the hooks are still there")
	}
}

func TestSecretsListsAllThatWasIssuedAndSent(t *testing.T) {
	s := start(t, nil)
	verifier := oauth2.GenerateVerifier()
	q := s.decide(s.app().AuthCodeURL("st", oauth2.S256ChallengeOption(verifier), consentPrompt()), "approve", north)
	token, err := s.app().Exchange(s.ctx(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	s.post(TokenPath, url.Values{"client_id": {"fleet app"}, "client_secret": {"a wrong secret"}})
	idToken, _ := token.Extra("id_token").(string)
	listed := make(map[string]bool)
	for _, secret := range s.Secrets() {
		listed[secret] = true
	}
	for name, secret := range map[string]string{"verifier": verifier, "code": q.Get("code"), "access token": token.AccessToken, "refresh token": token.RefreshToken,
		"ID token": idToken, "client secret": "s3cret: with % and +", "secret that was sent": "a wrong secret"} {
		if !listed[secret] {
			t.Errorf("the %s is not listed", name)
		}
	}
}

func TestTheListOfSecretsIsBounded(t *testing.T) {
	var l secretLog
	for range 2*maxSecrets + 1 {
		l.add(newSecret())
	}
	l.add("the newest one", "short")
	if len(l.order) != maxSecrets+2 || len(l.known) != len(l.order) || l.order[len(l.order)-1] != "the newest one" {
		t.Errorf("%d listed, %d known", len(l.order), len(l.known))
	}
}

func TestAFaultyRegistrationIsExplained(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct {
		client Client
		want   string
	}{
		{Client{RedirectURIs: []string{callback}}, "no ID"},
		{Client{ID: "a"}, "no redirect URI"},
		{Client{ID: "a", RedirectURIs: []string{"/callback"}}, "not an absolute URL"},
		{Client{ID: "a", RedirectURIs: []string{"https://a.example/#x"}}, "fragment"},
		{Client{ID: "a", RedirectURIs: []string{"http://a.example/"}}, "is http"},
		{Client{ID: "a", RedirectURIs: []string{"javascript:alert(1)"}}, "scheme"},
		{Client{ID: "a", RedirectURIs: []string{"https://a.example/*"}}, "has a *"},
		{Client{ID: "a", RedirectURIs: []string{"http://127.0.0.1/*/callback"}}, "has a *"},
		{Client{ID: "a", RedirectURIs: []string{"http://127.0.0.1/*/*"}}, "has a *"},
		{Client{ID: "a", RedirectURIs: []string{"http://127.0.0.1/callback*"}}, "has a *"},
		{Client{ID: "a", RedirectURIs: []string{"http://127.0.0.1/callback?a=/*"}}, "has a *"},
	} {
		if err := s.AddClient(c.client); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.client.RedirectURIs, err)
		}
	}
	for spelling, want := range map[string]string{"x": "characters", strings.ToUpper(north): "there already"} {
		if err := s.AddOwner(Owner{"X", spelling}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spelling, err)
		}
	}
	for _, cfg := range []Config{
		{Issuer: "http://127.0.0.1", Audience: audience},
		{Issuer: "https://127.0.0.1/x", Audience: audience},
		{Issuer: "https://127.0.0.1"},
		{Issuer: "https://127.0.0.1", Audience: audience, AccessTokenLifetime: -1},
		{Issuer: "https://127.0.0.1", Audience: audience, SubscriptionClaim: "iss"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
