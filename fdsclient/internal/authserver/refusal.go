package authserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
)

const longestWait = time.Hour // that a server's Retry-After can ask for

// finalCodes are those after which a refresh token is of no more use: RFC 6749's,
// its OpenID kin (OpenID Connect Core section 3.1.2.6), and one that is in use.
var finalCodes = []string{
	"invalid_grant",
	"login_required",
	"consent_required",
	"interaction_required",
	"account_selection_required",
	"bad_refresh_token",
}

// EndsGrant reports whether an error code of the token endpoint means that a refresh
// token is of no more use, at any provider.
func EndsGrant(code string) bool { return slices.Contains(finalCodes, code) }

// knownCodes are others that have a meaning whatever the status they come under: of
// RFC 6749 sections 4.1.2.1 and 5.2, RFC 7009 section 2.2.1, RFC 8628 section 3.5,
// RFC 8707 section 2 and RFC 9449 sections 5 and 8.
var knownCodes = []string{
	"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"access_denied", "server_error", "temporarily_unavailable", "unsupported_token_type",
	"authorization_pending", "slow_down", "expired_token", "invalid_target", "invalid_dpop_proof", "use_dpop_nonce",
}

// passingCodes are those after which the same request may succeed.
var passingCodes = []string{"server_error", "temporarily_unavailable", "authorization_pending", "slow_down", "use_dpop_nonce"}

// FinalErrorFault says why a code cannot be one that ends a grant, or "".
func FinalErrorFault(code string) string {
	switch {
	case code == "" || errorCode(code) != code:
		return "is no error code (RFC 6749 section 5.2)"
	case slices.Contains(passingCodes, code):
		return "passes by itself: nobody has to sign in again after it"
	}
	return ""
}

// Refusal is an error answer of the server (RFC 6749 sections 4.1.2.1 and 5.2).
type Refusal struct {
	Endpoint    string
	Code        string
	Description string
	HTTPStatus  int           // 0 for the authorization endpoint
	RetryAfter  time.Duration // 0 when the server named none
	Final       bool          // the code ends a grant, by EndsGrant or by Settings.FinalErrors
}

// refusedError is the error that the settings make for a Refusal.
type refusedError struct {
	Refusal
	public error
}

func (e *refusedError) Error() string { return "fdsclient: " + e.public.Error() }

func (e *refusedError) Unwrap() error { return e.public }

// refusal makes the error for an answer that is no success. An OAuth error counts as
// the server's word under any status and content type, but for a code that nobody
// knows where the server is down or busy: that, a proxy's 403 and a page in HTML say
// nothing about the grant.
func (s *Server) refusal(r *reply) error {
	code := errorCode(r.text("error"), r.sent...)
	final := EndsGrant(code) || slices.Contains(s.settings.FinalErrors, code)
	asked := backoff.Asked(r.header, longestWait)
	down := r.status >= 500 || r.status == http.StatusTooManyRequests
	switch {
	case code == "" && r.status >= 300 && r.status < 400:
		return fmt.Errorf("fdsclient: %s endpoint: %w: it redirects (HTTP status %d), which is refused because it would carry secrets elsewhere; configure the endpoint's own URL", r.call.endpoint, fds.ErrUnavailable, r.status)
	case code == "" || down && !final && !slices.Contains(knownCodes, code):
		var err error = &unavailableError{endpoint: r.call.endpoint, status: r.status, code: code, retryAfter: asked}
		if down {
			err = momentary{err, asked}
		}
		if r.status == http.StatusBadGateway || r.status == http.StatusGatewayTimeout {
			err = lostAnswer{err} // which a gateway waited for
		}
		return err
	}
	refusal := Refusal{
		Endpoint:    r.call.endpoint,
		Code:        code,
		Description: Describe(r.text("error_description"), r.sent...),
		HTTPStatus:  r.status,
		RetryAfter:  asked,
		Final:       final,
	}
	return &refusedError{refusal, s.settings.Refused(refusal)}
}

// unfit makes the error for an answer with a status of success that lacks what it
// must hold, or holds it twice (the name of which is twice then).
func (s *Server) unfit(r *reply, twice, section string) error {
	c := r.call
	switch {
	case errors.Is(r.fault, errCut) && r.ended != nil:
		return fmt.Errorf("fdsclient: %s: %w", c.what, r.ended)
	case errors.Is(r.fault, errCut):
		return momentary{fmt.Errorf("fdsclient: %s: %w: %w", c.what, fds.ErrUnavailable, r.fault), 0}
	case twice != "":
		return fmt.Errorf("fdsclient: %s: %w: the %s endpoint's answer has %s more than once; tell the provider", c.what, fds.ErrUnavailable, c.endpoint, twice)
	case r.fault == nil && errorCode(r.text("error"), r.sent...) != "":
		return s.refusal(r)
	case errors.Is(r.fault, errTooLarge):
		return fmt.Errorf("fdsclient: %s: %w: %w", c.what, fds.ErrUnavailable, r.fault)
	}
	return fmt.Errorf("fdsclient: %s: %w: the %s endpoint's answer is not that of %s; a proxy or a wrong endpoint may be in the way", c.what, fds.ErrUnavailable, c.endpoint, section)
}

// unavailableError is an HTTP status that tells nothing about a grant.
type unavailableError struct {
	endpoint   string
	status     int
	code       string // that nobody knows, or ""
	retryAfter time.Duration
}

func (e *unavailableError) Error() string {
	said := "without an OAuth error"
	if e.code != "" {
		said = fmt.Sprintf("with the error %q", e.code)
	}
	return fmt.Sprintf("fdsclient: %s endpoint: %v: HTTP status %d %s; trying again later may help", e.endpoint, fds.ErrUnavailable, e.status, said)
}

func (e *unavailableError) Unwrap() error { return fds.ErrUnavailable }

// RetryAfter returns the wait that the server asked for, or 0.
func RetryAfter(err error) time.Duration {
	var unavailable *unavailableError
	var refused *refusedError
	switch {
	case errors.As(err, &unavailable):
		return unavailable.retryAfter
	case errors.As(err, &refused):
		return refused.RetryAfter
	}
	return 0
}

// busy says that the server is busy or down: it has done nothing yet of what it was
// asked for.
func busy(err error) bool {
	var unavailable *unavailableError
	var refused *refusedError
	status := 0
	switch {
	case errors.As(err, &unavailable):
		status = unavailable.status
	case errors.As(err, &refused) && !refused.Final:
		status = refused.HTTPStatus
	}
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}
