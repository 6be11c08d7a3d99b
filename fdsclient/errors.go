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
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
	"github.com/fds-sdk/fds-go/push"
)

// OAuthError is an error answer of the provider's authorization server
// (RFC 6749 sections 4.1.2.1 and 5.2). It matches fds.ErrAccessDenied or fds.ErrSignInRequired
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

// Is matches fds.ErrAccessDenied and fds.ErrSignInRequired by the code.
func (e *OAuthError) Is(target error) bool {
	switch target {
	case fds.ErrAccessDenied:
		return e.Code == "access_denied"
	case fds.ErrSignInRequired:
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

// Retryable reports whether doing the same again later may help, with no one signing in
// and nothing configured anew. It is meant for each error that a function, a method, a hook
// or a State of this module returns. What has said how long to wait says it in
// pull.Error.RetryAfter, OAuthError.RetryAfter or, for a renewal that is not tried again
// before some time has passed, by a method RetryAfter() time.Duration anywhere in the chain.
//
// It is true also where the cause may be a wrong URL, since a server that is away looks the same:
// alert when it lasts. Where the provider has answered, and its metadata are missing, cannot be
// read or offer too little, an error has a method Lasting() bool too, which returns true: nothing
// changes until somebody mends that, and a person who waits need not wait. fds.ErrRunning is not
// retryable, though a standby starts Run again every half minute: see One consumer in
// docs/operations.md. That a sign-in was denied (fds.ErrAccessDenied) or timed out
// (fds.ErrAttemptExpired, context.DeadlineExceeded) is judged by errors.Is: it is neither Retryable
// nor SignInNeeded, since whether to begin another is a person's choice.
func Retryable(err error) bool {
	if err == nil || isAny(err, final...) {
		return false
	}
	var (
		refused     *OAuthError
		takenOver   *push.TakenOverError
		certificate *push.CertificateError
		reason      *push.ReasonError
	)
	switch {
	case errors.As(err, &takenOver):
		return takenOver.Suspected
	case errors.As(err, &certificate):
		return certificate.Passing
	case isAny(err, fds.ErrTakenOver, fds.ErrCertificate, fds.ErrBrokerDenied):
		return false
	case errors.As(err, &reason):
		return true
	case tlspolicy.IsFault(err):
		return false
	case isAny(err, passing...):
		return true
	}
	return errors.As(err, &refused) && slices.Contains([]string{"temporarily_unavailable", "server_error", "slow_down"}, refused.Code)
}

// SignInNeeded reports whether err says that the owner's user must sign in, for the first
// time or again, and that nothing else helps. How a sign-in itself failed (denied, timed out) is
// judged by errors.Is; see Retryable.
func SignInNeeded(err error) bool {
	return isAny(err, fds.ErrSignInRequired, fds.ErrNoOwner)
}

var (
	// final are the classes that no later attempt of the same heals, whatever else an
	// error matches.
	final = []error{
		fds.ErrSignInRequired, fds.ErrNoOwner, fds.ErrAccessDenied, fds.ErrConfig, fds.ErrClientClosed,
		fds.ErrIssuer, fds.ErrNoSubscription, fds.ErrSubscriptionID, fds.ErrUnknownOutcome,
	}
	// passing are those that pass by themselves.
	passing = []error{
		fds.ErrUnavailable, fds.ErrRateLimited, fds.ErrStoreUnavailable, fds.ErrUnresponsive, fds.ErrConnectionClosed,
	}
)

func isAny(err error, classes ...error) bool {
	return slices.ContainsFunc(classes, func(class error) bool { return errors.Is(err, class) })
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

// join returns the errors that are not nil as one, or nil.
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
