package pull

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	maxRedirects  = 3
	maxChallenges = 2 // for a nonce (RFC 9449 section 9) and for a renewed token
)

var errTimeout = errors.New("pull: time-out")

// exchange is one request and its answer, with the redirects and the renewal of
// credentials in between.
type exchange struct {
	client    *Client
	operation string
	target    *url.URL
	wait      *patience
	end       context.CancelFunc
	body      io.Closer
}

// newExchange gives the context in which the exchange must run. Its cause is
// errTimeout when the provider took too long.
func (c *Client) newExchange(ctx context.Context, operation string, target *url.URL) (context.Context, *exchange) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &exchange{
		client:    c,
		operation: operation,
		target:    target,
		wait:      newPatience(c.timeout, func() { cancel(errTimeout) }),
		end:       func() { cancel(nil) },
	}
}

// open asks and gives an answer whose body should be a list.
func (e *exchange) open(ctx context.Context) (*http.Response, error) {
	for challenges := 0; ; challenges++ {
		response, err := e.follow(ctx)
		if err != nil {
			return nil, err
		}
		if response.StatusCode == http.StatusOK {
			return response, e.checkContent(response)
		}
		if err := e.refused(ctx, response, challenges < maxChallenges); err != nil {
			return nil, err
		}
	}
}

// close ends the exchange, also in the middle of a body.
func (e *exchange) close() {
	e.wait.stop()
	e.end()
	if e.body != nil {
		e.body.Close()
	}
}

// follow sends the request, and again to where redirects lead on the same origin.
func (e *exchange) follow(ctx context.Context) (*http.Response, error) {
	target := e.target
	for hop := 0; ; hop++ {
		response, err := e.send(ctx, target)
		if err != nil {
			return nil, err
		}
		switch response.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return response, nil
		}
		e.drain(response)
		failed := e.failure(response)
		failed.class = ErrAnswer
		next, err := target.Parse(response.Header.Get("Location"))
		switch {
		case err != nil || response.Header.Get("Location") == "":
			failed.detail = "a redirect without a usable target"
			return nil, failed
		case !sameOrigin(next, e.client.base):
			failed.detail = fmt.Sprintf("a redirect to %q; credentials go only to %q: check the API URL", origin(next), origin(e.client.base))
			return nil, failed
		case next.User != nil:
			failed.detail = "a redirect to a URL with a user name"
			return nil, failed
		case hop == maxRedirects:
			failed.detail = fmt.Sprintf("over %d redirects", maxRedirects)
			return nil, failed
		}
		target = next
	}
}

func (e *exchange) send(ctx context.Context, target *url.URL) (*http.Response, error) {
	failed := &Error{Operation: e.operation, Path: e.target.Path}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, e.broken(ctx, failed, err, "")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", e.client.userAgent)
	e.wait.pause() // the Authorizer's time is not the provider's
	err = e.client.authorizer.Authorize(ctx, request)
	e.wait.resume()
	if err != nil {
		failed.cause = err
		return nil, failed
	}
	response, err := e.client.transport.RoundTrip(request)
	if err != nil {
		return nil, e.broken(ctx, failed, err, "")
	}
	e.body = response.Body
	return response, nil
}

// refused judges an answer that is no list. It gives nil when the Authorizer,
// asked about a 401, wants the request sent once more.
func (e *exchange) refused(ctx context.Context, response *http.Response, ask bool) error {
	body := e.drain(response)
	failed := refusal(e.failure(response), errorObject(body))
	if response.StatusCode != http.StatusUnauthorized || !ask {
		return failed
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	e.wait.pause()
	retry, err := e.client.authorizer.Challenged(ctx, response)
	e.wait.resume()
	if retry && err == nil {
		return nil
	}
	failed.cause = err
	return failed
}

// drain reads the start of a body that is no list and closes it.
func (e *exchange) drain(response *http.Response) []byte {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBodyBytes))
	response.Body.Close()
	if err != nil {
		return nil
	}
	return body
}

// checkContent refuses what does not call itself JSON, such as the page of a
// proxy or of a sign-in.
func (e *exchange) checkContent(response *http.Response) error {
	failed := e.failure(response)
	failed.class = ErrAnswer
	if coding := response.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		failed.detail = fmt.Sprintf("it is encoded as %q, which was not asked for", cut(coding))
		return failed
	}
	header := response.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(header)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		kind = header
	}
	if kind == "application/json" || kind == "text/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json") {
		return nil
	}
	failed.detail = fmt.Sprintf("it is %q, not JSON: check the API URL, and whether a proxy or a sign-in page answers in the provider's place", cut(kind))
	return failed
}

// failure starts an error about an answer.
func (e *exchange) failure(response *http.Response) *Error {
	failed := &Error{Operation: e.operation, Path: e.target.Path}
	failed.readHeader(response)
	return failed
}

// broken completes the error of a request without an answer, or with half of one;
// what says more about it than err does.
func (e *exchange) broken(ctx context.Context, failed *Error, err error, what string) *Error {
	switch {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout):
		failed.cause = ctx.Err()
		return failed
	case ctx.Err() != nil:
		failed.class = ErrUnavailable
		failed.detail = fmt.Sprintf("no whole answer from %q within %v; check host, port and firewalls, or Config.Timeout sets the bound", origin(e.target), e.client.timeout)
		return failed
	}
	failed.cause = err
	if !isTLSFault(err) {
		failed.class = ErrUnavailable
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
		why = quoted(err.Error())
	}
	failed.detail = fmt.Sprintf("%q: %s", origin(e.target), why)
	return failed
}

// isTLSFault says that the handshake failed for a reason that stays until someone
// changes a certificate or a setting.
func isTLSFault(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	return errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid) ||
		errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "tls: ")
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == "https" && b.Scheme == "https" && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if u.Port() == "" {
		return "443"
	}
	return u.Port()
}

// origin is for error texts, where %q escapes it.
func origin(u *url.URL) string { return cut(u.Scheme + "://" + u.Host) }

// patience is a time-out that can be paused.
type patience struct {
	timer *time.Timer
	left  time.Duration
	since time.Time
}

func newPatience(limit time.Duration, over func()) *patience {
	return &patience{timer: time.AfterFunc(limit, over), left: limit, since: time.Now()}
}

func (p *patience) pause() {
	p.timer.Stop()
	p.left -= time.Since(p.since)
}

func (p *patience) resume() {
	p.since = time.Now()
	p.timer.Reset(p.left)
}

func (p *patience) stop() { p.timer.Stop() }
