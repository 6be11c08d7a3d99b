package pull_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

func TestAttackAnAPIThatCannotBeTrustedIsLeftAndTheErrorSaysWhatToDo(t *testing.T) {
	quiet := log.New(io.Discard, "", 0)
	with := func(change func(*tls.Config)) func(*testing.T) (*httptest.Server, *http.Transport) {
		return func(t *testing.T) (*httptest.Server, *http.Transport) {
			server := httptest.NewUnstartedServer(answer("[]"))
			server.Config.ErrorLog = quiet
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			change(server.TLS)
			server.StartTLS()
			return server, transportFor(t, server)
		}
	}
	for _, test := range []struct {
		name      string
		start     func(*testing.T) (*httptest.Server, *http.Transport)
		url       func(string) string
		want      string
		retryable bool
	}{
		{name: "an unknown authority", want: "authority that is not trusted", start: func(t *testing.T) (*httptest.Server, *http.Transport) {
			server, _ := with(func(*tls.Config) {})(t)
			transport := pull.NewTransport(nil)
			t.Cleanup(transport.CloseIdleConnections)
			return server, transport
		}},
		{name: "another host", want: `not for "localhost"`, start: with(func(*tls.Config) {}),
			url: func(u string) string { return strings.Replace(u, "127.0.0.1", "localhost", 1) }},
		{name: "TLS 1.1", want: "1.2 or newer", start: with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })},
		{name: "no TLS", want: "does not speak TLS", start: func(t *testing.T) (*httptest.Server, *http.Transport) {
			server := httptest.NewServer(answer("[]"))
			transport := pull.NewTransport(nil)
			t.Cleanup(transport.CloseIdleConnections)
			return server, transport
		}, url: func(u string) string { return strings.Replace(u, "http:", "https:", 1) }},
		{name: "nothing there", want: "nothing listens there", retryable: true, start: func(t *testing.T) (*httptest.Server, *http.Transport) {
			server, transport := with(func(*tls.Config) {})(t)
			server.Close()
			return server, transport
		}},
		{name: "gone before the answer", want: "closed the connection", retryable: true, start: func(t *testing.T) (*httptest.Server, *http.Transport) {
			server, transport := with(func(*tls.Config) {})(t)
			server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			return server, transport
		}},
		{name: "a client certificate is wanted", want: "certificate", start: with(func(c *tls.Config) {
			c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, transport := test.start(t)
			t.Cleanup(server.Close)
			url := server.URL
			if test.url != nil {
				url = test.url(url)
			}
			client := newClient(t, pull.Config{BaseURL: url, Authorizer: &bearer{token: secret}, Transport: transport, Settings: pull.Settings{RetryFor: -1}})
			_, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
			class := error(nil)
			if test.retryable {
				class = fds.ErrUnavailable
			}
			var failed *pull.Error
			if !errors.As(err, &failed) || failed.HTTPStatus != 0 || !isOnly(err, class) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) {
				t.Fatalf("%v, want %q in it", err, test.want)
			}
		})
	}
}

// serveRaw is a server that says what it likes on a TLS connection, once it has the
// request: what comes earlier is no answer to net/http. Say ends with an error when the
// other end has closed the connection.
func serveRaw(t *testing.T, speak func(say func(string) error)) *api {
	t.Helper()
	a := serve(t, nil)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: a.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				conn.Close() // as one that was opened for nothing
				continue
			}
			speak(func(text string) error { _, err := io.WriteString(conn, text); return err })
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	a.config.BaseURL = "https://" + listener.Addr().String()
	return a
}

func TestAttackAnAnswerThatNeverBeginsIsBounded(t *testing.T) {
	const drop = 2 * time.Millisecond
	for name, test := range map[string]struct {
		first, again string
		pause        time.Duration
		within       time.Duration // of the time-out
	}{
		"a status line in drops": {"HTTP/1.1 200 ", "O", drop, 300 * time.Millisecond},
		"a header in drops":      {"HTTP/1.1 200 OK\r\nX-A: ", "a", drop, 300 * time.Millisecond},
		"headers in drops":       {"HTTP/1.1 200 OK\r\n", "A: a\r\n", drop, 300 * time.Millisecond},
		"silence":                {"", "", drop, 300 * time.Millisecond},
		"endless status line":    {"HTTP/1.1 200 ", strings.Repeat("O", 1000), 0, 20 * time.Second},
		"endless header":         {"HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("a", 1000), 0, 20 * time.Second},
		"endless headers":        {"HTTP/1.1 200 OK\r\n", "A: a\r\n", 0, 20 * time.Second},
		"endless early hints":    {"", "HTTP/1.1 103 Early Hints\r\nA: a\r\n\r\n", 0, 20 * time.Second},
		"endless chunk comments": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n", "1;" + strings.Repeat("a", 1000) + "\r\n \r\n", 0, 20 * time.Second},
		"endless trailers":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n", "A: a\r\n", 0, 20 * time.Second},
		"two lengths":            {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\n[]", "", drop, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			gone := make(chan struct{})
			a := serveRaw(t, func(say func(string) error) {
				defer close(gone)
				err := say(test.first)
				for start := time.Now(); err == nil && test.again != "" && time.Since(start) < 15*time.Second; {
					if err = say(test.again); test.pause > 0 {
						time.Sleep(test.pause)
					}
				}
			})
			a.config.Timeout = test.within
			start := time.Now()
			_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
			if !isOnly(err, fds.ErrUnavailable) || len(err.Error()) > 500 || time.Since(start) > 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			wait(t, gone, "the server saw the connection end")
		})
	}
}

