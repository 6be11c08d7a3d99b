package fdsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/fds-sdk/fds-go/internal/backoff"
)

const longestWait = time.Hour // that a server's Retry-After can ask for

// answer is what the token endpoint issued.
type answer struct {
	access, refresh, id Secret
	kind                string
	expiry              time.Time // of the access token
	refreshExpiry       time.Time // zero when the server does not say
	scopes              []string  // nil when the server does not say
	extra               func(name string) any
	unusable            error     // why the access token cannot be used; the refresh token was rotated all the same
	identity            *identity // with which it was asked for
}

// authServer speaks with the provider's authorization server.
type authServer struct {
	provider    *Provider
	application *Application
	identities  *identities
	http        *http.Client
	discovery   *discovery
}

// exchange trades an authorization code (RFC 6749 section 4.1.3, RFC 7636
// section 4.5).
func (s *authServer) exchange(ctx context.Context, attempt Attempt, code Secret) (answer, error) {
	return s.token(ctx, "exchange of the authorization code", url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code.Reveal()},
		"redirect_uri":  {attempt.redirectURI},
		"code_verifier": {attempt.verifier.Reveal()},
	}, attempt.proof, code, attempt.verifier)
}

// refresh trades a refresh token (RFC 6749 section 6).
func (s *authServer) refresh(ctx context.Context, refreshToken Secret, proof *prover) (answer, error) {
	return s.token(ctx, "renewal", url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {refreshToken.Reveal()},
	}, proof, refreshToken)
}

// clientCredentials asks for a token of the application itself (RFC 6749 section
// 4.4). The scopes that only a person's grant has are left out.
func (s *authServer) clientCredentials(ctx context.Context, proof *prover) (answer, error) {
	form := url.Values{"grant_type": {grantClientCredentials}}
	scopes := slices.DeleteFunc(slices.Clone(s.application.Scopes), func(scope string) bool { return scope == "openid" || scope == "offline_access" })
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	a, err := s.token(ctx, "client credentials", form, proof)
	a.refresh, a.refreshExpiry = Secret{}, time.Time{} // of no use: the application can always ask again (section 4.4.3)
	return a, err
}

// token sends a request to the token endpoint. x/oauth2's own requests take no
// further parameters and keep a context, so the form goes through its
// clientcredentials, with the authentication style always explicit: its
// auto-detection would send a single-use refresh token twice.
func (s *authServer) token(ctx context.Context, what string, form url.Values, proof *prover, secrets ...Secret) (answer, error) {
	m, err := s.discovery.get(ctx)
	if err != nil {
		return answer{}, err
	}
	who, err := s.identities.refresh(ctx)
	if err != nil {
		return answer{}, err
	}
	if len(s.provider.Resources) > 0 {
		form["resource"] = s.provider.Resources
	}
	request := clientcredentials.Config{TokenURL: m.TokenEndpoint, AuthStyle: oauth2.AuthStyleInParams, EndpointParams: form}
	if m.authMethod(s.application) == AuthClientSecretBasic {
		request.AuthStyle = oauth2.AuthStyleInHeader
		request.ClientID, request.ClientSecret = s.application.ClientID, s.application.ClientSecret.Reveal()
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.httpClient(proof))
	for nonceSent := false; ; nonceSent = true {
		if err := s.authenticate(m, form); err != nil {
			return answer{}, err
		}
		token, err := request.Token(ctx)
		if err == nil {
			return s.read(token, who, proof), nil
		}
		// The server asks for a nonce before it looks at anything else, so no code
		// and no refresh token is spent (RFC 9449 section 8).
		var refused *oauth2.RetrieveError
		if proof != nil && !nonceSent && errors.As(err, &refused) && refused.ErrorCode == "use_dpop_nonce" {
			continue
		}
		return answer{}, s.tokenError(ctx, what, err, append(secrets, NewSecret(form.Get("client_assertion")))...)
	}
}

// revoke asks the server to forget a token (RFC 7009). The server answers 200
// for a token that it does not know.
func (s *authServer) revoke(ctx context.Context, token Secret, hint string) error {
	m, err := s.discovery.get(ctx)
	if err != nil {
		return err
	}
	if m.RevocationEndpoint == "" {
		return errors.New("fdsclient: revocation: the provider has no revocation endpoint; ask it to end the grant")
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}}
	response, err := s.post(ctx, m, "revocation", m.RevocationEndpoint, form)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return s.readRefusal(response, "revocation", form)
}

