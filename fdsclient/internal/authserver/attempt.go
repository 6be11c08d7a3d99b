package authserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/fds-sdk/fds-go/fds"
)

// AttemptLifetime is how long a sign-in may take.
const AttemptLifetime = 15 * time.Minute

const (
	maxRequestURI = 2 << 10 // of a pushed request; it becomes part of a URL
)

// Attempt is a sign-in that was begun and waits for its redirect.
type Attempt struct {
	Address     fds.Secret // the authorization request; it holds the state
	Issuer      string
	ClientID    string
	RedirectURI string
	State       fds.Secret
	Verifier    fds.Secret
	Nonce       fds.Secret // zero when no ID token was asked for
	Proof       *Prover    // nil without DPoP
	Expires     time.Time
}

// NewAttempt makes the authorization request: state, PKCE with S256 (RFC 7636
// section 4), nonce (OpenID Connect Core section 3.1.2.1), and prompt=consent
// with offline_access (section 11). A parameter replaces a default, or takes it away
// when it is empty.
func (s *Server) NewAttempt(ctx context.Context, m *Metadata, redirectURI string, parameters map[string]string) (Attempt, error) {
	fail := func(err error) (Attempt, error) { return Attempt{}, fmt.Errorf("fdsclient: sign-in: %w", err) }
	if m.AuthorizationEndpoint == "" {
		return fail(lasting{fmt.Errorf("%w: the provider names no authorization_endpoint; ask it how to sign in, or give Provider.Endpoints", fds.ErrUnavailable)})
	}
	// Before anyone signs in: the code would be lost without the other one.
	if err := cmp.Or(m.judge("authorization_endpoint", m.AuthorizationEndpoint), m.judge("token_endpoint", m.TokenEndpoint)); err != nil {
		return Attempt{}, err
	}
	a := Attempt{
		Issuer:      s.settings.Issuer,
		ClientID:    s.settings.ClientID,
		RedirectURI: redirectURI,
		State:       fds.NewSecret(rand.Text()),
		Verifier:    fds.NewSecret(oauth2.GenerateVerifier()),
		Expires:     time.Now().Add(AttemptLifetime).Round(0),
	}
	request := url.Values{
		"response_type":         {"code"},
		"client_id":             {a.ClientID},
		"redirect_uri":          {redirectURI},
		"state":                 {a.State.Reveal()},
		"code_challenge":        {oauth2.S256ChallengeFromVerifier(a.Verifier.Reveal())},
		"code_challenge_method": {"S256"},
	}
	if len(s.settings.Scopes) > 0 {
		request.Set("scope", strings.Join(s.settings.Scopes, " "))
	}
	if slices.Contains(s.settings.Scopes, "offline_access") {
		request.Set("prompt", "consent")
	}
	if len(s.settings.Resources) > 0 {
		request["resource"] = s.settings.Resources
	}
	var err error
	if a.Proof, err = s.NewProver(); err != nil {
		return fail(err)
	}
	if a.Proof != nil {
		thumbprint, err := a.Proof.thumbprint()
		if err != nil {
			return fail(err)
		}
		request.Set("dpop_jkt", thumbprint)
	}
	for name, value := range parameters {
		if why := ownParameters[name]; why != "" {
			return fail(fmt.Errorf("%w: SignInOptions.Parameters: %q %s", fds.ErrConfig, name, why))
		}
		if value == "" { // not asked for, whatever is asked for by default
			request.Del(name)
			continue
		}
		request.Set(name, value)
	}
	if slices.Contains(strings.Fields(request.Get("scope")), "openid") {
		a.Nonce = fds.NewSecret(rand.Text())
		request.Set("nonce", a.Nonce.Reveal())
	}
	if s.settings.PushRequests || m.PushRequired {
		if request, err = s.push(ctx, m, request); err != nil {
			return Attempt{}, err
		}
	}
	// An endpoint may have a query of its own, which stays (RFC 6749 section 3.1).
	separator := "?"
	if strings.Contains(m.AuthorizationEndpoint, "?") {
		separator = "&"
	}
	a.Address = fds.NewSecret(m.AuthorizationEndpoint + separator + request.Encode())
	return a, nil
}

// push hands the request to the server and returns the short one that stands for
// it (RFC 9126).
func (s *Server) push(ctx context.Context, m *Metadata, request url.Values) (url.Values, error) {
	const what = "pushed authorization request"
	r, err := s.send(ctx, m, &call{
		what: what, endpoint: what, name: "pushed_authorization_request_endpoint", address: m.PushEndpoint, form: request,
		names: []string{"request_uri"},
	})
	if err != nil {
		return nil, err
	}
	if !r.ok() {
		return nil, s.refusal(&r)
	}
	address, twice := r.text("request_uri"), r.twice("request_uri")
	if r.fault != nil || twice != "" || address == "" || len(address) > maxRequestURI {
		return nil, s.unfit(&r, twice, "RFC 9126 section 2.2")
	}
	return url.Values{"client_id": {s.settings.ClientID}, "request_uri": {address}}, nil
}

// ownParameters are those on which a request's safety rests, and why nobody else
// sets them.
var ownParameters = map[string]string{
	"response_type": "is always code: with the implicit grant tokens would pass through the browser's address bar, history and logs, and could be neither bound nor renewed (RFC 9700 section 2.1.2)",
	"grant_type":    "is no parameter of an authorization request, and the password grant is not supported: it hands the user's password to the application (RFC 9700 section 2.4)",
	"password":      "is not supported: the password grant hands the user's password to the application (RFC 9700 section 2.4)",

	"client_assertion":      setHere,
	"client_assertion_type": setHere,
	"client_id":             setHere,
	"client_secret":         setHere,
	"code_challenge":        setHere,
	"code_challenge_method": setHere,
	"dpop_jkt":              setHere,
	"nonce":                 setHere,
	"redirect_uri":          setHere,
	"request":               setHere,
	"request_uri":           setHere,
	"response_mode":         setHere,
	"state":                 setHere,
}

const setHere = "is set by the SDK"
