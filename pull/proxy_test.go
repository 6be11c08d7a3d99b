package pull_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// proxying is an HTTP proxy that answers CONNECT with that status, and then leads to the
// address; "" ends the connection instead. It counts what came.
type proxying struct {
	address string
	mu      sync.Mutex
	came    []string
}

func startProxy(t *testing.T, socks bool, status int, to string) *proxying {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxying{address: l.Addr().String()}
	stop := speaking(l, func(conn net.Conn) {
		read := bufio.NewReader(conn)
		if socks {
			p.greet(conn, read, status)
		} else if asked, err := http.ReadRequest(read); err == nil {
			p.note(asked.Method + " " + asked.Host)
			fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\n\r\n", status, http.StatusText(status))
		}
		if status == 200 && to != "" {
			relay(conn, read, to)
		}
	})
	t.Cleanup(stop)
	return p
}

// speaking has each connection to l spoken to, until stop, which ends them and waits for
// the last: a client may keep a connection long after its last answer.
func speaking(l net.Listener, speak func(net.Conn)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				speak(conn)
			})
		}
	})
	return func() {
		l.Close()
		cancel()
		serving.Wait()
	}
}

// relay leads a connection to the address; read is what comes from the connection.
func relay(conn net.Conn, read io.Reader, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, read)
		server.Close()
	}()
	_, _ = io.Copy(conn, server)
}

// greet speaks SOCKS 5 (RFC 1928) with a name.
func (p *proxying) greet(conn net.Conn, read *bufio.Reader, status int) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(read, head); err != nil {
		return
	}
	_, _ = read.Discard(int(head[1]))
	_, _ = conn.Write([]byte{5, 0})
	head = make([]byte, 5)
	if _, err := io.ReadFull(read, head); err != nil {
		return
	}
	name := make([]byte, int(head[4])+2)
	_, _ = io.ReadFull(read, name)
	p.note("SOCKS " + string(name[:len(name)-2]))
	_, _ = conn.Write([]byte{5, map[bool]byte{true: 0, false: 2}[status == 200], 0, 1, 0, 0, 0, 0, 0, 0})
}

func (p *proxying) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came = append(p.came, text)
}

func TestEveryErrorNamesTheProxyThatWasInTheWay(t *testing.T) {
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "statuses"):
			w.WriteHeader(418)
		case strings.Contains(r.URL.Path, "events"):
			w.Header().Set("Content-Type", "text/html")
		case strings.Contains(r.URL.Path, "diagnostics"):
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, `[{}]`)
	})
	real := a.Listener.Addr().String()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	for name, test := range map[string]struct {
		socks  bool
		status int
		to     string
		kind   pull.Kind
		want   []string // in the error; nil: none
		sent   bool     // the change may have been carried out
	}{
		"it leads on":            {status: 200, to: real, kind: pull.Spaces},
		"SOCKS":                  {socks: true, status: 200, to: real, kind: pull.Spaces},
		"SOCKS, refused":         {socks: true, status: 403, kind: pull.Spaces, want: []string{"api.example.com"}},
		"407":                    {status: 407, kind: pull.Spaces, want: []string{"407", "HTTPS_PROXY", "password"}},
		"403":                    {status: 403, kind: pull.Spaces, want: []string{"403", "allow"}},
		"502":                    {status: 502, kind: pull.Spaces, want: []string{"502"}},
		"it is away":             {kind: pull.Spaces, want: []string{": the proxy 127.0.0.1:", "nothing listens there"}},
		"it breaks off":          {status: 200, kind: pull.Spaces, want: nil, sent: true},
		"a status":               {status: 200, to: real, kind: pull.Statuses, want: []string{"418"}},
		"a page":                 {status: 200, to: real, kind: pull.Events, want: []string{"text/html"}},
		"an answer that is lost": {status: 200, to: real, kind: pull.Diagnostics, sent: true},
	} {
		proxy := startProxy(t, test.socks, test.status, test.to)
		if name == "it is away" {
			proxy.address = dead.Addr().String()
		}
		scheme := map[bool]string{true: "socks5", false: "http"}[test.socks]
		for way, set := range map[string]func(*pull.Config){
			"by the environment": func(c *pull.Config) {
				t.Setenv("ALL_PROXY", scheme+"://user:"+secret+"@"+proxy.address)
			},
			"by a transport": func(c *pull.Config) {
				t.Setenv("ALL_PROXY", "")
				through := &url.URL{Scheme: scheme, Host: proxy.address, User: url.UserPassword("user", secret)}
				c.Transport.(*http.Transport).Proxy = http.ProxyURL(through)
			},
		} {
			if test.socks && way == "by the environment" {
				set = func(*pull.Config) { t.Setenv("ALL_PROXY", scheme+"://"+proxy.address) } // without credentials the greeting is shorter
			}
			config := a.config
			config.BaseURL, config.Transport = "https://api.example.com", transportFor(t, a.Server)
			set(&config)
			if test.socks {
				if t, through := config.Transport.(*http.Transport), (&url.URL{Scheme: scheme, Host: proxy.address}); way == "by a transport" {
					t.Proxy = http.ProxyURL(through)
				}
			}
			client := newClient(t, config)
			got, err := raws(client.Items(t.Context(), test.kind, pull.Query{}))
			if name == "it leads on" || name == "SOCKS" {
				if len(got) != 1 || err != nil || len(proxy.came) == 0 {
					t.Errorf("%s, %s: %q, %v, %q", name, way, got, err, proxy.came)
				}
				continue
			}
			var failed *pull.Error
			if !errors.As(err, &failed) || failed.Proxy != proxy.address || !strings.Contains(err.Error(), "through the proxy "+proxy.address) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s, %s: %v", name, way, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s, %s: %v, want %q in it", name, way, err, want)
				}
			}
			if test.want != nil && test.kind == pull.Spaces && !test.sent {
				if _, err := client.CreateTag(t.Context(), 1); errors.Is(err, fds.ErrUnknownOutcome) || !isOnly(err, fds.ErrUnavailable) {
					t.Errorf("%s, %s: created: %v", name, way, err)
				}
			}
		}
	}
	if _, err := raws(a.client(t).Items(t.Context(), pull.Statuses, pull.Query{})); err == nil || strings.Contains(err.Error(), "proxy") {
		t.Errorf("without one: %v", err)
	}
}
