package authority

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func TestASignInGivesTokensThatNameTheChosenOwners(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct {
		owners []string
		claim  any
	}{
		{[]string{north}, north},
		{[]string{harbour}, harbour},
		{[]string{harbour, north}, []any{north, harbour}},
	} {
		token := s.signIn(c.owners...)
		if token.RefreshToken == "" || token.TokenType != "Bearer" || time.Until(token.Expiry) > 10*time.Minute || time.Until(token.Expiry) < 9*time.Minute {
			t.Errorf("unexpected answer: type %q, expiry %v", token.TokenType, token.Expiry)
		}
		idToken, _ := token.Extra("id_token").(string)
		for _, claims := range []map[string]any{claimsOf(t, token.AccessToken), claimsOf(t, idToken)} {
			if got := claims["subscription_id"]; !equalClaim(got, c.claim) {
				t.Errorf("claim is %v, want %v", got, c.claim)
			}
		}
		ids, client, ok := s.Verify(token.AccessToken)
		if !ok || client != "desktop" || len(ids) != len(c.owners) {
			t.Errorf("Verify gives %v %q %v", ids, client, ok)
		}
	}
}

func equalClaim(got, want any) bool {
	list, isList := want.([]any)
	if !isList {
		return got == want
	}
	gotList, _ := got.([]any)
	return slices.Equal(gotList, list)
}

func TestAnotherLibraryAcceptsTheIDTokenByDiscovery(t *testing.T) {
	s := start(t, nil)
	provider, err := oidc.NewProvider(oidc.ClientContext(t.Context(), s.browser), s.issuer)
	if err != nil {
		t.Fatal(err)
	}
	idToken, _ := s.signIn(north).Extra("id_token").(string)
	verified, err := provider.Verifier(&oidc.Config{ClientID: "desktop"}).Verify(s.ctx(), idToken)
	if err != nil {
		t.Fatal(err)
	}
	if verified.Nonce != "n-0" {
		t.Errorf("nonce is %q", verified.Nonce)
	}
}

func TestBothMetadataDocumentsSayWhatTheServerDoes(t *testing.T) {
	s := start(t, nil)
	for _, path := range []string{OAuthMetadataPath, OpenIDDiscoveryPath} {
		m := s.get(s.issuer + path).json(t)
		if m["issuer"] != s.issuer || m["token_endpoint"] != s.issuer+TokenPath ||
			m["authorization_response_iss_parameter_supported"] != true ||
			!equalClaim(m["code_challenge_methods_supported"], []any{"S256"}) {
			t.Errorf("%s: %v", path, m)
		}
	}
}

func TestTheResponseCarriesStateAndIssuer(t *testing.T) {
	s := start(t, nil)
	link := s.app().AuthCodeURL("state & more", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	approved := s.decide(link, "approve", north)
	denied := s.decide(link, "deny")
	for _, q := range []url.Values{approved, denied} {
		if q.Get("state") != "state & more" || q.Get("iss") != s.issuer {
			t.Errorf("response is %v", q)
		}
	}
	if approved.Get("code") == "" || denied.Get("error") != "access_denied" || denied.Has("code") {
		t.Errorf("approved %v, denied %v", approved, denied)
	}
}

func TestOnlyPKCEWithS256IsAccepted(t *testing.T) {
	s := start(t, nil)
	verifier := oauth2.GenerateVerifier()
	for name, options := range map[string][]oauth2.AuthCodeOption{
		"none":      nil,
		"no method": {oauth2.SetAuthURLParam("code_challenge", challengeOf(verifier))},
		"plain":     {oauth2.SetAuthURLParam("code_challenge", verifier), oauth2.SetAuthURLParam("code_challenge_method", "plain")},
		"too short": {oauth2.SetAuthURLParam("code_challenge", "abc"), oauth2.SetAuthURLParam("code_challenge_method", "S256")},
	} {
		if q := s.redirectOf(s.get(s.app().AuthCodeURL("st", options...))); q.Get("error") != "invalid_request" || q.Get("state") != "st" || q.Get("iss") != s.issuer {
			t.Errorf("%s: %v", name, q)
		}
	}
	code := s.decide(s.app().AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), "approve", north).Get("code")
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"desktop"}, "code": {code}, "redirect_uri": {callback}}
	s.post(TokenPath, form).wantError(t, 400, "invalid_request")
	form.Set("code_verifier", oauth2.GenerateVerifier())
	s.post(TokenPath, form).wantError(t, 400, "invalid_grant")
	form.Set("code_verifier", verifier)
	if a := s.post(TokenPath, form); a.status != http.StatusOK {
		t.Errorf("the right verifier is refused: %s", a.body)
	}
}

