package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const longestWait = time.Hour // that a server's Retry-After can ask for

// Answer is what the token endpoint issued.
type Answer struct {
	Access, Refresh, ID tokenstore.Secret
	Kind                string    // "Bearer" or "DPoP"
	Expiry              time.Time // of the access token
	RefreshExpiry       time.Time // zero when the server does not say
	Scopes              []string  // nil when the server does not say
	Unusable            error     // why the access token cannot be used; the refresh token was rotated all the same
	Thumbprint          string    // of the client certificate that the tokens go with

	extra func(name string) any
}

// Exchange trades an authorization code (RFC 6749 section 4.1.3, RFC 7636
// section 4.5).
func (s *Server) Exchange(ctx context.Context, attempt Attempt, code tokenstore.Secret) (Answer, error) {
	return s.token(ctx, "exchange of the authorization code", url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code.Reveal()},
		"redirect_uri":  {attempt.RedirectURI},
		"code_verifier": {attempt.Verifier.Reveal()},
	}, s.adopt(attempt.Proof), code, attempt.Verifier)
}

// Refresh trades a refresh token (RFC 6749 section 6).
func (s *Server) Refresh(ctx context.Context, refreshToken tokenstore.Secret, proof *Prover) (Answer, error) {
	return s.token(ctx, "renewal", url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {refreshToken.Reveal()},
	}, proof, refreshToken)
}

// ClientCredentials asks for a token of the application itself (RFC 6749 section
// 4.4). The scopes that only a person's grant has are left out.
func (s *Server) ClientCredentials(ctx context.Context, proof *Prover) (Answer, error) {
	m, err := s.discovery.get(ctx)
	if err != nil {
		return Answer{}, err
	}
	if s.authMethod(m) == authNone {
		return Answer{}, fmt.Errorf("fdsclient: sign-in: %w: client credentials need an application that proves who it is: a Certificate, a Key or a ClientSecret (RFC 6749 section 4.4)", fds.ErrConfig)
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	scopes := slices.DeleteFunc(slices.Clone(s.settings.Scopes), func(scope string) bool { return scope == "openid" || scope == "offline_access" })
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	a, err := s.token(ctx, "client credentials", form, proof)
	a.Refresh, a.RefreshExpiry = tokenstore.Secret{}, time.Time{} // of no use: the application can always ask again (section 4.4.3)
	return a, err
}

// DeviceToken asks for the tokens of a device code that the user may have entered by
// now (RFC 8628 section 3.4).
func (s *Server) DeviceToken(ctx context.Context, code tokenstore.Secret, proof *Prover) (Answer, error) {
	return s.token(ctx, "device sign-in", url.Values{
		"grant_type":  {"urn:ietf:params:oauth:grant-type:device_code"},
		"device_code": {code.Reveal()},
	}, proof, code)
}

// token sends a request to the token endpoint. x/oauth2's own requests take no
// further parameters and keep a context, so the form goes through its
// clientcredentials, with the authentication style always explicit: its
// auto-detection would send a single-use refresh token twice.
func (s *Server) token(ctx context.Context, what string, form url.Values, proof *Prover, secrets ...tokenstore.Secret) (Answer, error) {
	m, err := s.discovery.get(ctx)
	if err != nil {
		return Answer{}, err
	}
	who, err := s.Identities.refresh(ctx)
	if err != nil {
		return Answer{}, err
	}
	if len(s.settings.Resources) > 0 {
		form["resource"] = s.settings.Resources
	}
	request := clientcredentials.Config{TokenURL: m.TokenEndpoint, AuthStyle: oauth2.AuthStyleInParams, EndpointParams: form}
	if s.authMethod(m) == authClientSecretBasic {
		request.AuthStyle = oauth2.AuthStyleInHeader
		request.ClientID, request.ClientSecret = s.settings.ClientID, s.settings.ClientSecret.Reveal()
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.httpClient(proof))
	for nonceSent := false; ; nonceSent = true {
		if err := s.authenticate(m, form); err != nil {
			return Answer{}, err
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
		return Answer{}, s.tokenError(ctx, what, err, append(secrets, tokenstore.NewSecret(form.Get("client_assertion")))...)
	}
}

// Revoke asks the server to forget a token (RFC 7009). The server answers 200
// for a token that it does not know.
func (s *Server) Revoke(ctx context.Context, token tokenstore.Secret, hint string) error {
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
func (s *Server) read(t *oauth2.Token, who *identity, proof *Prover) Answer {
	now := time.Now()
	a := Answer{
		Access:     tokenstore.NewSecret(t.AccessToken),
		Refresh:    tokenstore.NewSecret(t.RefreshToken),
		Kind:       "Bearer",
		Expiry:     t.Expiry,
		extra:      t.Extra,
		Thumbprint: who.thumbprint,
	}
	switch kind := t.TokenType; {
	case kind == "", strings.EqualFold(kind, "bearer"): // a sign-in refuses one in the place of DPoP; a renewal has spent a token for it
	case strings.EqualFold(kind, KindDPoP) && proof != nil:
		a.Kind = KindDPoP
	case strings.EqualFold(kind, KindDPoP):
		a.Unusable = fmt.Errorf("fdsclient: token endpoint: %w: it issued a token bound to a key; turn Application.DPoP on and sign in again", fds.ErrUnavailable)
	default:
		a.Unusable = fmt.Errorf("fdsclient: token endpoint: %w: it issued a token of type %q, this SDK speaks Bearer and DPoP", fds.ErrUnavailable, Describe(kind, a.Access, a.Refresh))
	}
	if strings.ContainsFunc(t.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		a.Unusable = fmt.Errorf("fdsclient: token endpoint: %w: the access token cannot stand in a header", fds.ErrUnavailable)
	}
	if !a.Expiry.After(now) { // not said, or nonsense
		a.Expiry = now.Add(s.settings.AssumedLifetime)
	}
	// The wall clock, not the monotonic one: that stands still while a laptop
	// sleeps.
	a.Expiry = a.Expiry.Round(0)
	if id, ok := t.Extra("id_token").(string); ok {
		a.ID = tokenstore.NewSecret(id)
	}
	if scope, ok := t.Extra("scope").(string); ok {
		a.Scopes = strings.Fields(scope)
	}
	// No standard names the member; these are in use.
	for _, name := range []string{"refresh_expires_in", "refresh_token_expires_in"} {
		if seconds := wholeSeconds(t.Extra(name)); seconds > 0 {
			a.RefreshExpiry = now.Add(seconds).Round(0)
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
func (s *Server) tokenError(ctx context.Context, what string, err error, secrets ...tokenstore.Secret) error {
	secrets = append(secrets, s.settings.ClientSecret)
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return s.refusal(refused.Response, "token", refused.ErrorCode, refused.ErrorDescription, secrets...)
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
	return fmt.Errorf("fdsclient: %s: %w: the token endpoint's answer is not that of RFC 6749 section 5.1; a proxy or a wrong token endpoint may be in the way", what, fds.ErrUnavailable)
}
