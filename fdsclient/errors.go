package fdsclient

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Classes of errors, for errors.Is.
var (
	// ErrConfig: a Config or the options of a call are wrong; the text names
	// every fault.
	ErrConfig = errors.New("wrong configuration")
	// ErrSignInRequired: the provider no longer honours the owner's grant, or
	// it can be renewed no more. Only a new sign-in of the owner's user helps.
	ErrSignInRequired = errors.New("sign in again")
	// ErrNoOwner: the store holds no grant for this owner.
	ErrNoOwner = errors.New("no such owner")
	// ErrDenied: the owner's user refused to give access.
	ErrDenied = errors.New("access denied by the user")
	// ErrForeignRedirect: a redirect that does not belong to the pending
	// sign-in. Ignore it and go on waiting: any web page can cause one.
	ErrForeignRedirect = errors.New("redirect of another sign-in")
	// ErrAttemptUsed and ErrAttemptExpired: begin a new sign-in.
	ErrAttemptUsed    = errors.New("sign-in attempt already used")
	ErrAttemptExpired = errors.New("sign-in attempt expired")
	// ErrIssuer: an authorization server spoke under another name than the one
	// configured (RFC 8414 section 3.3, RFC 9207 section 2.4).
	ErrIssuer = errors.New("issuer does not match")
	// ErrNoSubscription: what the provider issued names no subscription ID (W7).
	ErrNoSubscription = errors.New("no subscription ID in the token")
	// ErrSubscriptionChanged: a renewed token names other subscription IDs than
	// the grant. It is not used.
	ErrSubscriptionChanged = errors.New("renewed token is for another owner")
	// ErrUnavailable: the provider could not be reached or did not answer as it
	// should. Trying again later helps.
	ErrUnavailable = errors.New("provider not available")
	// ErrNoCertificate: a certificate source has none for this owner.
	ErrNoCertificate = errors.New("no certificate for this owner")
	// ErrClosed: the Client was closed.
	ErrClosed = errors.New("client closed")
)

// OAuthError is an error answer of the provider's authorization server
// (RFC 6749 sections 4.1.2.1 and 5.2). It matches ErrDenied or ErrSignInRequired
// where its code says so.
type OAuthError struct {
	Endpoint    string        // "authorization", "token", "revocation", "introspection", "device authorization" or "pushed authorization request"
	Code        string        // "invalid_grant", "access_denied", ...
	Description string        // the server's words, cut, without the secrets that we sent
	HTTPStatus  int           // 0 for the authorization endpoint
	RetryAfter  time.Duration // 0 when the server named none
}

// Error names the endpoint, the code and the server's words.
func (e *OAuthError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the %s endpoint answers %s", e.Endpoint, e.Code)
	if e.Description != "" {
		fmt.Fprintf(&b, " (%s)", strconv.Quote(e.Description))
	}
	if hint := oauthHints[e.Code]; hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

// Is matches ErrDenied and ErrSignInRequired by the code.
func (e *OAuthError) Is(target error) bool {
	switch target {
	case ErrDenied:
		return e.Code == "access_denied"
	case ErrSignInRequired:
		return e.Endpoint == "token" && endsGrant[e.Code]
	}
	return false
}

// endsGrant holds the codes after which a refresh token is of no more use:
// RFC 6749's and its OpenID kin (OpenID Connect Core section 3.1.2.6).
var endsGrant = map[string]bool{
	"invalid_grant":              true,
	"login_required":             true,
	"consent_required":           true,
	"interaction_required":       true,
	"account_selection_required": true,
}

var oauthHints = map[string]string{
	"invalid_client":         "check the client ID, its secret and the authentication method with the provider",
	"unauthorized_client":    "ask the provider to allow this application the authorization code and refresh token grants",
	"invalid_scope":          "check the scopes with the provider",
	"unsupported_grant_type": "ask the provider to allow the authorization code and refresh token grants",
	"access_denied":          "the user refused, or may not give access",
}

// Retryable says whether doing the same again later may help, with no one signing
// in and nothing configured anew.
func Retryable(err error) bool {
	switch {
	case err == nil, errors.Is(err, ErrSignInRequired), errors.Is(err, ErrConfig), errors.Is(err, ErrClosed),
		errors.Is(err, ErrDenied), errors.Is(err, ErrNoOwner), errors.Is(err, ErrIssuer),
		errors.Is(err, ErrNoSubscription), errors.Is(err, fds.ErrSubscriptionID):
		return false
	case errors.Is(err, ErrUnavailable), errors.Is(err, tokenstore.ErrUnavailable):
		return true
	}
	var refused *OAuthError
	return errors.As(err, &refused) && (refused.Code == "temporarily_unavailable" || refused.Code == "server_error" || refused.Code == "slow_down")
}

// joined is several errors in one line.
type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }

// join gives the errors that are not nil as one, or nil.
func join(errs ...error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

// describe makes a text from outside fit for an error: bounded, without control
// characters, without any of the secrets that we sent, plain or as in a URL.
func describe(text string, secrets ...tokenstore.Secret) string {
	const limit = 200
	for _, s := range secrets {
		if !s.IsZero() {
			for _, form := range []string{s.Reveal(), url.QueryEscape(s.Reveal()), url.PathEscape(s.Reveal())} {
				text = strings.ReplaceAll(text, form, "[redacted]")
			}
		}
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // also C1 controls and marks that turn the direction of text
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

// errorCode gives code when it has the form of RFC 6749 section 5.2 and holds
// none of the secrets that we sent, else "".
func errorCode(code string, secrets ...tokenstore.Secret) string {
	if len(code) > 64 || describe(code, secrets...) != code {
		return ""
	}
	for _, r := range code {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return ""
		}
	}
	return code
}