func TestOnlyRegisteredRedirectURIsGetAnAnswer(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct {
		client, uri string
		allowed     bool
	}{
		{"desktop", "http://127.0.0.1/callback", true},
		{"desktop", "http://127.0.0.1:1/callback", true},
		{"desktop", "http://[::1]:65535/callback", true},
		{"desktop", "http://127.0.0.1:0/callback", false},
		{"desktop", "http://127.0.0.1:65536/callback", false},
		{"desktop", "http://127.0.0.1:80/callback/", false},
		{"desktop", "http://127.0.0.1:80/callback?x=1", false},
		{"desktop", "http://127.0.0.1:80@evil.example/callback", false},
		{"desktop", "http://127.0.0.1.evil.example/callback", false},
		{"desktop", "http://localhost:80/callback", false},
		{"desktop", "https://127.0.0.1:80/callback", false},
		{"desktop", "http://127.0.0.2:80/callback", false},
		{"segments", "http://127.0.0.1:80/callback/a-Z0._~", true},
		{"segments", "http://127.0.0.1/callback/a", true},
		{"segments", "http://[::1]:80/a", true},
		{"segments", "http://[::1]:80/callback/a", false},
		{"segments", "http://127.0.0.1:80/callback", false},
		{"segments", "http://127.0.0.1:80/callback/", false},
		{"segments", "http://127.0.0.1:80/callback/*", false},
		{"segments", "http://127.0.0.1/callback/*", false},
		{"segments", "http://127.0.0.1:80/callback/a/b", false},
		{"segments", "http://127.0.0.1:80/callback/a/", false},
		{"segments", "http://127.0.0.1:80/callback/.", false},
		{"segments", "http://127.0.0.1:80/callback/..", false},
		{"segments", "http://127.0.0.1:80/callback/%2e%2e", false},
		{"segments", "http://127.0.0.1:80/callback/a?x=1", false},
		{"segments", "http://127.0.0.1:80/callback/a#x", false},
		{"segments", "http://127.0.0.1:80/callback/a\\b", false},
		{"segments", "http://127.0.0.1:80/callback/" + strings.Repeat("a", 129), false},
		{"segments", "http://127.0.0.1:0/callback/a", false},
		{"segments", "http://127.0.0.1:80@evil.example/callback/a", false},
		{"fleet app", "https://fleet.example.com/cb?tenant=1", true},
		{"fleet app", "https://fleet.example.com:443/cb?tenant=1", false},
		{"fleet app", "https://fleet.example.com/cb?tenant=1&x", false},
		{"fleet app", "https://FLEET.example.com/cb?tenant=1", false},
		{"fleet app", "http://127.0.0.1:80/callback", false},
		{"nobody", "http://127.0.0.1:80/callback", false},
	} {
		q := url.Values{"client_id": {c.client}, "redirect_uri": {c.uri}, "response_type": {"code"},
			"code_challenge": {challengeOf("v")}, "code_challenge_method": {"S256"}}
		a := s.get(s.issuer + AuthorizationPath + "?" + q.Encode())
		if allowed := a.status == http.StatusOK; allowed != c.allowed || a.header.Get("Location") != "" {
			t.Errorf("%s %s: %d, location %q", c.client, c.uri, a.status, a.header.Get("Location"))
		}
	}
}

