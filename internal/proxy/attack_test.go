package proxy

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
)

// hostile is a proxy on this machine that says something when it was spoken to, and waits then,
// or hangs up.
func hostile(t *testing.T, says []byte, hangsUp bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-served })
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		heard := make([]byte, 4<<10)
		if _, err := conn.Read(heard); err != nil {
			return
		}
		if _, err := conn.Write(says); err != nil || hangsUp {
			return
		}
		for err == nil { // until the client has gone
			_, err = conn.Read(heard)
		}
	}()
	return listener.Addr().String()
}

const password = "p4ss-of-the-proxy"

// reach dials through a proxy that says that, with a bound on the time that it takes.
func reach(t *testing.T, scheme string, says []byte, hangsUp bool) (net.Conn, error) {
	t.Helper()
	through, err := Choose(scheme+"://user:"+password+"@"+hostile(t, says, hangsUp), "broker.example:8883")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return through.Dial(ctx, new(net.Dialer).DialContext, "broker.example:8883")
}

func TestAttackAHostileProxyGetsOneShortLineAndNoConnection(t *testing.T) {
	endless := bytes.Repeat([]byte("X-Long: "+strings.Repeat("x", 1<<10)+"\r\n"), 1<<10)
	many := func(status string) []byte { return append([]byte("HTTP/1.1 "+status+"\r\n"), endless...) }
	for name, c := range map[string]struct {
		scheme  string
		says    []byte
		hangsUp bool
	}{
		"a header without end":                  {"http", many("200 OK"), false},
		"a refusal without end":                 {"http", many("403 No"), false},
		"a status line without end":             {"http", bytes.Repeat([]byte("HTTP/1.1 200 "), 1<<16), false},
		"what a terminal obeys":                 {"http", []byte("HTTP/1.1 200 \x1b[2J\r\n\x1b]0;x\x07 :\r\n\r\n"), false},
		"a reason that a terminal obeys":        {"http", []byte("HTTP/1.1 502 \x1b[2J\u202e\r\n\r\n"), true},
		"another way in, that a terminal obeys": {"http", []byte("HTTP/1.1 407 No\r\nProxy-Authenticate: \x9b2J\u202e" + strings.Repeat("x", 4<<10) + "\r\n\r\n"), true},
		"words behind its answer":               {"http", []byte("HTTP/1.1 200 OK\r\n\r\n\x20\x02\x00\x00"), false}, // a CONNACK of its own
		"its own 101":                           {"http", []byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"), true},
		"a redirect":                            {"http", []byte("HTTP/1.1 307 Go\r\nLocation: https://evil.example/\r\n\r\n"), true},
		"what it was sent":                      {"http", []byte("> Proxy-Authorization: Basic " + credentials(url.UserPassword("user", password)) + "\r\n\r\n"), true},
		"what it was sent, cut":                 {"http", []byte(strings.Repeat(">", shownBytes-8) + credentials(url.UserPassword("user", password)) + "\r\n\r\n"), true},
		"its password, cut":                     {"http", []byte("HTTP/1.1 407 No\r\nProxy-Authenticate: " + strings.Repeat("x", shownBytes-4) + password + "\r\n\r\n"), true},
		"its password":                          {"http", []byte("HTTP/1.1 200 " + password + "\r\n" + password + "\r\n\r\n"), true},
		"nothing":                               {"http", nil, true},
		"SOCKS of another version":              {"socks5", []byte{4, 90, 0, 0, 0, 0, 0, 0}, true},
		"a way in that SOCKS does not know":     {"socks5", []byte{5, 0xff}, true},
		"SOCKS cut short":                       {"socks5", []byte{5}, true},
		"SOCKS that a terminal obeys":           {"socks5", []byte("\x1b[2J\x1b]0;x\x07\r\n"), true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := reach(t, c.scheme, c.says, c.hangsUp)
			if conn != nil {
				conn.Close()
			}
			var refused *Error
			if conn != nil || !errors.As(err, &refused) {
				t.Fatalf("a connection %v, %v", conn != nil, err)
			}
			text := err.Error()
			if len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(text, password[:4]) || strings.Contains(text, credentials(url.UserPassword("user", password))[:4]) {
				t.Errorf("%d bytes: %q", len(text), text[:min(len(text), 600)])
			}
		})
	}
}

func TestAttackAProxyThatSaysNothingIsLeftInTime(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5"} {
		through, err := Choose(scheme+"://user:"+password+"@"+hostile(t, nil, false), "broker.example:8883")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		conn, err := through.Dial(ctx, new(net.Dialer).DialContext, "broker.example:8883")
		cancel()
		if conn != nil || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: a connection %v, %v", scheme, conn != nil, err)
		}
	}
}
