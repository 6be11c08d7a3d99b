package fdsclient

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Classes of errors, for errors.Is.
var (
	// ErrConfig: a Config or the options of a call are wrong; the text names
	// every fault.
	ErrConfig = fds.ErrConfig
	// ErrSignInRequired: the provider no longer honours the owner's grant, or
	// it can be renewed no more. Only a new sign-in of the owner's user helps.
	ErrSignInRequired = errors.New("sign in again")
	// ErrNoOwner: the store holds no grant for this owner.
	ErrNoOwner = errors.New("no such owner")
	// ErrDenied: the owner's user refused to give access.
	ErrDenied = errors.New("access denied by the user")
	// ErrForeignRedirect: a redirect that does not belong to the pending
	// sign-in. Ignore it and go on waiting: any web page can cause one.
	ErrForeignRedirect = fds.ErrForeignRedirect
	// ErrAttemptUsed and ErrAttemptExpired: begin a new sign-in.
	ErrAttemptUsed    = errors.New("sign-in attempt already used")
	ErrAttemptExpired = errors.New("sign-in attempt expired")
	// ErrIssuer: an authorization server spoke under another name than the one
	// configured (RFC 8414 section 3.3, RFC 9207 section 2.4).
	ErrIssuer = fds.ErrIssuer
	// ErrNoSubscription: what the provider issued names no subscription ID (W7).
	ErrNoSubscription = fds.ErrNoSubscription
	// ErrSubscriptionChanged: a renewed token does not name all subscription IDs of
	// the grant. It is not used for the owners that it no longer names, who must sign
	// in again: the error matches ErrSignInRequired too.
	ErrSubscriptionChanged = errors.New("renewed token is for another owner")
	// ErrUnavailable: the provider could not be reached or did not answer as it
	// should. Trying again later helps.
	ErrUnavailable = fds.ErrUnavailable
	// ErrGrantShared: the grant of an owner who signed out lives on for others who signed
	// in together with this one.
	ErrGrantShared = errors.New("the grant is held for others still")
	// ErrRunning: a Run of this Client, or another process, has the owner already.
	ErrRunning = push.ErrRunning
	// ErrNoCertificate: a certificate source has none for this owner. It matches
	// push.ErrCertificate: only a person can help.
	ErrNoCertificate error = noCertificateError{}
	// ErrClosed: the Client was closed.
	ErrClosed = errors.New("client closed")
)

type noCertificateError struct{}

func (noCertificateError) Error() string { return "no certificate for this owner" }

// Is matches push.ErrCertificate too.
func (noCertificateError) Is(target error) bool { return target == push.ErrCertificate }

// OAuthError is an error answer of the provider's authorization server
// (RFC 6749 sections 4.1.2.1 and 5.2). It matches ErrDenied or ErrSignInRequired
// where its code says so.
type OAuthError struct {
	Endpoint    string        // "authorization", "token", "revocation", "introspection", "device authorization" or "pushed authorization request"
	Code        string        // "invalid_grant", "access_denied", ...
	Description string        // the server's words, cut, without the secrets that we sent
	HTTPStatus  int           // 0 for the authorization endpoint
	RetryAfter  time.Duration // 0 when the server named none

	final bool // by Provider.FinalErrors
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
		return e.Endpoint == "token" && (e.final || authserver.EndsGrant(e.Code))
	}
	return false
}

var oauthHints = map[string]string{
	"invalid_client":         "check the client ID, its secret and the authentication method with the provider",
	"unauthorized_client":    "ask the provider to allow this application the authorization code and refresh token grants",
	"invalid_scope":          "check the scopes with the provider",
	"unsupported_grant_type": "ask the provider to allow the authorization code and refresh token grants",
	"access_denied":          "the user refused, or may not give access",
}

// Retryable reports whether doing the same again later may help, with no one signing
// in and nothing configured anew. An error of a renewal that is not tried again before some
// time has, anywhere in its chain, a method RetryAfter() time.Duration that returns how
// long that is.
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
