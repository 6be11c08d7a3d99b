package fdsclient

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// AttemptLifetime is how long a sign-in may take between BeginSignIn and
// FinishSignIn.
const AttemptLifetime = 15 * time.Minute

const (
	maxCallbackBytes = 16 << 10
	maxRequestURI    = 2 << 10 // of a pushed request; it becomes part of a URL
)

// Attempt is a sign-in that was begun and waits for its redirect. It is for one
// use, within AttemptLifetime. It holds secrets: printing, logging or marshalling
// one shows none; Encode gives all, for the app's own session store.
type Attempt struct {
	address     Secret // the authorization request; it holds the state
	issuer      string
	clientID    string
	redirectURI string
	state       Secret
	verifier    Secret
	nonce       Secret
	proof       *prover // nil without DPoP
	expires     time.Time
}

// URL is where the owner's user must be sent, in the system's browser.
func (a Attempt) URL() string { return a.address.Reveal() }

// RedirectURI is where the provider will send the browser.
func (a Attempt) RedirectURI() string { return a.redirectURI }

// Expires is when FinishSignIn stops taking the attempt.
func (a Attempt) Expires() time.Time { return a.expires }

// String shows no secret.
func (a Attempt) String() string {
	return fmt.Sprintf("sign-in attempt at %s until %s", a.issuer, a.expires.UTC().Format(time.RFC3339))
}

// Format prints String whatever the verb, since the URL holds the state.
func (a Attempt) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// LogValue logs String.
func (a Attempt) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalJSON refuses: an Attempt belongs in the app's session store by Encode,
// and nowhere by accident.
func (a Attempt) MarshalJSON() ([]byte, error) {
	return nil, errors.New("fdsclient: an Attempt holds secrets; use Encode")
}

// encodedAttempt is the form of Encode.
type encodedAttempt struct {
	Version     int       `json:"version"`
	URL         string    `json:"url"`
	Issuer      string    `json:"issuer"`
	ClientID    string    `json:"client_id"`
	RedirectURI string    `json:"redirect_uri"`
	State       string    `json:"state"`
	Verifier    string    `json:"verifier"`
	Nonce       string    `json:"nonce"`
	ProofKey    string    `json:"proof_key,omitempty"`
	Expires     time.Time `json:"expires"`
}

// Encode gives the attempt with its secrets, for DecodeAttempt. Keep it on the
// server, in the session of the browser that began the sign-in and nowhere else:
// that binding is what stops an attacker from ending his sign-in in your user's
// browser (RFC 6749 section 10.12). Whoever reads it can finish the sign-in.
func (a Attempt) Encode() ([]byte, error) {
	e := encodedAttempt{
		Version:     1,
		URL:         a.address.Reveal(),
		Issuer:      a.issuer,
		ClientID:    a.clientID,
		RedirectURI: a.redirectURI,
		State:       a.state.Reveal(),
		Verifier:    a.verifier.Reveal(),
		Nonce:       a.nonce.Reveal(),
		Expires:     a.expires,
	}
	if a.proof != nil {
		key, err := a.proof.encoded()
		if err != nil {
			return nil, fmt.Errorf("fdsclient: encode sign-in attempt: %w", err)
		}
		e.ProofKey = key.Reveal()
	}
	return json.Marshal(e)
}

// DecodeAttempt reads what Encode wrote.
func DecodeAttempt(data []byte) (Attempt, error) {
	fail := errors.New("fdsclient: decode sign-in attempt: this is not what Attempt.Encode wrote; begin a new sign-in")
	var e encodedAttempt
	if err := json.Unmarshal(data, &e); err != nil || e.Version != 1 || e.State == "" || e.Verifier == "" {
		return Attempt{}, fail
	}
	a := Attempt{
		address:     NewSecret(e.URL),
		issuer:      e.Issuer,
		clientID:    e.ClientID,
		redirectURI: e.RedirectURI,
		state:       NewSecret(e.State),
		verifier:    NewSecret(e.Verifier),
		nonce:       NewSecret(e.Nonce),
		expires:     e.Expires,
	}
	if e.ProofKey != "" {
		var err error
		if a.proof, err = readProver(NewSecret(e.ProofKey), &nonces{}); err != nil {
			return Attempt{}, fail
		}
	}
	return a, nil
}