func TestFaultyAuthorizationRequestsAreToldToTheApplication(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct{ change, want string }{
		{"response_type=token", "unsupported_response_type"},
		{"response_type=", "invalid_request"},
		{"response_mode=fragment", "invalid_request"},
		{"prompt=none", "consent_required"},
		{"prompt=none+login", "invalid_request"},
		{"request=x", "request_not_supported"},
		{"request_uri=urn:x", "request_uri_not_supported"},
		{"nonce=" + strings.Repeat("n", 2049), "invalid_request"},
	} {
		link, _ := url.Parse(s.app().AuthCodeURL("st", oauth2.S256ChallengeOption("v")))
		q := link.Query()
		name, value, _ := strings.Cut(c.change, "=")
		decoded, _ := url.QueryUnescape(value)
		q.Set(name, decoded)
		link.RawQuery = q.Encode()
		if got := s.redirectOf(s.get(link.String())); got.Get("error") != c.want || got.Get("state") != "st" {
			t.Errorf("%s: %v", c.change, got)
		}
	}
	link := s.app().AuthCodeURL("st", oauth2.S256ChallengeOption("v"))
	if q := s.redirectOf(s.get(link + "&scope=openid")); q.Get("error") != "invalid_request" {
		t.Errorf("a repeated parameter: %v", q)
	}
	if q := s.redirectOf(s.get(link + "&state=other")); q.Get("error") != "invalid_request" || q.Has("state") {
		t.Errorf("a repeated state: %v", q)
	}
	if a := s.get(link + "&redirect_uri=" + url.QueryEscape(callback)); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
		t.Errorf("a repeated redirect_uri: %d", a.status)
	}
}

func TestAReplayedCodeIsRefusedAndRevokesWhatItGave(t *testing.T) {
	s := start(t, nil)
	verifier := oauth2.GenerateVerifier()
	code := s.decide(s.app().AuthCodeURL("st", oauth2.S256ChallengeOption(verifier), consentPrompt()), "approve", north).Get("code")
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"desktop"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	first := s.post(TokenPath, form).json(t)
	access, _ := first["access_token"].(string)
	refresh, _ := first["refresh_token"].(string)
	if _, _, ok := s.Verify(access); !ok {
		t.Fatal("the first exchange gave no valid token")
	}
	s.post(TokenPath, form).wantError(t, 400, "invalid_grant")
	if _, _, ok := s.Verify(access); ok {
		t.Error("the access token survived the replay")
	}
	s.refresh(refresh).wantError(t, 400, "invalid_grant")
}

func TestACodeIsBoundToItsClientAndRedirectURI(t *testing.T) {
	s := start(t, nil)
	verifier := oauth2.GenerateVerifier()
	code := s.decide(s.app().AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), "approve", north).Get("code")
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}}

	form.Set("redirect_uri", callback)
	req := s.postRequest(TokenPath, form.Encode())
	req.SetBasicAuth(url.QueryEscape("fleet app"), url.QueryEscape("s3cret: with % and +"))
	s.do(req).wantError(t, 400, "invalid_grant")

	form.Set("client_id", "desktop")
	form.Set("redirect_uri", "http://127.0.0.1:4712/callback") // allowed, but not the one that was used
	s.post(TokenPath, form).wantError(t, 400, "invalid_grant")

	form.Set("redirect_uri", callback)
	if a := s.post(TokenPath, form); a.status != http.StatusOK {
		t.Errorf("after two refused attempts: %s", a.body)
	}
}

func TestAnExpiredCodeIsRefused(t *testing.T) {
	s := start(t, nil)
	verifier := oauth2.GenerateVerifier()
	code := s.decide(s.app().AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), "approve", north).Get("code")
	s.mu.Lock()
	s.codes[digestOf(code)].expires = time.Now().Add(-time.Second)
	s.mu.Unlock()
	s.post(TokenPath, url.Values{"grant_type": {"authorization_code"}, "client_id": {"desktop"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}).
		wantError(t, 400, "invalid_grant")
}

func TestARefreshTokenNeedsOfflineAccessAndAskedConsent(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct {
		scopes  []string
		options []oauth2.AuthCodeOption
		refresh bool
		id      bool
	}{
		{[]string{"openid", "offline_access"}, []oauth2.AuthCodeOption{consentPrompt()}, true, true},
		{[]string{"openid", "offline_access"}, nil, false, true},
		{[]string{"openid"}, []oauth2.AuthCodeOption{consentPrompt()}, false, true},
		{[]string{"offline_access", "unknown"}, []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "login consent")}, true, false},
	} {
		verifier := oauth2.GenerateVerifier()
		app := s.app()
		app.Scopes = c.scopes
		q := s.decide(app.AuthCodeURL("st", append(c.options, oauth2.S256ChallengeOption(verifier))...), "approve", north)
		token, err := app.Exchange(s.ctx(), q.Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		_, hasID := token.Extra("id_token").(string)
		if (token.RefreshToken != "") != c.refresh || hasID != c.id {
			t.Errorf("%v: refresh token %v, ID token %v", c.scopes, token.RefreshToken != "", hasID)
		}
	}
}
