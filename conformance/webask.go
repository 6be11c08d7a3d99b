package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	askTimeout = 15 * time.Second
	askBytes   = 256 << 10 // read of a body
)

// answer is what a server said to one request.
type answer struct {
	status int
	header http.Header
	body   []byte // cut
	err    error  // why there is none, or none whole

	redacted func(string) string // takes the run's secrets out of a text
}

// ask sends a request and reads what comes back, within bounds. No redirect is followed.
func (r *run) ask(ctx context.Context, way http.RoundTripper, method, address string, form url.Values, header http.Header) (a answer) {
	a.redacted = r.redacted
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		a.err = err
		return a
	}
	request.Header.Set("Accept", "application/json, */*;q=0.5")
	request.Header.Set("User-Agent", "fds-go-conformance")
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := way.RoundTrip(request)
	if err != nil {
		a.err = err
		return a
	}
	defer response.Body.Close()
	a.status, a.header = response.StatusCode, response.Header
	a.body, err = io.ReadAll(io.LimitReader(response.Body, askBytes))
	if err != nil && len(a.body) == 0 {
		a.err = err
	}
	return a
}

// quote returns what the server wrote, without the run's secrets, which it may have sent back, and
// cut: in this order, or a part of one would be left.
func (a *answer) quote(text string) string { return strconv.Quote(cut(a.redacted(text))) }

// saw is the answer in words.
func (a *answer) saw() string {
	if a.status == 0 {
		return "no answer: " + tlspolicy.Shown(a.err).Error()
	}
	text := fmt.Sprintf("HTTP %d", a.status)
	if location := a.header.Get("Location"); location != "" {
		text += ", to " + a.quote(location)
	}
	if challenge := strings.Join(a.header.Values("Www-Authenticate"), ", "); challenge != "" {
		text += ", WWW-Authenticate " + a.quote(challenge)
	}
	switch {
	case a.err != nil:
		text += ", the body does not arrive: " + tlspolicy.Shown(a.err).Error()
	case len(a.body) == askBytes:
		text += fmt.Sprintf(", a body of %d bytes and more", askBytes)
	case a.status >= 300 && len(a.body) > 0:
		text += ", " + a.quote(string(a.body))
	default:
		text += fmt.Sprintf(", a body of %d bytes", len(a.body))
	}
	return text
}

// isData reports whether the answer is one of success with something in it that is no error
// object.
func (a *answer) isData() bool {
	if a.status < 200 || a.status > 299 || len(bytes.TrimSpace(a.body)) == 0 {
		return false
	}
	status, _, is := a.errorObject()
	return !is || status >= 200 && status < 300 && status != http.StatusNoContent
}

// isList reports whether the body is a list of items, whatever the status says: a client need not
// look at that, nor follow a redirect (CWE-698).
func (a *answer) isList() bool {
	var list []map[string]json.RawMessage
	return json.Unmarshal(a.body, &list) == nil && len(list) > 0
}

// errorObject reads the error object of FDS, if the body is one.
func (a *answer) errorObject() (status int, message string, is bool) {
	var object struct {
		Status  *json.Number `json:"status"`
		Message *string      `json:"message"`
	}
	if json.Unmarshal(a.body, &object) != nil || object.Status == nil || object.Message == nil {
		return 0, "", false
	}
	number, err := object.Status.Int64()
	return int(number), *object.Message, err == nil
}

// isBusy reports whether a server answers that it is broken or busy, and so nothing about the
// request.
func (a *answer) isBusy() bool {
	return a.status >= 500 && a.status != http.StatusNotImplemented || a.status == http.StatusTooManyRequests || a.status == http.StatusRequestTimeout
}

// judgeRefusal judges a request that must not be answered with data. Only who asked for an
// identity has judged the request: a server that is broken or busy says nothing.
func judgeRefusal(t *trial, tried string, a *answer) {
	t.saw(tried, "%s", a.saw())
	switch {
	case a.status == 0:
		t.error("no answer came: %v", tlspolicy.Shown(a.err))
	case a.isBusy():
		t.error("the answer was HTTP %d, which says nothing about the request", a.status)
	case a.isData() || a.isList():
		t.fail("it was answered with data (%s)", tried)
	default:
		t.pass()
	}
}

// isJSON reports whether a body begins as a list or an object in JSON does.
func (a *answer) isJSON() bool {
	text := bytes.TrimSpace(bytes.TrimPrefix(a.body, []byte("\ufeff")))
	return len(text) > 0 && (text[0] == '[' || text[0] == '{')
}

// reason is an error without the URL that net/http puts in front, which may hold a secret.
func reason(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return tlspolicy.Shown(err)
}
