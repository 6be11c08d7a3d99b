package main

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

const (
	tracedBytes = 64 << 10 // of a body that are looked at
	tracedText  = 2000     // characters of a body that are shown
)

// tracedTransport shows each request and its answer.
type tracedTransport struct {
	*tracer
	inner http.RoundTripper
}

// RoundTrip sends a request.
func (t tracedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	id := fmt.Sprintf("#%d", t.requests.Add(1))
	show := t.redactor()
	hidden := show.secretsOf(r)
	began := time.Now()
	r = r.WithContext(r.Context()) // a copy, of which the body is another
	if r.Body != nil && r.Body != http.NoBody {
		ended := func(body []byte, n int64, _ error) {
			if isForm(r) {
				hidden.addForm(string(body))
			}
			if !t.brief {
				text := show.requestText(r, body, n)
				t.event(traced{sign: ">", id: id, lines: []string{text}, hidden: hidden, msg: "http request body", attrs: []slog.Attr{slog.String("request", id), slog.String("body", text)}})
			}
		}
		r.Body = &tracedBody{ReadCloser: r.Body, ended: ended}
		if again := r.GetBody; again != nil { // of a connection that was over before it was used
			r.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				if err != nil {
					return nil, err
				}
				return &tracedBody{ReadCloser: body, ended: ended}, nil
			}
		}
	}
	if t.brief {
		response, err := t.inner.RoundTrip(r)
		t.logRequest(r, show, hidden, response, err, time.Since(began))
		return response, err
	}
	headers := show.headers(r.Header, r.URL)
	t.event(traced{sign: ">", id: id, hidden: hidden, msg: "http request",
		lines: append([]string{r.Method + " " + show.url(r.URL)}, headerLines(headers)...),
		attrs: []slog.Attr{slog.String("request", id), slog.String("method", r.Method), slog.String("url", show.url(r.URL)), headersAttr(headers)}})
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), t.connections(id)))
	response, err := t.inner.RoundTrip(r)
	took := time.Since(began)
	if err != nil {
		why := hidden.of(err)
		t.event(traced{sign: "*", id: id, hidden: hidden, lines: []string{fmt.Sprintf("failed after %s: %v", briefly(took), why)}, msg: "http request failed",
			attrs: []slog.Attr{slog.String("request", id), slog.Duration("took", took), slog.Any("error", why)}})
		return response, err
	}
	headers = show.headers(response.Header, r.URL)
	t.event(traced{sign: "<", id: id, hidden: hidden, msg: "http response",
		lines: append([]string{fmt.Sprintf("%s %s after %s", response.Proto, response.Status, briefly(took))}, headerLines(headers)...),
		attrs: []slog.Attr{slog.String("request", id), slog.Int("status", response.StatusCode), slog.String("protocol", response.Proto), slog.Duration("took", took), headersAttr(headers)}})
	response.Body = &tracedBody{ReadCloser: response.Body, ended: func(body []byte, n int64, err error) {
		t.answered(id, show, response, r, hidden, body, n, time.Since(began), err)
	}}
	return response, nil
}

// answered shows the body of an answer.
func (t tracedTransport) answered(id string, show *redactor, response *http.Response, r *http.Request, hidden *secrets, body []byte, n int64, took time.Duration, err error) {
	text := show.responseText(response, r, body, n, hidden)
	attrs := []slog.Attr{slog.String("request", id), slog.Int64("bytes", n), slog.Duration("took", took), slog.String("body", text)}
	if text != "" {
		t.event(traced{sign: "<", id: id, lines: []string{text}, hidden: hidden})
	}
	last := fmt.Sprintf("%d bytes after %s", n, briefly(took))
	if err != nil {
		err = hidden.of(err)
		last = fmt.Sprintf("broke off after %d bytes and %s: %v", n, briefly(took), err)
		attrs = append(attrs, slog.Any("error", err))
	}
	t.event(traced{sign: "*", id: id, lines: []string{last}, hidden: hidden, msg: "http response body", attrs: attrs})
}

// logRequest is what --verbose says of a request.
func (t tracedTransport) logRequest(r *http.Request, show *redactor, hidden *secrets, response *http.Response, err error, took time.Duration) {
	attrs := []slog.Attr{slog.String("method", r.Method), slog.String("url", hidden.without(show.url(r.URL))), slog.Duration("took", took.Round(time.Millisecond))}
	if err != nil {
		attrs = append(attrs, slog.String("failed", hidden.without(hidden.of(err).Error())))
	} else {
		attrs = append(attrs, slog.Int("status", response.StatusCode))
	}
	t.log.LogAttrs(r.Context(), slog.LevelDebug, "http request", attrs...)
}

