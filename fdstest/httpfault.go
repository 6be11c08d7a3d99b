package fdstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
)

// Slow delays every answer of an endpoint. The work is done before the wait, and
// when the client gives up during it, as without.
func Slow(at Endpoint, d time.Duration) Fault {
	return atHTTP("Slow", at, func(w http.ResponseWriter, r *http.Request, next http.Handler, off <-chan struct{}) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + writeTimeout))
		done := record(r, next)
		if !wait(r.Context(), d, off) {
			panic(http.ErrAbortHandler) // to return is to answer 200, which can overtake the client's leaving
		}
		done.replay(w)
	})
}

// Answer answers in place of the provider, which does not see the request.
// contentType "" sends none.
func Answer(at Endpoint, status int, contentType, body string) Fault {
	return answerWith("Answer", at, status, map[string]string{"Content-Type": contentType}, body)
}

// Unauthorized refuses the access token at the Web API: 401 with the error
// object of FDS and a challenge of RFC 6750 section 3.
func Unauthorized(at Endpoint) Fault {
	return answerWith("Unauthorized", at, http.StatusUnauthorized, map[string]string{
		"Content-Type":     "application/json",
		"WWW-Authenticate": `Bearer error="invalid_token"`,
	}, `{"status":401,"message":"unauthorized_request"}`)
}

// TooManyRequests answers 429. retryAfter is the header's value, in seconds or
// an HTTP date; "" sends none.
func TooManyRequests(at Endpoint, retryAfter string) Fault {
	return answerWith("TooManyRequests", at, http.StatusTooManyRequests, map[string]string{
		"Content-Type": "application/json",
		"Retry-After":  retryAfter,
	}, `{"status":429,"message":"too_many_requests"}`)
}

// Unavailable answers 503. retryAfter is the header's value, in seconds or an
// HTTP date; "" sends none.
func Unavailable(at Endpoint, retryAfter string) Fault {
	return answerWith("Unavailable", at, http.StatusServiceUnavailable, map[string]string{
		"Content-Type": "application/json",
		"Retry-After":  retryAfter,
	}, `{"status":503,"message":"service_unavailable"}`)
}

const signInPage = "<!DOCTYPE html><title>Sign in to the network</title><p>Please sign in."

// WebPage answers 200 with a page of HTML, as a captive portal or a proxy's
// login does.
func WebPage(at Endpoint) Fault {
	return answerWith("WebPage", at, http.StatusOK, map[string]string{"Content-Type": "text/html; charset=utf-8"},
		signInPage)
}

// Forbidden answers 403 with a page of HTML, as a proxy does that blocks the way.
// It says nothing about a grant.
func Forbidden(at Endpoint) Fault {
	return answerWith("Forbidden", at, http.StatusForbidden, map[string]string{"Content-Type": "text/html; charset=utf-8"},
		"<!DOCTYPE html><title>Blocked</title><p>This address is blocked by the network's policy.")
}

// HostileText is an error description that nobody should print as it is: markup,
// line breaks that forge a header or a log line, control sequences of terminals,
// and a character that reverses the writing direction.
const HostileText = "<script>alert(1)</script>\r\nSet-Cookie: a=b\r\n\x1b[2J\x1b]0;title\x07\u202e level=INFO msg=\"signed in\""