// read turns x/oauth2's token into ours.
func (s *authServer) read(t *oauth2.Token, who *identity, proof *prover) answer {
	now := time.Now()
	a := answer{
		access:   NewSecret(t.AccessToken),
		refresh:  NewSecret(t.RefreshToken),
		kind:     "Bearer",
		expiry:   t.Expiry,
		extra:    t.Extra,
		identity: who,
	}
	switch kind := t.TokenType; {
	case kind == "", strings.EqualFold(kind, "bearer"): // a sign-in refuses one in the place of DPoP; a renewal has spent a token for it
	case strings.EqualFold(kind, kindDPoP) && proof != nil:
		a.kind = kindDPoP
	case strings.EqualFold(kind, kindDPoP):
		a.unusable = fmt.Errorf("fdsclient: token endpoint: %w: it issued a token bound to a key; turn Application.DPoP on and sign in again", ErrUnavailable)
	default:
		a.unusable = fmt.Errorf("fdsclient: token endpoint: %w: it issued a token of type %q, this SDK speaks Bearer and DPoP", ErrUnavailable, describe(kind, a.access, a.refresh))
	}
	if strings.ContainsFunc(t.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		a.unusable = fmt.Errorf("fdsclient: token endpoint: %w: the access token cannot stand in a header", ErrUnavailable)
	}
	if !a.expiry.After(now) { // not said, or nonsense
		a.expiry = now.Add(s.provider.AssumedLifetime)
	}
	// The wall clock, not the monotonic one: that stands still while a laptop
	// sleeps.
	a.expiry = a.expiry.Round(0)
	if id, ok := t.Extra("id_token").(string); ok {
		a.id = NewSecret(id)
	}
	if scope, ok := t.Extra("scope").(string); ok {
		a.scopes = strings.Fields(scope)
	}
	// No standard names the member; these are in use.
	for _, name := range []string{"refresh_expires_in", "refresh_token_expires_in"} {
		if seconds := wholeSeconds(t.Extra(name)); seconds > 0 {
			a.refreshExpiry = now.Add(seconds).Round(0)
		}
	}
	return a
}

func wholeSeconds(v any) time.Duration {
	const year = 366 * 24 * 3600
	var n float64
	switch v := v.(type) {
	case float64:
		n = v
	case string:
		n, _ = strconv.ParseFloat(v, 64)
	}
	if !(n > 0) {
		return 0
	}
	return time.Duration(min(n, 100*year)) * time.Second
}

// tokenError classifies a failure of x/oauth2. Its own errors are never
// wrapped: they hold the answer's body.
func (s *authServer) tokenError(ctx context.Context, what string, err error, secrets ...Secret) error {
	secrets = append(secrets, s.application.ClientSecret)
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return refusal(refused.Response, "token", refused.ErrorCode, refused.ErrorDescription, secrets...)
	}
	if ctx.Err() != nil { // the caller's own end says nothing about the provider
		return fmt.Errorf("fdsclient: %s: %w", what, context.Cause(ctx))
	}
	if errors.Is(err, errAnswerTooLarge) || strings.Contains(err.Error(), errAnswerTooLarge.Error()) {
		return unavailable(what, errAnswerTooLarge)
	}
	var transport *url.Error
	if errors.As(err, &transport) {
		return unavailable(what, err)
	}
	return fmt.Errorf("fdsclient: %s: %w: the token endpoint's answer is not that of RFC 6749 section 5.1; a proxy or a wrong token endpoint may be in the way", what, ErrUnavailable)
}

// refusal makes the error for an answer that is no success. Only a well-formed
// OAuth error with a client error's status counts as the server's word: a proxy's
// 403, a page in HTML or a 5xx says nothing about the grant.
func refusal(response *http.Response, endpoint, code, description string, secrets ...Secret) error {
	if r := response.Request; r != nil { // what authenticated the request
		_, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		secrets = append(secrets, NewSecret(credentials), NewSecret(r.Header.Get("DPoP")))
	}
	code = errorCode(code, secrets...)
	status := response.StatusCode
	switch {
	case status >= 300 && status < 400:
		return fmt.Errorf("fdsclient: %s endpoint: %w: it redirects (HTTP status %d), which is refused because it would carry secrets elsewhere; configure the endpoint's own URL", endpoint, ErrUnavailable, status)
	case code == "" || status >= 500 || status == http.StatusTooManyRequests:
		return &unavailableError{endpoint: endpoint, status: status, retryAfter: backoff.Asked(response.Header, longestWait)}
	}
	return fmt.Errorf("fdsclient: %w", &OAuthError{
		Endpoint:    endpoint,
		Code:        code,
		Description: describe(description, secrets...),
		HTTPStatus:  status,
		RetryAfter:  backoff.Asked(response.Header, longestWait),
	})
}

// unavailableError is an HTTP status that tells nothing about a grant.
type unavailableError struct {
	endpoint   string
	status     int
	retryAfter time.Duration
}

func (e *unavailableError) Error() string {
	return fmt.Sprintf("fdsclient: %s endpoint: %v: HTTP status %d without an OAuth error; trying again later may help", e.endpoint, ErrUnavailable, e.status)
}

func (e *unavailableError) Unwrap() error { return ErrUnavailable }

// readRefusal reads an error answer to a form that x/oauth2 has not sent.
func (s *authServer) readRefusal(response *http.Response, endpoint string, form url.Values) error {
	secrets := []Secret{s.application.ClientSecret}
	for _, name := range []string{"token", "client_assertion", "state", "nonce"} {
		secrets = append(secrets, NewSecret(form.Get(name)))
	}
	var object struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if body, err := io.ReadAll(response.Body); err == nil {
		_ = json.Unmarshal(body, &object) // what is no JSON has no code
	}
	return refusal(response, endpoint, object.Error, object.Description, secrets...)
}
