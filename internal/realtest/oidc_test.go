package realtest_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestACodeFlowGivesTokensThatNameTheSubscription(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{SubscriptionIDs: []string{ownerA}})
	for _, client := range []realtest.OIDCClient{provider.Public, provider.Basic, provider.Post} {
		t.Run(client.Method, func(t *testing.T) {
			ctx := oauthContext(t, provider)
			config := configure(ctx, t, provider, client)
			token := signIn(ctx, t, provider, config)

			if got := accessClaims(t, token)["subscription_id"]; got != ownerA {
				t.Errorf("the access token names %v, want %s", got, ownerA)
			}
			idToken, _ := token.Extra("id_token").(string)
			verifier := discover(ctx, t, provider).Verifier(&oidc.Config{ClientID: client.ID})
			verified, err := verifier.Verify(ctx, idToken)
			if err != nil {
				t.Fatalf("the ID token: %v", err)
			}
			var claims map[string]any
			if err := verified.Claims(&claims); err != nil {
				t.Fatal(err)
			}
			if claims["subscription_id"] != ownerA || claims["sub"] == ownerA {
				t.Errorf("the ID token's claims are %v", claims)
			}
		})
	}
}

func TestAPersonMayHaveSeveralSubscriptions(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{SubscriptionClaim: "subs"})
	ctx := oauthContext(t, provider)
	token := signIn(ctx, t, provider, configure(ctx, t, provider, provider.Public), ownerA, ownerB)
	if got, ok := accessClaims(t, token)["subs"].([]any); !ok || !slices.Equal(got, []any{ownerA, ownerB}) {
		t.Errorf("the claim is %v", accessClaims(t, token)["subs"])
	}
}

func TestReuseOfARefreshTokenEndsTheWholeGrant(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{AccessTokenTTL: 3 * time.Second})
	for _, client := range []realtest.OIDCClient{provider.Public, provider.Basic} {
		t.Run(client.Method, func(t *testing.T) {
			ctx := oauthContext(t, provider)
			config := configure(ctx, t, provider, client)
			first := signIn(ctx, t, provider, config)
			if first.ExpiresIn != 3 {
				t.Errorf("the access token lives for %d s, want 3", first.ExpiresIn)
			}
			second, err := refresh(ctx, config, first.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			if second.RefreshToken == first.RefreshToken || second.RefreshToken == "" {
				t.Error("the refresh token did not rotate")
			}
			wantInvalidGrant(ctx, t, config, first.RefreshToken)
			wantInvalidGrant(ctx, t, config, second.RefreshToken)
		})
	}
}

func TestARevokedRefreshTokenIsOfNoUse(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	ctx := oauthContext(t, provider)
	config := configure(ctx, t, provider, provider.Public)
	token := signIn(ctx, t, provider, config)
	var metadata struct {
		RevocationEndpoint string `json:"revocation_endpoint"`
		IssInResponse      bool   `json:"authorization_response_iss_parameter_supported"`
	}
	if err := discover(ctx, t, provider).Claims(&metadata); err != nil {
		t.Fatal(err)
	}
	if !metadata.IssInResponse {
		t.Error("the metadata does not promise iss in the response")
	}
	response, err := provider.HTTPClient().PostForm(metadata.RevocationEndpoint,
		url.Values{"token": {token.RefreshToken}, "client_id": {provider.Public.ID}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("revocation answered %s", response.Status)
	}
	wantInvalidGrant(ctx, t, config, token.RefreshToken)

	requests := provider.Requests()
	if last := requests[len(requests)-1]; last.Route != "token" || last.Grant != "refresh_token" || last.Error != "invalid_grant" || last.Status != 400 {
		t.Errorf("the last request reads %+v", last)
	}
}

func TestAPersonWhoSaysNoEndsTheSignIn(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	ctx := oauthContext(t, provider)
	config := configure(ctx, t, provider, provider.Public)
	callback, err := provider.Deny(ctx, authURL(config, oauth2.GenerateVerifier()))
	if err != nil {
		t.Fatal(err)
	}
	query := queryOf(t, callback)
	if query.Get("error") != "access_denied" || query.Get("state") != "a state" || query.Get("iss") != provider.Issuer || query.Has("code") {
		t.Errorf("the application is told %v", query)
	}
}

func TestASignInWithoutPKCEIsRefused(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	ctx := oauthContext(t, provider)
	config := configure(ctx, t, provider, provider.Basic)
	callback, err := provider.Approve(ctx, config.AuthCodeURL("a state"))
	if err != nil {
		t.Fatal(err)
	}
	if query := queryOf(t, callback); query.Get("error") != "invalid_request" || query.Has("code") {
		t.Errorf("the application is told %v", query)
	}
}

func TestAnOpaqueAccessTokenLeavesTheClaimToTheIDToken(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{OpaqueAccessTokens: true, SubscriptionIDs: []string{ownerA}})
	ctx := oauthContext(t, provider)
	token := signIn(ctx, t, provider, configure(ctx, t, provider, provider.Public))
	if strings.Contains(token.AccessToken, ".") {
		t.Error("the access token is a JWT")
	}
	idToken, _ := token.Extra("id_token").(string)
	if claims := jwtClaims(t, idToken); claims["subscription_id"] != ownerA {
		t.Errorf("the ID token's claims are %v", claims)
	}
}

