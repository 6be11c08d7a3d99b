package authority

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
)

func TestEachRenewalGivesANewRefreshToken(t *testing.T) {
	s := start(t, nil)
	first := s.signIn(north)
	second := s.refresh(first.RefreshToken).json(t)
	refresh, _ := second["refresh_token"].(string)
	access, _ := second["access_token"].(string)
	if refresh == "" || refresh == first.RefreshToken {
		t.Error("the refresh token did not rotate")
	}
	if second["scope"] != "openid offline_access" || second["expires_in"] != 600.0 || second["refresh_expires_in"] != 2592000.0 {
		t.Errorf("unexpected answer: scope %v, expires_in %v, refresh_expires_in %v", second["scope"], second["expires_in"], second["refresh_expires_in"])
	}
	if _, _, ok := s.Verify(access); !ok {
		t.Error("the renewed access token is not valid")
	}
	idToken, _ := second["id_token"].(string)
	if claims := claimsOf(t, idToken); claims["nonce"] != nil || claims["subscription_id"] != north {
		t.Errorf("ID token of a renewal: %v", claims)
	}
	if a := s.refresh(refresh); a.status != http.StatusOK {
		t.Errorf("the second renewal: %s", a.body)
	}
}

func TestReuseOfARefreshTokenRevokesTheNewestTooButNoOtherGrant(t *testing.T) {
	s := start(t, nil)
	first, other := s.signIn(north), s.signIn(north)
	second := s.refresh(first.RefreshToken).json(t)
	s.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
	newest, _ := second["refresh_token"].(string)
	s.refresh(newest).wantError(t, 400, "invalid_grant")
	if access, _ := second["access_token"].(string); verifies(s, access) {
		t.Error("the newest access token survived")
	}
	if !verifies(s, other.AccessToken) {
		t.Error("another grant of the same owner died")
	}
}

func verifies(s *setup, access string) bool {
	_, _, ok := s.Verify(access)
	return ok
}

func TestOfEightRenewalsAtOnceOneSucceedsAndTheGrantEnds(t *testing.T) {
	s := start(t, nil)
	token := s.signIn(north)
	var mu sync.Mutex
	var winners []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if a := s.refresh(token.RefreshToken); a.status == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				refresh, _ := a.json(t)["refresh_token"].(string)
				winners = append(winners, refresh)
			}
		})
	}
	wg.Wait()
	if len(winners) != 1 {
		t.Fatalf("%d renewals succeeded", len(winners))
	}
	s.refresh(winners[0]).wantError(t, 400, "invalid_grant")
}

func TestWithoutRotationARefreshTokenServesAgain(t *testing.T) {
	s := start(t, func(c *Config) { c.NoRotation = true })
	token := s.signIn(north)
	for range 3 {
		a := s.refresh(token.RefreshToken)
		if _, has := a.json(t)["refresh_token"]; a.status != http.StatusOK || has {
			t.Fatalf("answer %d, refresh token in it: %v", a.status, has)
		}
	}
}

func TestTheScopeOfARenewalMayOnlyShrink(t *testing.T) {
	s := start(t, nil)
	token := s.signIn(north)
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}, "client_id": {"desktop"}, "scope": {"openid email"}}
	s.post(TokenPath, form).wantError(t, 400, "invalid_scope")
	form.Set("scope", "openid")
	if a := s.post(TokenPath, form); a.json(t)["scope"] != "openid" {
		t.Errorf("answer %d %s", a.status, a.body)
	}
}

