package pull

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// The classes of errors, for errors.Is. An error that is of no class came from
// the Authorizer, from the caller's context, from a TLS fault that no retry
// heals, or with an HTTP status that none of them names.
var (
	ErrUnauthorized     = errors.New("the provider does not accept the access token")
	ErrInvalidParameter = errors.New("the provider refuses a query parameter")
	ErrNotImplemented   = errors.New("the provider does not implement this for this type of device")
	ErrNotFound         = errors.New("the provider does not know this address")
	ErrRateLimited      = errors.New("the provider asks for fewer requests")
	ErrUnavailable      = errors.New("the provider is unavailable") // no answer, half an answer, or HTTP 408 or 5xx
	ErrAnswer           = errors.New("unusable answer")             // not JSON, not a list, over a bound, or a redirect elsewhere
	ErrQuery            = errors.New("malformed query")             // found before anything was sent
)

// Error is every error of a list but those about single items.
type Error struct {
	Operation  string        // what was asked for: "get statistics"
	Path       string        // the URL's path: "/fds/v2/statistics"; "" when nothing was sent
	HTTPStatus int           // 0 when there was no answer
	Status     int           // of the provider's error object; 0 when it sent none
	Message    string        // of the provider's error object, cut at 256 bytes; from outside: quote it
	RequestID  string        // the answer's X-Request-Id or its kin, cut at 128 bytes; from outside: quote it
	RetryAfter time.Duration // how long the provider asks to wait, at most 24 hours; 0 when it does not say

	class  error
	detail string
	cause  error
}

// Error names the operation, the class, what to do and what the provider said.
func (e *Error) Error() string {
	parts := []string{"pull", e.Operation}
	if e.class != nil {
		parts = append(parts, e.class.Error())
	}
	if e.detail != "" {
		parts = append(parts, e.detail)
	} else if e.cause != nil {
		parts = append(parts, e.cause.Error())
	}
	var said []string
	if e.HTTPStatus != 0 {
		said = append(said, fmt.Sprintf("HTTP %d", e.HTTPStatus))
	}
	if e.Status != 0 || e.Message != "" {
		said = append(said, fmt.Sprintf("status %d, message %q", e.Status, e.Message))
	}
	if e.RequestID != "" {
		said = append(said, fmt.Sprintf("request %q", e.RequestID))
	}
	if e.RetryAfter != 0 {
		said = append(said, fmt.Sprintf("retry after %v", e.RetryAfter))
	}
	text := strings.Join(parts, ": ")
	if len(said) > 0 {
		text += " (" + strings.Join(said, ", ") + ")"
	}
	return text
}

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.class, e.cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Retryable says whether the same request may succeed later: ErrUnavailable and
// ErrRateLimited. Wait at least Error.RetryAfter.
func Retryable(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRateLimited)
}

// classOf gives the class of an HTTP status or of an error object's status and
// message, or nil.
func classOf(status int, message string) error {
	switch {
	case message == fds.MessageNotImplemented, status == http.StatusNoContent, status == http.StatusNotImplemented:
		return ErrNotImplemented
	case message == fds.MessageInvalidParameter, status == http.StatusBadRequest:
		return ErrInvalidParameter
	case message == fds.MessageUnauthorized, status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status == http.StatusRequestTimeout, status >= 500 && status <= 599:
		return ErrUnavailable
	}
	return nil
}

// refusal is the error of an answer that says no. Its object, if it has one,
// knows better than a status that a gateway may have changed.
func refusal(e *Error, object *fds.ErrorObject) *Error {
	if object != nil {
		e.Status, e.Message = object.Status, cutTo(object.Message, 256)
		e.class = classOf(object.Status, object.Message)
	}
	if e.class == nil {
		e.class = classOf(e.HTTPStatus, "")
	}
	switch {
	case e.class != nil:
	case object != nil && e.HTTPStatus == http.StatusOK:
		e.class, e.detail = ErrAnswer, "an error object in place of the list"
	case e.HTTPStatus < 400:
		e.class, e.detail = ErrAnswer, "a list comes with HTTP 200"
	default:
		e.detail = "the provider refuses: " + http.StatusText(e.HTTPStatus)
	}
	return e
}

// readHeader takes what the answer's header says about itself.
func (e *Error) readHeader(response *http.Response) {
	e.HTTPStatus = response.StatusCode
	for _, name := range []string{"X-Request-Id", "Request-Id", "X-Correlation-Id"} {
		if id := response.Header.Get(name); id != "" {
			e.RequestID = cutTo(id, 128)
			break
		}
	}
	e.RetryAfter = retryAfter(response.Header)
}

// retryAfter reads RFC 9110 section 10.2.3: seconds, or a date, which is taken
// against the provider's own clock when the answer tells it.
func retryAfter(header http.Header) time.Duration {
	const most = 24 * time.Hour
	value := header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err != nil { // beyond any wait
			return most
		}
		return min(time.Duration(seconds)*time.Second, most)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), most)
}

// cut shortens a value from outside for an error text; the caller quotes it.
func cut(s string) string { return cutTo(s, 100) }

func cutTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit]
}

// quoted makes another's error text safe to show: one line, of bounded length.
func quoted(text string) string {
	q := strconv.Quote(cutTo(text, 200))
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
