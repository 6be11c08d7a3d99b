package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	maxRedirects  = 3
	maxChallenges = 2 // of a request: for a nonce (RFC 9449 section 9) and for a renewed token
)

var errTimeout = errors.New("pull: time-out")

// request is what is asked of the provider, in as many exchanges as it takes.
type request struct {
	operation  string // "get statistics"
	kind       Kind   // of what it is about
	names      bool   // the content names the owner
	method     string
	target     *url.URL
	path       string     // what errors call it; a next page's own comes from outside. "": target's
	content    []byte     // JSON; nil: none
	challenges int        // that the Authorizer was asked about, over all attempts
	doubt      bool       // an attempt failed that may have been carried out
	secrets    []string   // the credentials that were sent, in all attempts, so that no error shows them
	list       *allowance // of the list that it is for; nil: of none
	known      string     // entity tag of the answer that is known already (RFC 9110 section 13.1.2); "": none
}

// repeatable reports whether the request may be sent again when it may have been
// carried out (RFC 9110 section 9.2.2).
func (r *request) repeatable() bool { return r.method != http.MethodPost }

// reads reports whether the request changes nothing.
func (r *request) reads() bool { return r.method == http.MethodGet }

// exchange is one request and its answer, with the redirects and the renewal of
// credentials in between. Whoever has it closes it.
type exchange struct {
	*request
	client *Client
	ctx    context.Context // of this exchange; its cause is errTimeout when the provider took too long
	end    context.CancelFunc
	wait   answerTimer
	given  time.Duration // what wait began with
	byList bool          // as that was all that was left for the list
	made   int           // the attempts up to this one, once it was answered as expected
	shared bool          // the credentials are those of several owners, and nothing sent says for whom

	response *http.Response
	proxy    string // host and port of the one that the last request went through; "": none
}

// try makes one attempt. On an error nothing is left open. The answer is one of
// those that the method expects.
func (c *Client) try(ctx context.Context, r *request) (*exchange, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	e := &exchange{request: r, client: c, ctx: ctx, end: func() { cancel(nil) }}
	e.given, e.byList = r.list.of(c.timeout)
	e.wait = answerTimer{limit: c.limit, left: e.given, over: func() { cancel(errTimeout) }}
	opened := false
	defer func() {
		if !opened { // also when the Transport panics: its place in the limit is others' too
			e.close()
		}
	}()
	if err := e.open(); err != nil {
		return nil, err
	}
	opened = true
	return e, nil
}

// close ends the exchange, also in the middle of a body.
func (e *exchange) close() {
	defer func() { // last, or the next request begins while the provider is still at this one
		e.wait.pause()
		e.list.spend(e.given - e.wait.left)
	}()
	e.end()
	if e.response != nil {
		e.response.Body.Close()
	}
}

func (e *exchange) open() error {
	for {
		if err := e.follow(); err != nil {
			return err
		}
		if e.expected() {
			return nil
		}
		if err := e.refused(); err != nil {
			return err
		}
	}
}

// expected reports whether the answer's status is a success of the method. FDS leaves
// the codes of writing open.
func (e *exchange) expected() bool {
	switch code := e.response.StatusCode; {
	case e.method == http.MethodGet:
		return code == http.StatusOK || code == http.StatusNotModified && e.known != ""
	default:
		return code == http.StatusOK || code == http.StatusCreated || code == http.StatusAccepted || code == http.StatusNoContent
	}
}

// follow sends the request, and again to where redirects lead on the same origin.
func (e *exchange) follow() error {
	target := e.target
	for hop := 0; ; hop++ {
		if err := e.send(target); err != nil {
			return err
		}
		switch e.response.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return nil
		}
		e.drain()
		location := e.response.Header.Get("Location")
		next, err := target.Parse(location)
		switch {
		case err != nil || location == "":
			return e.unusable("a redirect without a usable target")
		case !sameOrigin(next, e.client.base):
			return e.unusable("a redirect to %q; credentials go only to %q: check the API URL", e.shown(origin(next)), cut(origin(e.client.base)))
		case next.User != nil:
			return e.unusable("a redirect to a URL with a user name")
		case e.method != http.MethodGet:
			return e.unusable("a redirect of a request that changes something: check the API URL")
		case hop == maxRedirects:
			return e.unusable("over %d redirects", maxRedirects)
		}
		target = next
	}
}