func TestTokensExpireToTheMomentAndSettingsApplyToNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Issuer: "https://127.0.0.1:1", Audience: audience, AccessTokenLifetime: 1500 * time.Millisecond, RefreshTokenLifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		g := &grant{clientID: "desktop", owners: []string{north}, scope: []string{"offline_access"}, approved: time.Now()}
		refresh := s.newRefreshToken(g, binding{}, time.Now())
		answer, _ := s.issue(issuance{grantType: GrantAuthorizationCode, grant: g, audience: []string{audience}, refresh: refresh}, time.Now())
		access, _ := answer["access_token"].(string)
		if answer["expires_in"] != int64(2) {
			t.Errorf("expires_in is %v", answer["expires_in"])
		}
		time.Sleep(1499 * time.Millisecond)
		if _, _, ok := s.Verify(access); !ok {
			t.Error("the access token ended early")
		}
		time.Sleep(time.Millisecond)
		if _, _, ok := s.Verify(access); ok {
			t.Error("the access token outlived its time")
		}
		s.SetLifetimes(time.Hour, 0)
		answer, _ = s.issue(issuance{grantType: GrantRefreshToken, grant: g, audience: []string{audience}}, time.Now())
		access, _ = answer["access_token"].(string)
		time.Sleep(59 * time.Minute)
		if _, _, ok := s.Verify(access); !ok {
			t.Error("the new lifetime did not apply")
		}
		time.Sleep(time.Minute)
		late := tokenRequest{client: Client{ID: "desktop"}, form: parameters{values: map[string]string{"refresh_token": refresh}}, now: time.Now()}
		if _, _, failure := s.spendRefreshToken(late, true, nil); failure == nil || failure.code != "invalid_grant" {
			t.Errorf("the refresh token outlived its time: %v", failure)
		}
		if len(s.accessTokens) != 0 || len(s.refreshTokens) != 0 {
			t.Errorf("expired tokens are kept: %d, %d", len(s.accessTokens), len(s.refreshTokens))
		}
	})
}

func TestVerifyRefusesWhatIsNoAccessToken(t *testing.T) {
	s, other := start(t, nil), start(t, nil)
	token := s.signIn(north)
	idToken, _ := token.Extra("id_token").(string)
	head, tail, _ := strings.Cut(token.AccessToken, ".")
	payload, signature, _ := strings.Cut(tail, ".")
	for name, bearer := range map[string]string{
		"nothing":             "",
		"an ID token":         idToken,
		"a refresh token":     token.RefreshToken,
		"another server's":    other.signIn(north).AccessToken,
		"a cut signature":     token.AccessToken[:len(token.AccessToken)-4],
		"a swapped signature": head + "." + payload + "." + signature[1:] + signature[:1],
		"no signature":        "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + payload + ".",
		"a huge one":          token.AccessToken + strings.Repeat("A", maxAccessToken),
	} {
		if verifies(s, bearer) {
			t.Errorf("%s verifies", name)
		}
	}
	if !verifies(s, token.AccessToken) {
		t.Error("the access token does not verify")
	}
}

func TestClientsProveThemselvesAsTheyAreRegistered(t *testing.T) {
	s := start(t, nil)
	const id, secret = "fleet app", "s3cret: with % and +"
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
	}
	for _, c := range []struct {
		name   string
		form   url.Values
		header func(*http.Request)
		status int
		code   string
	}{
		{"basic", nil, basic(id, secret), 400, "invalid_grant"}, // authenticated; the code is wrong
		{"basic and client_id", url.Values{"client_id": {id}}, basic(id, secret), 400, "invalid_grant"},
		{"post", url.Values{"client_id": {id}, "client_secret": {secret}}, nil, 400, "invalid_grant"},
		{"public", url.Values{"client_id": {"desktop"}}, nil, 400, "invalid_grant"},
		{"no secret", url.Values{"client_id": {id}}, nil, 401, "invalid_client"},
		{"wrong secret", url.Values{"client_id": {id}, "client_secret": {secret + "x"}}, nil, 401, "invalid_client"},
		{"wrong basic", nil, basic(id, "wrong"), 401, "invalid_client"},
		{"secret of a public client", url.Values{"client_id": {"desktop"}, "client_secret": {"x"}}, nil, 401, "invalid_client"},
		{"unknown", url.Values{"client_id": {"nobody"}}, nil, 401, "invalid_client"},
		{"nobody at all", nil, nil, 401, "invalid_client"},
		{"two ways", url.Values{"client_id": {id}, "client_secret": {secret}}, basic(id, secret), 400, "invalid_request"},
		{"two names", url.Values{"client_id": {"desktop"}}, basic(id, secret), 400, "invalid_request"},
		{"bearer", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer abc") }, 401, "invalid_client"},
	} {
		form := url.Values{"grant_type": {"authorization_code"}, "code": {"unknown-code"}, "redirect_uri": {callback}, "code_verifier": {oauth2.GenerateVerifier()}}
		for name, values := range c.form {
			form[name] = values
		}
		req := s.postRequest(TokenPath, form.Encode())
		if c.header != nil {
			c.header(req)
		}
		a := s.do(req)
		t.Log(c.name)
		a.wantError(t, c.status, c.code)
		if challenged := a.header.Get("WWW-Authenticate") != ""; challenged != (c.status == 401 && c.header != nil) {
			t.Errorf("%s: challenge %q", c.name, a.header.Get("WWW-Authenticate"))
		}
	}
}

