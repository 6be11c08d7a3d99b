package authserver

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	authTimeout  = 30 * time.Second // one request to the authorization server,
	spendTimeout = 3 * time.Minute  // and one that spends what cannot be had again
)

// call is a form that is sent to an endpoint of the authorization server.
type call struct {
	what     string // for errors
	endpoint string // for a Refusal
	name     string // of the endpoint in the metadata,
	address  string // and where it is
	form     url.Values
	proof    *Prover
	names    []string // of the members to be read from the answer, besides those of an error

	// Spends says that the request spends a code or a token: it waits as long as the
	// peer lives, and net/http does not send it again by itself.
	spends bool
}

// reply is the answer to a call.
type reply struct {
	object
	call   *call
	status int
	header http.Header
	ended  error        // the caller's end, if the answer met it
	sent   []fds.Secret // that the answer may give back
}

// ok says that the answer is a success.
func (r *reply) ok() bool { return r.status >= 200 && r.status < 300 }

// send sends a call, with what proves the application. A spending one of which the
// server says that it has not looked at it is sent once more.
func (s *Server) send(ctx context.Context, m *Metadata, c *call) (reply, error) {
	if err := m.judge(c.name, c.address); err != nil {
		return reply{}, err
	}
	for again := false; ; again = true {
		r, err := s.sendOnce(ctx, m, c)
		var unread unreadRequest
		if again || !c.spends || !errors.As(err, &unread) {
			return r, err
		}
	}
}

func (s *Server) sendOnce(ctx context.Context, m *Metadata, c *call) (reply, error) {
	if err := s.authenticate(m, c.form); err != nil {
		return reply{}, err
	}
	var trace written
	request, err := s.newRequest(trace.watch(ctx), http.MethodPost, c.address, strings.NewReader(c.form.Encode()))
	if err != nil {
		return reply{}, fmt.Errorf("fdsclient: %s: %w", c.what, tlspolicy.Shown(err))
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.authenticateHeader(m, request.Header)
	if c.proof != nil {
		if err := c.proof.Prove(request, fds.Secret{}); err != nil {
			return reply{}, fmt.Errorf("fdsclient: %s: %w", c.what, err)
		}
	}
	client := s.http
	if c.spends {
		client, request.GetBody = s.patient, nil
	}
	sent := append(secretsOf(c.form, request.Header), s.settings.ClientSecret)
	response, err := client.Do(request)
	if err != nil {
		switch told := failure(ctx, c.what, tlspolicy.Without(err, formsOf(sent))); {
		case refusedUnread(err):
			return reply{}, unreadRequest{told}
		case trace.maybe(err):
			return reply{}, lostAnswer{told}
		default:
			return reply{}, told
		}
	}
	defer response.Body.Close()
	body := io.Reader(response.Body)
	if strings.EqualFold(response.Header.Get("Content-Encoding"), "x-gzip") { // gzip by another name (RFC 9110 section 8.4.1.3), which net/http leaves alone
		if plain, err := gzip.NewReader(io.LimitReader(body, maxRead)); err == nil {
			body = plain
		}
	}
	r := reply{
		object: readObject(body, append([]string{"error", "error_description"}, c.names...)...),
		call:   c,
		status: response.StatusCode,
		header: response.Header,
		sent:   sent,
	}
	if ctx.Err() != nil {
		r.ended = context.Cause(ctx)
	}
	return r, nil
}

// newRequest makes every request of this room.
func (s *Server) newRequest(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", s.settings.UserAgent)
	return request, nil
}

// secretParameters are those of a form that no error may show.
var secretParameters = []string{"client_assertion", "client_secret", "code", "code_verifier", "device_code", "nonce", "refresh_token", "state", "token"}

func secretsOf(form url.Values, header http.Header) []fds.Secret {
	_, credentials, _ := strings.Cut(header.Get("Authorization"), " ")
	all := []fds.Secret{fds.NewSecret(credentials), fds.NewSecret(header.Get("DPoP"))}
	for _, name := range secretParameters {
		all = append(all, fds.NewSecret(form.Get(name)))
	}
	return all
}

// failure makes the error for a request or a body that failed. The caller's own end
// says nothing about the provider.
func failure(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("fdsclient: %s: %w", what, context.Cause(ctx))
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return unavailable(what, err)
	}
	return momentary{unavailable(what, err), 0}
}

// momentary is a failure that may be over in a moment, or after what the server asked
// for.
type momentary struct {
	error
	wait time.Duration
}

func (e momentary) Unwrap() error { return e.error }

const (
	persistence = 4                // attempts
	longestPass = 10 * time.Second // of a server's wait that is waited for
)

// persist repeats for a while what fails for a moment. It is for what a sign-in needs
// whose code is spent by then.
func persist(ctx context.Context, try func() error) error {
	for attempt := 0; ; attempt++ {
		err := try()
		var passing momentary
		var wait time.Duration
		switch {
		case attempt == persistence-1:
			return err
		case errors.As(err, &passing):
			wait = passing.wait
		case busy(err):
			wait = RetryAfter(err)
		default:
			return err
		}
		timer := time.NewTimer(min(max(wait, 250*time.Millisecond<<attempt), longestPass))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("fdsclient: sign-in: %w", context.Cause(ctx))
		}
	}
}

// LostAnswer says that the request behind an error may have been processed and that
// its answer never came: what it spent may be spent. Asking once more with the same,
// at once, is right then, since servers take that for the retry it is; later it is
// not.
func LostAnswer(err error) bool {
	var lost lostAnswer
	return errors.As(err, &lost)
}

type lostAnswer struct{ error }

func (e lostAnswer) Unwrap() error { return e.error }

// unreadRequest is a failure of a request at which the server has not looked.
type unreadRequest struct{ error }

func (e unreadRequest) Unwrap() error { return e.error }

// unsent is a failure before anything was sent.
type unsent struct{ error }

func (e unsent) Unwrap() error { return e.error }

// written watches whether a request has been written, as far as net/http knows.
type written struct{ begun, headers atomic.Bool }

func (w *written) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { w.begun.Store(true) },
		WroteHeaders: func() { w.headers.Store(true) },
	})
}

// maybe reports whether the server may have processed a request that failed with err.
// Only what is certain counts against that.
func (w *written) maybe(err error) bool {
	var (
		before unsent
		name   *net.DNSError
		op     *net.OpError
	)
	switch {
	case w.begun.Load() && !w.headers.Load(), errors.As(err, &before), errors.As(err, &name):
		return false
	case errors.As(err, &op):
		// By TLS 1.3 a server refuses a client's certificate after the client's first
		// request is on its way. An internal error says nothing of the kind.
		return op.Op != "dial" && (op.Op != "remote error" || op.Err.Error() == "tls: internal error")
	}
	return true
}

// refusedUnread says that an HTTP/2 server has not looked at the request (RFC 9113
// sections 6.8 and 8.7). net/http says it in words where it would have sent the
// request again by itself.
func refusedUnread(err error) bool {
	const refusedStream = 7
	var stream streamError
	if errors.As(err, &stream) && stream.Code == refusedStream {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "cannot retry err [") && (strings.Contains(text, "REFUSED_STREAM") || strings.Contains(text, "graceful shutdown GOAWAY"))
}

// streamError has the form by which net/http lets its own be recognized.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }
