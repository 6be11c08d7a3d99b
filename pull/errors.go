package pull

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/netpeer"
)

const longestWait = 24 * time.Hour // that a provider's Retry-After can ask for

// Error is every error of this package but those about single items.
type Error struct {
	Operation  string        // what was asked for: "get statistics"
	Path       string        // that was asked for first, wherever redirects and next pages led: "/fds/v2/statistics"; a tag's ID in it is as it was given: quote it; "" of a malformed query
	HTTPStatus int           // 0 when there was no answer
	Status     int           // of the provider's error object; 0 when it sent none
	Message    string        // of the provider's error object or, without, its problem details (RFC 9457), cut at 256 bytes; from outside: quote it
	Text       string        // of a refusal in plain text, cut at 512 bytes; not in Error's text; from outside: quote it
	RequestID  string        // the answer's X-Request-Id or its kin, cut at 128 bytes; from outside: quote it
	RetryAfter time.Duration // how long the provider asks to wait, at most 24 hours; 0 when it does not say
	Proxy      string        // host and port of the proxy that was in the way; "" when none is known
	Attempts   int           // how often it was asked; 0 when it was not

	class  error
	detail string
	cause  error
	sent   bool // it may have arrived
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
	if e.Proxy != "" {
		said = append(said, "through the proxy "+netpeer.HostText(e.Proxy))
	}
	if e.Attempts > 1 {
		said = append(said, fmt.Sprintf("%d attempts", e.Attempts))
	}
	text := strings.Join(parts, ": ")
	if len(said) > 0 {
		text += " (" + strings.Join(said, ", ") + ")"
	}
	return text
}

// Unwrap returns the class and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.class, e.cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// passing reports whether the same request may succeed within moments.
func (e *Error) passing() bool {
	return e.class == fds.ErrUnavailable || e.class == fds.ErrRateLimited
}

// classOf returns the class of an HTTP status or of an error object's status and
// message, or nil.
func classOf(status int, message string) error {
	switch {
	case message == fds.MessageNotImplemented, status == http.StatusNoContent, status == http.StatusNotImplemented:
		return fds.ErrNotImplemented
	case message == fds.MessageInvalidParameter, status == http.StatusBadRequest:
		return fds.ErrInvalidParameter
	case message == fds.MessageUnauthorized, status == http.StatusUnauthorized:
		return fds.ErrUnauthorized
	case status == http.StatusNotFound:
		return fds.ErrNotFound
	case status == http.StatusTooManyRequests:
		return fds.ErrRateLimited
	case status == http.StatusRequestTimeout, status >= 500 && status <= 599:
		return fds.ErrUnavailable
	}
	return nil
}

// saysNo tells the error object of a refusal from the status and the message that an
// answer may have beside its content.
func saysNo(object fds.ErrorObject) bool {
	return classOf(object.Status, object.Message) != nil || object.Status >= 400 && object.Status <= 599
}

// refusal is the error of an answer that says no, with that body. Its error object,
// if it has one, knows better than a status that a gateway may have changed.
func (e *exchange) refusal(body []byte) *Error {
	failed := e.failure()
	object, ok := fds.ParseErrorObject(bytes.TrimSpace(body))
	if ok {
		failed.Status, failed.Message = object.Status, cutTo(e.redact(object.Message), 256)
		failed.class = classOf(object.Status, object.Message)
	} else {
		problem, text := textOf(e.mediaType(), body)
		failed.Message, failed.Text = cutTo(e.redact(problem), 256), cutTo(e.redact(text), 512)
	}
	if failed.class == nil {
		failed.class = classOf(failed.HTTPStatus, "")
	}
	if failed.class == nil && failed.said() == http.StatusForbidden && e.response.Header.Get("Retry-After") != "" {
		failed.class = fds.ErrRateLimited // as many a gateway says it
	}
	switch {
	case failed.class != nil:
	case ok && failed.HTTPStatus < 300:
		failed.class, failed.detail = fds.ErrAnswer, "an error object in place of the answer"
	case failed.HTTPStatus < 400:
		failed.class, failed.detail = fds.ErrAnswer, "no answer comes with this HTTP status"
	default:
		failed.detail = "the provider refuses: " + http.StatusText(failed.HTTPStatus)
	}
	return failed
}

// textOf returns what a refusal says for people: problem details (RFC 9457), or plain
// text.
func textOf(kind string, body []byte) (problem, text string) {
	switch kind {
	case "text/plain":
		if utf8.Valid(body) {
			text = strings.TrimSpace(string(body))
		}
	case "application/problem+json":
		item, err := fds.ParseItem(bytes.TrimSpace(body))
		if err != nil {
			break
		}
		title, _ := fds.As[string](item, "title")
		detail, _ := fds.As[string](item, "detail")
		problem = strings.Trim(title+": "+detail, ": ")
	}
	return problem, text
}

const shortestSecret = 8 // bytes; what is shorter stands in many a text by chance

// redact takes the credentials out of a text that echoes the request.
func (e *exchange) redact(text string) string {
	for _, secret := range e.secrets {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	return text
}

// shown makes a value from outside fit for an error text; the caller quotes it.
func (e *exchange) shown(text string) string { return cut(e.redact(text)) }

// readHeader takes what the answer's header says about itself.
func (e *Error) readHeader(response *http.Response, redact func(string) string) {
	e.HTTPStatus = response.StatusCode
	for _, name := range []string{"X-Request-Id", "Request-Id", "X-Correlation-Id"} {
		if id := response.Header.Get(name); id != "" {
			e.RequestID = cutTo(redact(id), 128)
			break
		}
	}
	e.RetryAfter = backoff.Asked(response.Header, longestWait)
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