func TestMalformedTokenRequestsAreRefused(t *testing.T) {
	s := start(t, nil)
	s.post(TokenPath, url.Values{"client_id": {"desktop"}, "grant_type": {"password"}}).wantError(t, 400, "unsupported_grant_type")
	s.post(TokenPath, url.Values{"client_id": {"desktop"}}).wantError(t, 400, "invalid_request")
	s.post(TokenPath, url.Values{"client_id": {"desktop", "desktop"}, "grant_type": {"refresh_token"}}).wantError(t, 400, "invalid_request")
	s.do(s.postRequest(TokenPath, "a=%zz")).wantError(t, 400, "invalid_request")
	s.do(s.postRequest(TokenPath, "a="+strings.Repeat("x", maxBody))).wantError(t, 413, "invalid_request")
	req := s.postRequest(TokenPath, `{"grant_type":"refresh_token"}`)
	req.Header.Set("Content-Type", "application/json")
	s.do(req).wantError(t, 400, "invalid_request")
	if a := s.get(s.issuer + TokenPath + "?grant_type=refresh_token"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", a.status)
	}
	secretInURL := s.postRequest(TokenPath+"?client_id=desktop&grant_type=password", "")
	s.do(secretInURL).wantError(t, 401, "invalid_client")
}

func TestRevocationEndsWhatItNames(t *testing.T) {
	s := start(t, nil)
	first, second := s.signIn(north), s.signIn(north)
	revoke := func(token string) answer {
		return s.post(RevocationPath, url.Values{"client_id": {"desktop"}, "token": {token}, "token_type_hint": {"refresh_token"}})
	}
	for _, token := range []string{first.AccessToken, second.RefreshToken, "unknown"} {
		if a := revoke(token); a.status != http.StatusOK {
			t.Errorf("answer %d", a.status)
		}
	}
	if verifies(s, first.AccessToken) || verifies(s, second.AccessToken) {
		t.Error("a revoked access token, or one of a revoked grant, is valid")
	}
	if a := s.refresh(first.RefreshToken); a.status != http.StatusOK {
		t.Error("the access token's revocation took the grant along")
	}
	s.refresh(second.RefreshToken).wantError(t, 400, "invalid_grant")
	revoke("").wantError(t, 400, "invalid_request")
}

func TestOneClientCannotRevokeAnothersTokens(t *testing.T) {
	s := start(t, nil)
	token := s.signIn(north)
	for _, value := range []string{token.AccessToken, token.RefreshToken} {
		req := s.postRequest(RevocationPath, url.Values{"token": {value}}.Encode())
		req.SetBasicAuth(url.QueryEscape("fleet app"), url.QueryEscape("s3cret: with % and +"))
		if a := s.do(req); a.status != http.StatusOK {
			t.Errorf("answer %d", a.status)
		}
	}
	s.post(RevocationPath, url.Values{"client_id": {"fleet app"}, "token": {token.RefreshToken}}).wantError(t, 401, "invalid_client")
	if !verifies(s, token.AccessToken) {
		t.Error("the access token is gone")
	}
	if a := s.refresh(token.RefreshToken); a.status != http.StatusOK {
		t.Error("the refresh token is gone")
	}
}

func TestRevokeGrantsEndsTheGrantsOfOneOwner(t *testing.T) {
	s := start(t, nil)
	both, other := s.signIn(north, harbour), s.signIn(harbour)
	if n := s.RevokeGrants(north); n != 1 {
		t.Errorf("%d grants ended", n)
	}
	s.refresh(both.RefreshToken).wantError(t, 400, "invalid_grant")
	if verifies(s, both.AccessToken) || !verifies(s, other.AccessToken) {
		t.Error("the wrong grant ended")
	}
}