func TestAttackAServerThatIsNoHTTPServerIsNotQuotedAtLength(t *testing.T) {
	a := serveRaw(t, func(say func(string) error) {
		_ = say("220 mail\x1b[31m " + strings.Repeat("x", 2000) + "\r\n")
	})
	_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
	if !isOnly(err, fds.ErrUnavailable) || len(err.Error()) > 500 || strings.Contains(err.Error(), "\x1b") {
		t.Fatalf("%q", err)
	}
}

func TestAttackAnEndlessHeaderIsRefused(t *testing.T) {
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 100 {
			w.Header().Add("X-Long", strings.Repeat(string(rune('a'+i%26)), 1<<10))
		}
		answer("[]")(w, r)
	})
	for _, http2 := range []bool{true, false} {
		transport := transportFor(t, a.Server)
		transport.ForceAttemptHTTP2 = http2
		a.config.Transport = transport
		if _, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{})); err == nil || len(err.Error()) > 500 {
			t.Errorf("HTTP/2 %v: 100 KB of header: %v", http2, err)
		}
	}
}

func TestACompressedListIsReadAndItsBoundCountsWhatComesOut(t *testing.T) {
	var small, bomb bytes.Buffer
	for _, part := range []struct {
		to   *bytes.Buffer
		size int
	}{{&small, 10}, {&bomb, 1 << 20}} {
		w := gzip.NewWriter(part.to)
		_, _ = io.WriteString(w, "["+strings.Repeat("{},", part.size)+"{}]")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var body []byte
	coding := "gzip"
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", coding)
		_, _ = w.Write(body)
	})
	a.config.MaxBodyBytes = 100_000
	client := a.client(t)
	body = small.Bytes()
	if items, err := pull.Collect(client.Spaces(t.Context(), pull.Query{})); len(items) != 11 || err != nil {
		t.Errorf("%d items, %v", len(items), err)
	}
	body = bomb.Bytes()
	if len(body) > 50_000 {
		t.Fatalf("the bomb has %d bytes", len(body))
	}
	items, err := inTime(t, func() ([]fds.Space, error) { return pull.Collect(client.Spaces(t.Context(), pull.Query{})) })
	if !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "100000") || len(items) > 34_000 {
		t.Errorf("%d items, %v", len(items), err)
	}
	body = small.Bytes()[:20]
	if _, err := pull.Collect(client.Spaces(t.Context(), pull.Query{})); !isOnly(err, fds.ErrUnavailable) {
		t.Errorf("half a stream: %v", err)
	}
	coding = "br"
	if _, err := pull.Collect(client.Spaces(t.Context(), pull.Query{})); !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), `"br"`) {
		t.Errorf("an encoding that was not asked for: %v", err)
	}
}

func TestAttackADripEndsWithTheTimeOut(t *testing.T) {
	for name, status := range map[string]int{"a list": 200, "a refusal": 503} {
		noLeak(t)
		gone := make(chan struct{})
		a := serve(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			drip := time.NewTicker(5 * time.Millisecond)
			defer drip.Stop()
			for {
				if _, err := io.WriteString(w, "["); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				select {
				case <-drip.C:
				case <-r.Context().Done():
					return
				}
			}
		})
		a.config.Timeout = 200 * time.Millisecond
		start := time.Now()
		_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
		if !isOnly(err, fds.ErrUnavailable) || time.Since(start) > 10*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
		if status == 200 && !strings.Contains(err.Error(), "within 200ms") {
			t.Errorf("%s: %v", name, err)
		}
		wait(t, gone, "the server saw the request end")
	}
}

func TestOneConnectionServesOneListAfterTheOther(t *testing.T) {
	connections := make(chan struct{}, 100)
	server := httptest.NewUnstartedServer(answer(" [{}] \n"))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections <- struct{}{}
		}
	}
	server.StartTLS() // HTTP/1.1
	t.Cleanup(server.Close)
	client := newClient(t, pull.Config{BaseURL: server.URL, Authorizer: &bearer{}, Transport: transportFor(t, server), Settings: pull.Settings{RetryFor: -1}})
	for range 5 {
		if items, err := pull.Collect(client.Spaces(t.Context(), pull.Query{})); len(items) != 1 || err != nil {
			t.Fatalf("%d items, %v", len(items), err)
		}
	}
	if len(connections) != 1 {
		t.Fatalf("%d connections for 5 lists", len(connections))
	}
}