func TestTheClaimCanBeInTheAccessTokenAlone(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{NoClaimInIDToken: true, SubscriptionIDs: []string{ownerA}})
	ctx := oauthContext(t, provider)
	token := signIn(ctx, t, provider, configure(ctx, t, provider, provider.Public))
	idToken, _ := token.Extra("id_token").(string)
	if claims := jwtClaims(t, idToken); claims["sub"] == nil || claims["subscription_id"] != nil {
		t.Errorf("the ID token's claims are %v", claims)
	}
	if claims := accessClaims(t, token); claims["subscription_id"] != ownerA {
		t.Errorf("the access token's claims are %v", claims)
	}
}

func TestACertificateAuthenticatesAClientAndBindsItsTokens(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	for _, client := range []realtest.OIDCClient{provider.TLS, provider.SelfSignedTLS} {
		t.Run(client.Method, func(t *testing.T) {
			ctx := oauthContext(t, provider)
			config := configure(ctx, t, provider, client)
			verifier := oauth2.GenerateVerifier()
			callback, err := provider.Approve(ctx, authURL(config, verifier))
			if err != nil {
				t.Fatal(err)
			}
			code := queryOf(t, callback).Get("code")
			if _, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier)); errorCode(err) != "invalid_client" {
				t.Fatalf("without its certificate the client is answered %v", err)
			}
			withCertificate := context.WithValue(ctx, oauth2.HTTPClient, provider.HTTPClient(client.Certificate.TLS))
			token, err := config.Exchange(withCertificate, code, oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			if confirmation, _ := accessClaims(t, token)["cnf"].(map[string]any); confirmation["x5t#S256"] == nil {
				t.Error("the access token is not bound to the certificate")
			}
		})
	}
}

func TestASignedAssertionAuthenticatesAClient(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	ctx := oauthContext(t, provider)
	config := configure(ctx, t, provider, provider.PrivateKeyJWT)
	verifier := oauth2.GenerateVerifier()
	callback, err := provider.Approve(ctx, authURL(config, verifier))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		key  realtest.Certificate
		want string
	}{{provider.TLS.Certificate, "invalid_client"}, {provider.PrivateKeyJWT.Certificate, ""}} {
		_, err := config.Exchange(ctx, queryOf(t, callback).Get("code"), oauth2.VerifierOption(verifier),
			oauth2.SetAuthURLParam("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
			oauth2.SetAuthURLParam("client_assertion", assertion(t, test.key, provider.PrivateKeyJWT.ID, provider.Issuer)))
		if errorCode(err) != test.want || (err == nil) != (test.want == "") {
			t.Errorf("signed with the key of %s, the client is answered %v, want %q", test.key.Subject, err, test.want)
		}
	}
}