func (e *exchange) send(target *url.URL) error {
	failed := &Error{Operation: e.operation, Path: e.path}
	var content io.Reader
	if e.content != nil {
		content = bytes.NewReader(e.content)
	}
	target = e.client.forOwner(e.kind, target)
	request, err := http.NewRequestWithContext(e.ctx, e.method, target.String(), content)
	if err != nil {
		return e.broken(failed, err, "")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", e.client.userAgent)
	if e.content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if e.known != "" {
		request.Header.Set("If-None-Match", e.known)
	}
	e.wait.pause() // neither the limit's time nor the Authorizer's is the provider's
	if err := e.client.limit.Wait(e.ctx); err != nil {
		return e.withheld(failed, err)
	}
	if err := e.askShared(e.ctx); err != nil {
		return e.withheld(failed, err)
	}
	if err := e.client.authorizer.Authorize(e.ctx, request); err != nil {
		return e.withheld(failed, err)
	}
	if err := e.askShared(e.ctx); err != nil {
		return e.withheld(failed, err)
	}
	if _, secret, _ := strings.Cut(request.Header.Get("Authorization"), " "); len(secret) >= shortestSecret && !slices.Contains(e.secrets, secret) {
		e.secrets = append(e.secrets, secret)
	}
	if err := e.wait.resume(e.ctx); err != nil {
		return e.withheld(failed, err)
	}
	ctx, way := netpeer.Follow(e.ctx)
	request = request.WithContext(ctx)
	response, err := e.client.transport.RoundTrip(request)
	e.proxy = e.client.proxyOf(request, way)
	failed.Proxy = e.proxy
	if err != nil {
		failed.sent = !unsent(err)
		return e.broken(failed, err, "")
	}
	unpack(response)
	e.response = response
	return nil
}

// refused judges an answer that is no success. It returns nil when the Authorizer,
// asked about a 401, wants the request sent once more.
func (e *exchange) refused() error {
	body := e.drain()
	failed := e.refusal(body)
	if e.response.StatusCode != http.StatusUnauthorized || e.challenges == maxChallenges {
		return failed
	}
	if e.late() { // nothing more can be sent
		return e.broken(failed, e.ctx.Err(), "")
	}
	e.response.Body = io.NopCloser(bytes.NewReader(body))
	e.wait.pause()
	e.challenges++
	retry, err := e.client.authorizer.Challenged(e.ctx, e.response)
	if retry && err == nil {
		return nil
	}
	failed.cause = err
	return failed
}

// drain reads the start of a body that is not the one wanted, and closes it.
func (e *exchange) drain() []byte {
	body, err := io.ReadAll(io.LimitReader(e.response.Body, maxErrorBodyBytes))
	e.response.Body.Close()
	if err != nil {
		return nil
	}
	return body
}

// checkContent refuses what does not call itself JSON, such as the page of a
// proxy or of a sign-in, unless it calls itself nothing in particular and begins as JSON.
func (e *exchange) checkContent() error {
	if coding := e.response.Header.Get("Content-Encoding"); coding != "" {
		return e.unusable("it is encoded as %q, which was not asked for", e.shown(coding))
	}
	kind := e.mediaType()
	if kind == "" || kind == "application/json" || kind == "text/json" || kind == "application/x-json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json") {
		return nil
	}
	if body, ok := e.response.Body.(*content); ok && isUntyped(kind) {
		looks, err := body.looksLikeJSON()
		if err != nil {
			return e.broken(e.failure(), err, "the answer was cut short")
		}
		if looks {
			return nil
		}
	}
	return e.unusable("it is %q, not JSON: check the API URL, and whether a proxy or a sign-in page answers in the provider's place", e.shown(kind))
}

// mediaType returns what the answer calls itself, or "".
func (e *exchange) mediaType() string {
	header := e.redact(e.response.Header.Get("Content-Type")) // before it is in lower case
	kind, _, err := mime.ParseMediaType(header)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return header
	}
	return kind
}

// failure starts an error about the answer.
func (e *exchange) failure() *Error {
	failed := &Error{Operation: e.operation, Path: e.path, Attempts: e.made, Proxy: e.proxy, sent: true}
	failed.readHeader(e.response, e.redact)
	return failed
}

// unusable is the error of an answer of which nothing can be made, for the reason
// given.
func (e *exchange) unusable(format string, args ...any) *Error {
	failed := e.failure()
	failed.class, failed.detail = fds.ErrAnswer, fmt.Sprintf(format, args...)
	return failed
}

// late says that the provider took too long.
func (e *exchange) late() bool { return errors.Is(context.Cause(e.ctx), errTimeout) }

// withheld completes the error of a request that was not sent.
func (e *exchange) withheld(failed *Error, err error) *Error {
	if e.late() { // over an answer before, such as a redirect
		return e.broken(failed, err, "")
	}
	if own := (*Error)(nil); errors.As(err, &own) {
		return own
	}
	failed.cause = err
	return failed
}

// broken completes the error of a request without an answer, or with half of one;
// what says more about it than err does.
func (e *exchange) broken(failed *Error, err error, what string) *Error {
	switch {
	case e.ctx.Err() != nil && !e.late():
		failed.cause = e.ctx.Err()
		return failed
	case e.ctx.Err() != nil && e.byList:
		failed.class = fds.ErrUnavailable
		failed.detail = fmt.Sprintf("%q took over %v for the list; ask for less at once, or pull.Settings.ListTimeout sets the bound", cut(origin(e.target)), e.client.forList)
		return failed
	case e.ctx.Err() != nil:
		failed.class = fds.ErrUnavailable
		failed.detail = fmt.Sprintf("no whole answer from %q within %v; check host, port and firewalls, or pull.Settings.Timeout sets the bound", cut(origin(e.target)), e.client.timeout)
		return failed
	}
	safe := tlspolicy.Without(err, append(netpeer.ProxySecrets(), e.secrets...))
	failed.cause = tlspolicy.Shown(safe)
	if !tlspolicy.IsFault(err) {
		failed.class = fds.ErrUnavailable
	}
	why := what
	switch {
	case why != "":
	case errors.Is(err, http.ErrSchemeMismatch):
		why = "the server does not speak TLS on this port; check the URL's port"
	default:
		why = tlspolicy.Explain(err)
	}
	if why == "" {
		why = quoted(safe.Error())
	}
	if isProxyDial(err) {
		failed.detail = fmt.Sprintf("the proxy %s: %s", netpeer.HostText(e.proxy), why)
		return failed
	}
	failed.detail = fmt.Sprintf("%q: %s", cut(origin(e.target)), why)
	return failed
}