// OAuthError answers with an error object of RFC 6749 section 5.2. The
// description may hold anything, HostileText for one; "" leaves it out. For an
// error that goes to the redirect URI, see ResponseParameter.
func OAuthError(at Endpoint, status int, code, description string) Fault {
	members := map[string]string{"error": code}
	if description != "" {
		members["error_description"] = description
	}
	body, _ := json.Marshal(members) // strings have a form in JSON
	return answerWith("OAuthError", at, status, map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"}, string(body))
}

// AnotherNonce asks for another nonce in every DPoP proof, whatever the proof
// holds (RFC 9449 sections 8 and 9): an application must give up in the end.
func AnotherNonce(at Endpoint) Fault {
	return atHTTP("AnotherNonce", at, func(w http.ResponseWriter, _ *http.Request, _ http.Handler, _ <-chan struct{}) {
		h, status, body := w.Header(), http.StatusBadRequest, `{"error":"use_dpop_nonce"}`
		if at == APIEndpoint || strings.HasPrefix(string(at), string(APIEndpoint)+"/") {
			h.Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			status, body = http.StatusUnauthorized, `{"status":401,"message":"unauthorized_request"}`
		}
		h.Set("Content-Type", "application/json")
		h.Set("DPoP-Nonce", rand.Text())
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// Redirect answers with a redirect. 307 and 308 ask the client to post its
// secrets again, to the location.
func Redirect(at Endpoint, status int, location string) Fault {
	return answerWith("Redirect", at, status, map[string]string{"Location": location}, "")
}

func answerWith(name string, at Endpoint, status int, header map[string]string, body string) Fault {
	return atHTTP(name, at, func(w http.ResponseWriter, _ *http.Request, _ http.Handler, _ <-chan struct{}) {
		for key, value := range header {
			if value != "" {
				w.Header().Set(key, value)
			} else {
				w.Header()[key] = nil // keeps net/http from guessing a type
			}
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// Oversized puts n bytes of white space in front of every answer, so that it is
// well-formed JSON and only its size is wrong.
func Oversized(at Endpoint, n int) Fault {
	return atHTTP("Oversized", at, func(w http.ResponseWriter, r *http.Request, next http.Handler, _ <-chan struct{}) {
		done := record(webapi.Plain(r), next)
		done.body = *bytes.NewBuffer(append(bytes.Repeat([]byte(" "), max(n, 0)), done.body.Bytes()...))
		done.replay(w)
	})
}

// Endless answers with white space that does not end until the client has gone
// or the fault is switched off; then the connection breaks.
func Endless(at Endpoint) Fault {
	return atHTTP("Endless", at, func(w http.ResponseWriter, r *http.Request, next http.Handler, off <-chan struct{}) {
		done := record(webapi.Plain(r), next)
		done.copyHeader(w)
		w.WriteHeader(done.status)
		chunk := bytes.Repeat([]byte(" "), 4<<10)
		for !isClosed(off) && send(w, r, chunk, time.Millisecond, off) {
		}
		panic(http.ErrAbortHandler)
	})
}

// Drip sends each answer byte by byte, with a pause before each.
func Drip(at Endpoint, pause time.Duration) Fault {
	return atHTTP("Drip", at, func(w http.ResponseWriter, r *http.Request, next http.Handler, off <-chan struct{}) {
		done := record(r, next)
		done.copyHeader(w)
		w.WriteHeader(done.status)
		for i := range done.body.Len() {
			if !send(w, r, done.body.Bytes()[i:i+1], pause, off) {
				return
			}
		}
	})
}

// Truncated announces the whole answer, sends half of it and drops the
// connection.
func Truncated(at Endpoint) Fault {
	return atHTTP("Truncated", at, func(w http.ResponseWriter, r *http.Request, next http.Handler, _ <-chan struct{}) {
		done := record(r, next)
		done.copyHeader(w)
		w.Header().Set("Content-Length", strconv.Itoa(done.body.Len()))
		w.WriteHeader(done.status)
		_, _ = w.Write(done.body.Bytes()[:done.body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// DropBeforeWork drops the connection without doing what was asked.
func DropBeforeWork(at Endpoint) Fault {
	return atHTTP("DropBeforeWork", at, func(http.ResponseWriter, *http.Request, http.Handler, <-chan struct{}) {
		panic(http.ErrAbortHandler)
	})
}

// DropAfterWork does what was asked and drops the connection instead of
// answering: a renewal has rotated the refresh token, and the application does
// not know the new one.
func DropAfterWork(at Endpoint) Fault {
	return atHTTP("DropAfterWork", at, func(_ http.ResponseWriter, r *http.Request, next http.Handler, _ <-chan struct{}) {
		record(r, next)
		panic(http.ErrAbortHandler)
	})
}

// send writes a piece of an answer after a pause and reports whether the client is
// still there.
func send(w http.ResponseWriter, r *http.Request, piece []byte, pause time.Duration, off <-chan struct{}) bool {
	if !wait(r.Context(), pause, off) {
		return false
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := w.Write(piece)
	return err == nil && control.Flush() == nil
}

// wait waits for d, or until off is closed, and reports whether ctx still holds.
func wait(ctx context.Context, d time.Duration, off <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-off:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// recorded is an answer that has not been sent.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func record(r *http.Request, next http.Handler) *recorded {
	rec := &recorded{header: make(http.Header)}
	next.ServeHTTP(rec, r)
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	return rec
}

func (rec *recorded) Header() http.Header { return rec.header }

func (rec *recorded) WriteHeader(status int) {
	if rec.status == 0 {
		rec.status = status
	}
}

func (rec *recorded) Write(b []byte) (int, error) {
	rec.WriteHeader(http.StatusOK)
	return rec.body.Write(b)
}

func (rec *recorded) copyHeader(w http.ResponseWriter) {
	for key, values := range rec.header {
		w.Header()[key] = values
	}
	w.Header().Del("Content-Length")
}

func (rec *recorded) replay(w http.ResponseWriter) {
	rec.copyHeader(w)
	w.WriteHeader(rec.status)
	_, _ = w.Write(rec.body.Bytes())
}
