package authserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Answer is what the token endpoint issued.
type Answer struct {
	Access, Refresh, ID fds.Secret
	Kind                string    // "Bearer" or "DPoP"
	Expiry              time.Time // of the access token
	RefreshExpiry       time.Time // zero when the server does not say
	Scopes              []string  // nil when the server does not say
	Unusable            error     // why the access token cannot be used; the refresh token was rotated all the same
	Thumbprint          string    // of the client certificate that the tokens go with

	subscriptions json.RawMessage // the claim with the subscription IDs; nil when there is none
}

// Exchange trades an authorization code (RFC 6749 section 4.1.3, RFC 7636
// section 4.5). A server that is busy or down has not spent it, and is asked again;
// so is one whose answer was lost, once.
func (s *Server) Exchange(ctx context.Context, attempt Attempt, code fds.Secret) (Answer, error) {
	return s.insist(ctx, "exchange of the authorization code", 3, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code.Reveal()},
		"redirect_uri":  {attempt.RedirectURI},
		"code_verifier": {attempt.Verifier.Reveal()},
	}, s.adopt(attempt.Proof))
}

// Refresh trades a refresh token (RFC 6749 section 6). Also with an error the Answer
// has the refresh token that was found in the server's: save it before anything else,
// for the one that was sent is spent.
func (s *Server) Refresh(ctx context.Context, refreshToken fds.Secret, proof *Prover) (Answer, error) {
	return s.token(ctx, "renewal", url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {refreshToken.Reveal()},
	}, proof)
}

// DeviceToken asks for the tokens of a device code that the user may have entered by
// now (RFC 8628 section 3.4). A server whose answer was lost is asked again, once.
func (s *Server) DeviceToken(ctx context.Context, code fds.Secret, proof *Prover) (Answer, error) {
	return s.insist(ctx, "device sign-in", 0, url.Values{
		"grant_type":  {"urn:ietf:params:oauth:grant-type:device_code"},
		"device_code": {code.Reveal()},
	}, proof)
}

const grantClientCredentials = "client_credentials"

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
	form := url.Values{"grant_type": {grantClientCredentials}}
	scopes := slices.DeleteFunc(slices.Clone(s.settings.Scopes), func(scope string) bool { return scope == "openid" || scope == "offline_access" })
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	a, err := s.token(ctx, "client credentials", form, proof)
	a.Refresh, a.RefreshExpiry = fds.Secret{}, time.Time{} // of no use: the application can always ask again (section 4.4.3)
	a.ID = fds.Secret{}                                    // which nobody asked for
	return a, err
}

const (
	lostWait    = time.Second      // before a lost answer is asked for again: servers replay it for a few seconds
	longestBusy = 30 * time.Second // that a person in front of a browser waits for a busy server, each time
)

// insist is token for what cannot be had again without a person: a server that is
// busy or down is waited for at most so often.
func (s *Server) insist(ctx context.Context, what string, most int, form url.Values, proof *Prover) (Answer, error) {
	lost := false
	for waited := 0; ; {
		a, err := s.token(ctx, what, form, proof)
		var wait time.Duration
		switch {
		case err == nil || ctx.Err() != nil:
			return a, err
		case LostAnswer(err) && !lost:
			lost, wait = true, lostWait
		case busy(err) && waited < most:
			wait = min(max(RetryAfter(err), time.Second<<waited), longestBusy)
			waited++
		default:
			return a, err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return a, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return a, fmt.Errorf("fdsclient: %s: %w", what, context.Cause(ctx))
		}
	}
}

// token sends a request to the token endpoint.
func (s *Server) token(ctx context.Context, what string, form url.Values, proof *Prover) (Answer, error) {
	m, err := s.discovery.get(ctx)
	if err != nil {
		return Answer{}, err
	}
	who, err := s.ClientCerts.refresh(ctx)
	if err != nil {
		return Answer{}, err
	}
	if len(s.settings.Resources) > 0 {
		form["resource"] = s.settings.Resources
	}
	c := &call{
		what: what, endpoint: "token", name: "token_endpoint", address: m.TokenEndpoint, form: form, proof: proof,
		names:  []string{memberAccess, memberRefresh, memberID, memberKind, memberExpiry, memberRefreshExpiry, memberRefreshTokenExpiry, memberScope, s.settings.SubscriptionClaim},
		spends: form.Get("grant_type") != grantClientCredentials,
	}
	for nonceSent := false; ; nonceSent = true {
		r, err := s.send(ctx, m, c)
		if err != nil {
			return Answer{}, err
		}
		a, err := s.read(&r)
		a.Thumbprint = who.thumbprint
		// The server asks for a nonce before it looks at anything else, so no code
		// and no refresh token is spent (RFC 9449 section 8).
		var refused *refusedError
		if proof != nil && !nonceSent && errors.As(err, &refused) && refused.Code == "use_dpop_nonce" {
			continue
		}
		return a, err
	}
}

