package authserver

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const maxCallbackBytes = 16 << 10

// ReadRedirect checks a redirect against the attempt and gives the code. A
// redirect that is not the attempt's matches fds.ErrForeignRedirect, whatever else it
// says: else any web page could end a sign-in with error=.
func (s *Server) ReadRedirect(m *Metadata, a Attempt, callbackURL string) (code tokenstore.Secret, err error) {
	foreign := func(why string) (tokenstore.Secret, error) {
		return tokenstore.Secret{}, fmt.Errorf("fdsclient: sign-in: %w: %s", fds.ErrForeignRedirect, why)
	}
	if len(callbackURL) > maxCallbackBytes {
		return foreign("it is too long")
	}
	u, err := url.Parse(callbackURL)
	if err != nil {
		return foreign("it is not a URL")
	}
	own, err := url.Parse(a.RedirectURI)
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
	// Only what is needed counts: nothing else in the query, however it is written, costs
	// a code that cannot be had twice.
	values, wanted := make(url.Values), own.Query()
	for name, value := range pairs(u.RawQuery, true) {
		values.Add(name, value)
	}
	for name, own := range wanted { // which may be what tells providers apart
		if !slices.Equal(values[name], own) {
			return foreign("it has another query than the redirect URI")
		}
	}
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(values[name]) > 1 { // RFC 6749 section 3.1
			return foreign("it has " + name + " more than once")
		}
	}
	if subtle.ConstantTimeCompare([]byte(values.Get("state")), []byte(a.State.Reveal())) != 1 {
		return foreign("its state is not that of this sign-in")
	}
	if err := checkResponseIssuer(values, m); err != nil {
		return tokenstore.Secret{}, err
	}
	if values.Has("error") {
		code := errorCode(values.Get("error"), a.State, a.Verifier, a.Nonce)
		if code == "" {
			code = "an error without a name"
		}
		return tokenstore.Secret{}, fmt.Errorf("fdsclient: sign-in: %w", s.settings.Refused(Refusal{
			Endpoint:    "authorization",
			Code:        code,
			Description: Describe(values.Get("error_description"), a.State, a.Verifier, a.Nonce),
		}))
	}
	if values.Get("code") == "" {
		return tokenstore.Secret{}, errors.New("fdsclient: sign-in: the provider's redirect holds neither a code nor an error; begin again, and tell the provider if it recurs")
	}
	return tokenstore.NewSecret(values.Get("code")), nil
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
func checkResponseIssuer(values url.Values, m *Metadata) error {
	switch {
	case values.Has("iss") && values.Get("iss") != m.Issuer:
		return fmt.Errorf("fdsclient: sign-in: %w: the redirect comes from %q, the sign-in was begun at %q; another server may be trying to get at the code", fds.ErrIssuer, Describe(values.Get("iss")), m.Issuer)
	case !values.Has("iss") && m.IssInResponse:
		return fmt.Errorf("fdsclient: sign-in: %w: the redirect names no issuer although %q promises to (RFC 9207)", fds.ErrIssuer, m.Issuer)
	}
	return nil
}