// connections shows how connections to servers are made.
func (t tracedTransport) connections(id string) *httptrace.ClientTrace {
	var mu sync.Mutex
	began := make(map[string]time.Time)
	start := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		began[what] = time.Now()
	}
	after := func(what string) string {
		mu.Lock()
		defer mu.Unlock()
		return briefly(time.Since(began[what]))
	}
	say := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		t.event(traced{sign: "*", id: id, lines: []string{text}, msg: "http connection", attrs: []slog.Attr{slog.String("request", id), slog.String("what", text)}})
	}
	return &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { start("dns") },
		DNSDone: func(i httptrace.DNSDoneInfo) {
			if i.Err != nil {
				say("the name cannot be resolved after %s: %v", after("dns"), i.Err)
				return
			}
			say("the name stands for %s, after %s", addresses(i.Addrs), after("dns"))
		},
		ConnectStart: func(_, address string) { start(address) },
		ConnectDone: func(_, address string, err error) {
			if err != nil {
				say("no connection to %s after %s: %v", address, after(address), err)
				return
			}
			say("connected to %s after %s", address, after(address))
		},
		TLSHandshakeStart: func() { start("tls") },
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			if err != nil {
				say("TLS failed after %s: %v", after("tls"), err)
				return
			}
			say("%s, after %s", tlsText(&s), after("tls"))
		},
		GotConn: func(i httptrace.GotConnInfo) {
			if i.Reused {
				say("uses the connection to %s again", i.Conn.RemoteAddr())
			}
		},
	}
}

func addresses(all []net.IPAddr) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

// tlsText says how a connection is secured, and by whose certificate.
func tlsText(s *tls.ConnectionState) string {
	text := tls.VersionName(s.Version) + ", " + tls.CipherSuiteName(s.CipherSuite)
	if s.NegotiatedProtocol != "" {
		text += ", " + s.NegotiatedProtocol
	}
	if s.DidResume {
		text += ", resumed"
	}
	if len(s.PeerCertificates) > 0 {
		text += "; certificate of " + certificateText(s.PeerCertificates[0])
	}
	return text
}

func certificateText(c *x509.Certificate) string {
	return fmt.Sprintf("%q by %q until %s", c.Subject, c.Issuer, c.NotAfter.UTC().Format(time.RFC3339))
}

func isForm(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind == "application/x-www-form-urlencoded"
}

// requestText shows the body of a request, of n bytes.
func (r *redactor) requestText(request *http.Request, body []byte, n int64) string {
	kind := request.Header.Get("Content-Type")
	switch {
	case isForm(request) && int64(len(body)) == n:
		return r.form(string(body), harmlessParameters, false)
	case r.isData(request) && isJSON(kind):
		return shortBody(body, n)
	}
	return bytesOf(n, kind)
}

// responseText shows the beginning of an answer of n bytes.
func (r *redactor) responseText(response *http.Response, request *http.Request, begin []byte, n int64, hidden *secrets) string {
	kind := response.Header.Get("Content-Type")
	whole := n == int64(len(begin))
	if coding := response.Header.Get("Content-Encoding"); coding == "gzip" || coding == "x-gzip" {
		unzipped, err := gzip.NewReader(bytes.NewReader(begin))
		if err != nil {
			return bytesOf(n, kind)
		}
		begin, _ = io.ReadAll(io.LimitReader(unzipped, tracedBytes)) // as far as it goes
		whole = whole && len(begin) < tracedBytes
	} else if coding != "" {
		return bytesOf(n, kind)
	}
	switch {
	case n == 0:
		return ""
	case !isJSON(kind):
		return bytesOf(n, kind)
	case r.isData(request):
		return shortBody([]byte(hidden.without(string(plainTexts(begin)))), n)
	}
	if raw, ok := compact(begin); whole && ok {
		return shortBody([]byte(hidden.without(r.members(raw, strings.Contains(request.URL.Path, "/.well-known/")))), n)
	}
	return bytesOf(n, kind)
}

func isJSON(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// shortBody shows the beginning of JSON on one line.
func shortBody(body []byte, n int64) string {
	if raw, ok := compact(body); ok {
		body = raw
	}
	text := strings.ToValidUTF8(strings.NewReplacer("\r", " ", "\n", " ", "\t", " ").Replace(string(body)), "\ufffd")
	if shown := []rune(text); len(shown) > tracedText {
		return string(shown[:tracedText]) + fmt.Sprintf("... [of %d bytes]", n)
	}
	return text
}

// tracedBody keeps the beginning of what is read of a body, and how much that was.
type tracedBody struct {
	io.ReadCloser
	ended func(begin []byte, n int64, err error) // called once, when it is read or closed

	mu    sync.Mutex
	begin []byte
	n     int64
	over  bool
}

func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	b.begin = append(b.begin, p[:min(n, tracedBytes-len(b.begin))]...)
	b.n += int64(n)
	b.mu.Unlock()
	if err != nil {
		b.end(err)
	}
	return n, err
}

func (b *tracedBody) Close() error {
	b.end(io.EOF)
	return b.ReadCloser.Close()
}

func (b *tracedBody) end(err error) {
	b.mu.Lock()
	over := b.over
	b.over = true
	begin, n := b.begin, b.n
	b.mu.Unlock()
	if over {
		return
	}
	if err == io.EOF {
		err = nil
	}
	b.ended(begin, n, err)
}

func headerLines(headers [][2]string) (lines []string) {
	for _, h := range headers {
		lines = append(lines, h[0]+": "+h[1])
	}
	return lines
}

func headersAttr(headers [][2]string) slog.Attr {
	var all []any
	for _, h := range headers {
		all = append(all, slog.String(h[0], h[1]))
	}
	return slog.Group("headers", all...)
}

func briefly(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
