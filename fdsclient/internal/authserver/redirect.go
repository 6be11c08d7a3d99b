package authserver

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
)

const maxCallbackBytes = 16 << 10

// StatelessDenial is a redirect that says that a sign-in was refused and lacks the state
// (RFC 6749 section 4.1.2.1 demands it), so that nobody can tell whose: it matches
// fds.ErrForeignRedirect, and any web page can send one. Whoever waits for the redirect
// may tell the person what it says.
type StatelessDenial struct {
	Code        string // may be empty
	Description string
}

func (e *StatelessDenial) Error() string {
	return fmt.Sprintf("fdsclient: sign-in: %v: it says %q (%q) without the state of any sign-in, so that anybody may have sent it; if it was the provider, cancel here and ask it to send the state along", fds.ErrForeignRedirect, e.Code, e.Description)
}

func (e *StatelessDenial) Unwrap() error { return fds.ErrForeignRedirect }

// ReadRedirect checks a redirect against the attempt and returns the code. A
// redirect that is not the attempt's matches fds.ErrForeignRedirect, whatever else it
// says: else any web page could end a sign-in with error=. Of its query only what this
// needs is looked at, so that nothing else in it can be wrong.
func (s *Server) ReadRedirect(m *Metadata, a Attempt, callbackURL string) (code fds.Secret, err error) {
	foreign := func(why string) (fds.Secret, error) {
		return fds.Secret{}, fmt.Errorf("fdsclient: sign-in: %w: %s", fds.ErrForeignRedirect, why)
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
	values, wanted, came := make(map[string]string), own.Query(), make(url.Values)
	for name, value := range pairs(u.RawQuery, true) {
		if wanted.Has(name) {
			came.Add(name, value)
		}
		_, twice := values[name]
		switch {
		case !slices.Contains([]string{"state", "code", "error", "error_description", "iss"}, name):
		case !twice:
			values[name] = value
		case name != "error_description": // RFC 6749 section 3.1; words for people cost no sign-in
			return foreign("it has " + name + " more than once")
		}
	}
	for name, own := range wanted { // which may be what tells providers apart
		if !slices.Equal(came[name], own) {
			return foreign("it has another query than the redirect URI")
		}
	}
	refused := func(secrets ...fds.Secret) (code, description string) {
		return errorCode(values["error"], secrets...), Describe(values["error_description"], secrets...)
	}
	state := values["state"]
	if _, denied := values["error"]; denied && state == "" {
		code, description := refused()
		return fds.Secret{}, &StatelessDenial{Code: code, Description: description}
	}
	if subtle.ConstantTimeCompare([]byte(state), []byte(a.State.Reveal())) != 1 {
		return foreign("its state is not that of this sign-in")
	}
	if err := checkResponseIssuer(values, m); err != nil {
		return fds.Secret{}, err
	}
	if _, denied := values["error"]; denied && (values["error"] != "" || values["code"] == "") { // an empty one beside a code is none
		code, description := refused(a.State, a.Verifier, a.Nonce)
		if code == "" {
			code = "an error without a name"
		}
		return fds.Secret{}, fmt.Errorf("fdsclient: sign-in: %w", s.settings.Refused(Refusal{
			Endpoint:    "authorization",
			Code:        code,
			Description: description,
		}))
	}
	if values["code"] == "" {
		return fds.Secret{}, errors.New("fdsclient: sign-in: the provider's redirect holds neither a code nor an error; begin again, and tell the provider if it recurs")
	}
	return fds.NewSecret(values["code"]), nil
}

// pathOf returns a URL's path; browsers write the empty one as a slash.
func pathOf(u *url.URL) string {
	if path := u.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

// checkResponseIssuer is RFC 9207 section 2.4: compared as strings, missing only
// where the server does not promise it, and never ignored when it is there.
func checkResponseIssuer(values map[string]string, m *Metadata) error {
	said, has := values["iss"]
	switch {
	case has && said != m.Issuer:
		return fmt.Errorf("fdsclient: sign-in: %w: the redirect comes from %q, the sign-in was begun at %q; another server may be trying to get at the code", fds.ErrIssuer, Describe(said), m.Issuer)
	case !has && m.IssInResponse:
		return fmt.Errorf("fdsclient: sign-in: %w: the redirect names no issuer although %q promises to (RFC 9207)", fds.ErrIssuer, m.Issuer)
	}
	return nil
}