// newAttempt makes the authorization request: state, PKCE with S256 (RFC 7636
// section 4), nonce (OpenID Connect Core section 3.1.2.1), and prompt=consent
// with offline_access (section 11).
func (s *authServer) newAttempt(ctx context.Context, m *metadata, redirectURI string, parameters map[string]string) (Attempt, error) {
	fail := func(err error) (Attempt, error) { return Attempt{}, fmt.Errorf("fdsclient: sign-in: %w", err) }
	if m.AuthorizationEndpoint == "" {
		return fail(fmt.Errorf("%w: the provider names no authorization_endpoint; ask it how to sign in, or give Provider.Endpoints", ErrUnavailable))
	}
	a := Attempt{
		issuer:      s.provider.Issuer,
		clientID:    s.application.ClientID,
		redirectURI: redirectURI,
		state:       NewSecret(rand.Text()),
		verifier:    NewSecret(oauth2.GenerateVerifier()),
		expires:     time.Now().Add(AttemptLifetime).Round(0),
	}
	request := url.Values{
		"response_type":         {"code"},
		"client_id":             {a.clientID},
		"redirect_uri":          {redirectURI},
		"state":                 {a.state.Reveal()},
		"code_challenge":        {oauth2.S256ChallengeFromVerifier(a.verifier.Reveal())},
		"code_challenge_method": {"S256"},
	}
	if len(s.application.Scopes) > 0 {
		request.Set("scope", strings.Join(s.application.Scopes, " "))
	}
	if slices.Contains(s.application.Scopes, "openid") {
		a.nonce = NewSecret(rand.Text())
		request.Set("nonce", a.nonce.Reveal())
	}
	if slices.Contains(s.application.Scopes, "offline_access") {
		request.Set("prompt", "consent")
	}
	if len(s.provider.Resources) > 0 {
		request["resource"] = s.provider.Resources
	}
	var err error
	if a.proof, err = s.newProver(); err != nil {
		return fail(err)
	}
	if a.proof != nil {
		thumbprint, err := a.proof.thumbprint()
		if err != nil {
			return fail(err)
		}
		request.Set("dpop_jkt", thumbprint)
	}
	for name, value := range parameters {
		if why := ownParameters[name]; why != "" {
			return fail(fmt.Errorf("%w: SignInOptions.Parameters: %q %s", ErrConfig, name, why))
		}
		request.Set(name, value)
	}
	if s.application.PushRequests || m.PushRequired {
		if request, err = s.push(ctx, m, request); err != nil {
			return Attempt{}, err
		}
	}
	// An endpoint may have a query of its own, which stays (RFC 6749 section 3.1).
	separator := "?"
	if strings.Contains(m.AuthorizationEndpoint, "?") {
		separator = "&"
	}
	a.address = NewSecret(m.AuthorizationEndpoint + separator + request.Encode())
	return a, nil
}