// assertion is a client's proof of its key, RFC 7523 section 3.
func assertion(t *testing.T, key realtest.Certificate, clientID, audience string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key.TLS.PrivateKey}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	text, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: clientID, Subject: clientID, Audience: jwt.Audience{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestADeviceGrantIsApprovedInTheBrowser(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{SubscriptionIDs: []string{ownerA}})
	ctx := oauthContext(t, provider)
	config := configure(ctx, t, provider, provider.Public)
	device, err := config.DeviceAuth(ctx, oauth2.SetAuthURLParam("prompt", "consent"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Approve(ctx, device.VerificationURIComplete); err != nil {
		t.Fatal(err)
	}
	device.Interval = 1 // oidc-provider names none, which means 5 s
	token, err := config.DeviceAccessToken(ctx, device)
	if err != nil {
		t.Fatal(err)
	}
	if got := accessClaims(t, token)["subscription_id"]; got != ownerA {
		t.Errorf("the access token names %v, want %s", got, ownerA)
	}
}

func TestTheProviderNamesTheSecretsThatPassed(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	ctx := oauthContext(t, provider)
	config := configure(ctx, t, provider, provider.Post)
	verifier := oauth2.GenerateVerifier()
	callback, err := provider.Approve(ctx, authURL(config, verifier))
	if err != nil {
		t.Fatal(err)
	}
	code := queryOf(t, callback).Get("code")
	first, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	second, err := refresh(ctx, config, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	secrets := provider.Secrets()
	idToken, _ := first.Extra("id_token").(string)
	for name, secret := range map[string]string{
		"code": code, "verifier": verifier, "access token": first.AccessToken, "ID token": idToken, "refresh token": first.RefreshToken,
		"second access token": second.AccessToken, "second refresh token": second.RefreshToken, "client secret": provider.Post.Secret,
	} {
		if secret == "" || !slices.Contains(secrets, secret) {
			t.Errorf("the %s is not among the secrets", name)
		}
	}
	if slices.Contains(secrets, "") {
		t.Error("an empty string is among the secrets: every log contains it")
	}
}

func TestAStoppedProviderAnswersNoMore(t *testing.T) {
	provider := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	client := provider.HTTPClient()
	if response, err := client.Get(provider.Issuer + "/.well-known/oauth-authorization-server"); err != nil {
		t.Fatal(err)
	} else {
		response.Body.Close()
	}
	provider.Stop()
	if response, err := client.Get(provider.Issuer + "/.well-known/oauth-authorization-server"); err == nil {
		response.Body.Close()
		t.Error("a stopped provider answered")
	}
}

func oauthContext(t *testing.T, provider *realtest.OIDC) context.Context {
	t.Helper()
	return context.WithValue(testContext(t), oauth2.HTTPClient, provider.HTTPClient())
}

func discover(ctx context.Context, t *testing.T, provider *realtest.OIDC) *oidc.Provider {
	t.Helper()
	discovered, err := oidc.NewProvider(ctx, provider.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	return discovered
}

func configure(ctx context.Context, t *testing.T, provider *realtest.OIDC, client realtest.OIDCClient) *oauth2.Config {
	t.Helper()
	endpoint := discover(ctx, t, provider).Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	if client.Method == "client_secret_basic" {
		endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return &oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret, Endpoint: endpoint,
		RedirectURL: "http://127.0.0.1:45678/callback", Scopes: []string{"openid", "offline_access"},
	}
}

func authURL(config *oauth2.Config, verifier string) string {
	return config.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "consent"))
}

func signIn(ctx context.Context, t *testing.T, provider *realtest.OIDC, config *oauth2.Config, subscriptionIDs ...string) *oauth2.Token {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	callback, err := provider.Approve(ctx, authURL(config, verifier), subscriptionIDs...)
	if err != nil {
		t.Fatalf("%v\n%s", err, provider.Logs())
	}
	query := queryOf(t, callback)
	if query.Get("state") != "a state" || query.Get("iss") != provider.Issuer {
		t.Fatalf("the application is told %v", query)
	}
	token, err := config.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("%v\n%s", err, provider.Logs())
	}
	return token
}

func refresh(ctx context.Context, config *oauth2.Config, refreshToken string) (*oauth2.Token, error) {
	return config.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
}

func wantInvalidGrant(ctx context.Context, t *testing.T, config *oauth2.Config, refreshToken string) {
	t.Helper()
	if _, err := refresh(ctx, config, refreshToken); errorCode(err) != "invalid_grant" {
		t.Errorf("the refresh answered %v, want invalid_grant", err)
	}
}

func errorCode(err error) string {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return refused.ErrorCode
	}
	return ""
}

func queryOf(t *testing.T, callback string) url.Values {
	t.Helper()
	parsed, err := url.Parse(callback)
	if err != nil || parsed.Scheme != "http" || parsed.Host != "127.0.0.1:45678" || parsed.Path != "/callback" {
		t.Fatalf("the browser is sent to %q", callback)
	}
	return parsed.Query()
}

func accessClaims(t *testing.T, token *oauth2.Token) map[string]any {
	t.Helper()
	return jwtClaims(t, token.AccessToken)
}

func jwtClaims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("the token is not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