// The members of a token answer (RFC 6749 section 5.1, OpenID Connect Core section
// 3.1.3.3). No standard names the time that a refresh token lives; both are in use.
const (
	memberAccess             = "access_token"
	memberRefresh            = "refresh_token"
	memberID                 = "id_token"
	memberKind               = "token_type"
	memberExpiry             = "expires_in"
	memberRefreshExpiry      = "refresh_expires_in"
	memberRefreshTokenExpiry = "refresh_token_expires_in"
	memberScope              = "scope"
)

// read makes an Answer of the token endpoint's. Tokens count from a success alone. Of
// an answer that cannot be taken it returns the refresh token, if there is one.
func (s *Server) read(r *reply) (Answer, error) {
	if !r.ok() {
		return Answer{}, s.refusal(r)
	}
	now := time.Now()
	a := Answer{Kind: "Bearer", Refresh: fds.NewSecret(r.lastText(memberRefresh))}
	// The wall clock, not the monotonic one: that stands still while a laptop sleeps.
	if left := cmp.Or(r.seconds(memberRefreshTokenExpiry), r.seconds(memberRefreshExpiry)); left > 0 {
		a.RefreshExpiry = now.Add(left).Round(0)
	}
	access := r.text(memberAccess)
	twice := r.twice(memberAccess, memberRefresh, memberID, memberKind, s.settings.SubscriptionClaim)
	if r.fault != nil || twice != "" || access == "" {
		err := s.unfit(r, twice, "RFC 6749 section 5.1")
		var refused *refusedError
		// A success with an object says that it was processed; a page, or what has no end,
		// may be any proxy's.
		if a.Refresh.IsZero() && !errors.As(err, &refused) && !errors.Is(r.fault, errNoObject) && !errors.Is(r.fault, errTooLarge) {
			err = lostAnswer{err}
		}
		return a, err
	}
	a.Access = fds.NewSecret(access)
	a.ID = fds.NewSecret(r.text(memberID))
	a.Scopes = r.list(memberScope, " ")
	a.subscriptions = r.raw(s.settings.SubscriptionClaim)
	left := r.seconds(memberExpiry)
	if left == 0 { // not said, or nonsense
		left = s.settings.AssumedLifetime
	}
	a.Expiry = now.Add(left).Round(0)
	a.Kind, a.Unusable = s.kind(r, a, r.call.proof != nil)
	return a, nil
}

// kind returns how an access token is presented, and why it cannot be.
func (s *Server) kind(r *reply, a Answer, proven bool) (kind string, unusable error) {
	unusableFor := func(format string, args ...any) (string, error) {
		return kind, fmt.Errorf("fdsclient: token endpoint: %w: "+format, append([]any{fds.ErrUnavailable}, args...)...)
	}
	said := strings.TrimSpace(r.text(memberKind))
	if kind = "Bearer"; strings.EqualFold(said, KindDPoP) {
		kind = KindDPoP
	}
	switch {
	case strings.ContainsFunc(a.Access.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }):
		return unusableFor("the access token cannot stand in a header")
	case kind == KindDPoP && !proven:
		return unusableFor("it issued a token bound to a key; turn Application.DPoP on and sign in again")
	case kind == "Bearer" && said != "" && !strings.EqualFold(said, kind):
		return unusableFor("it issued a token of type %q, this SDK speaks Bearer and DPoP", Describe(said, append(r.sent, a.Access, a.Refresh)...))
	case kind == "Bearer" && proven:
		// Whoever gets hold of it could use it, which is what the key was to prevent.
		return unusableFor("it issued a token that is bound to no key, in the place of one that is; ask it why, or turn Application.DPoP off and sign in again (RFC 9449 section 5)")
	}
	return kind, nil
}

// Revoke asks the server to forget a token (RFC 7009). The server answers with
// success for a token that it does not know.
func (s *Server) Revoke(ctx context.Context, token fds.Secret, hint string) error {
	m, err := s.discovery.get(ctx)
	if err != nil {
		return err
	}
	if m.RevocationEndpoint == "" {
		return errors.New("fdsclient: revocation: the provider has no revocation endpoint; ask it to end the grant")
	}
	r, err := s.send(ctx, m, &call{
		what: "revocation", endpoint: "revocation", name: "revocation_endpoint", address: m.RevocationEndpoint,
		form: url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}},
	})
	if err == nil && !r.ok() {
		err = s.refusal(&r)
	}
	return err
}