// push hands the request to the server and gives the short one that stands for
// it (RFC 9126).
func (s *authServer) push(ctx context.Context, m *metadata, request url.Values) (url.Values, error) {
	const what = "pushed authorization request"
	response, err := s.post(ctx, m, what, m.PushEndpoint, request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusOK {
		return nil, s.readRefusal(response, what, request)
	}
	var pushed struct {
		URI string `json:"request_uri"`
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, unavailable(what, err)
	}
	if json.Unmarshal(body, &pushed) != nil || pushed.URI == "" || len(pushed.URI) > maxRequestURI {
		return nil, fmt.Errorf("fdsclient: %s: %w: the answer is not that of RFC 9126 section 2.2; check the endpoint", what, ErrUnavailable)
	}
	return url.Values{"client_id": {s.application.ClientID}, "request_uri": {pushed.URI}}, nil
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

// readCallback checks a redirect against the attempt and gives the code. A
// redirect that is not the attempt's matches ErrForeignRedirect, whatever else it
// says: else any web page could end a sign-in with error=.
func (a Attempt) readCallback(callbackURL string, m *metadata) (code Secret, err error) {
	foreign := func(why string) (Secret, error) {
		return Secret{}, fmt.Errorf("fdsclient: sign-in: %w: %s", ErrForeignRedirect, why)
	}
	if len(callbackURL) > maxCallbackBytes {
		return foreign("it is too long")
	}
	u, err := url.Parse(callbackURL)
	if err != nil {
		return foreign("it is not a URL")
	}
	own, err := url.Parse(a.redirectURI)
	if err != nil {
		return foreign("the attempt is damaged")
	}
	if pathOf(u) != pathOf(own) {
		return foreign("it has another path than the redirect URI")
	}
	// A server sees only path and query of a request; a whole URL is compared
	// whole, which also tells servers apart that each have their own (RFC 9700
	// section 4.4.2).
	if u.Host != "" && (u.Scheme != own.Scheme || !strings.EqualFold(u.Host, own.Host)) {
		return foreign("it went to another place than the redirect URI")
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return foreign("its query is malformed")
	}
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(values[name]) > 1 { // RFC 6749 section 3.1
			return foreign("it has " + name + " more than once")
		}
	}
	if subtle.ConstantTimeCompare([]byte(values.Get("state")), []byte(a.state.Reveal())) != 1 {
		return foreign("its state is not that of this sign-in")
	}
	if err := checkResponseIssuer(values, m); err != nil {
		return Secret{}, err
	}
	if values.Has("error") {
		code := errorCode(values.Get("error"), a.state, a.verifier, a.nonce)
		if code == "" {
			code = "an error without a name"
		}
		return Secret{}, fmt.Errorf("fdsclient: sign-in: %w", &OAuthError{
			Endpoint:    "authorization",
			Code:        code,
			Description: describe(values.Get("error_description"), a.state, a.verifier, a.nonce),
		})
	}
	if values.Get("code") == "" {
		return Secret{}, errors.New("fdsclient: sign-in: the provider's redirect holds neither a code nor an error; begin again, and tell the provider if it recurs")
	}
	return NewSecret(values.Get("code")), nil
}

// pathOf gives a URL's path; browsers write the empty one as a slash.
func pathOf(u *url.URL) string {
	if path := u.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

// checkResponseIssuer is RFC 9207 section 2.4: compared as strings, missing only
// where the server does not promise it, and never ignored when it is there.
func checkResponseIssuer(values url.Values, m *metadata) error {
	switch {
	case values.Has("iss") && values.Get("iss") != m.Issuer:
		return fmt.Errorf("fdsclient: sign-in: %w: the redirect comes from %q, the sign-in was begun at %q; another server may be trying to get at the code", ErrIssuer, describe(values.Get("iss")), m.Issuer)
	case !values.Has("iss") && m.IssInResponse:
		return fmt.Errorf("fdsclient: sign-in: %w: the redirect names no issuer although %q promises to (RFC 9207)", ErrIssuer, m.Issuer)
	}
	return nil
}

// usedAttempts remembers which attempts this process has finished until they
// expire anyway.
type usedAttempts struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]time.Time
}

// take says whether the attempt is still unused, and uses it.
func (u *usedAttempts) take(a Attempt) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for key, expires := range u.seen {
		if now.After(expires) {
			delete(u.seen, key)
		}
	}
	key := sha256.Sum256([]byte(a.state.Reveal()))
	if _, used := u.seen[key]; used {
		return false
	}
	if u.seen == nil {
		u.seen = make(map[[sha256.Size]byte]time.Time)
	}
	u.seen[key] = a.expires
	return true
}
