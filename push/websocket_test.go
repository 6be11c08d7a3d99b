package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// gateway puts a broker behind a server that speaks WebSocket only.
type gateway struct {
	broker
	inner   string // the broker's address
	path    string
	answers func(w http.ResponseWriter, r *http.Request) bool // true: it was answered
	frame   func(p []byte) [][]byte                           // how the broker's bytes are put into frames; nil: as they come

	mu      sync.Mutex
	clients map[string]bool // common names of the client certificates seen
	resumed atomic.Int64    // handshakes that resumed an earlier TLS session
	pings   atomic.Bool     // a ping goes before each frame
}

func behindWebSocket(t *testing.T, b broker) *gateway {
	g := &gateway{broker: b, inner: strings.TrimPrefix(b.url, "mqtts://"), path: "/mqtt", clients: make(map[string]bool)}
	ca := realtest.NewCA(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r) }))
	server.TLS = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{ca.IssueCertificate("gateway", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}}).TLS},
		ClientAuth:   tls.RequireAnyClientCert,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	g.roots = b.roots.Clone()
	g.roots.AppendCertsFromPEM(ca.PEM())
	g.url = "wss://" + server.Listener.Addr().String() + g.path
	return g
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	if r.TLS.DidResume {
		g.resumed.Add(1)
	}
	if g.answers != nil && g.answers(w, r) {
		return
	}
	if r.URL.Path != g.path {
		http.NotFound(w, r)
		return
	}
	cn := r.TLS.PeerCertificates[0].Subject.CommonName
	g.mu.Lock()
	g.clients[cn] = true
	g.mu.Unlock()
	socket, err := (&websocket.Upgrader{Subprotocols: []string{"mqtt"}}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	to, err := tls.Dial("tcp", g.inner, &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: g.roots, Certificates: []tls.Certificate{*g.issue(cn)},
	})
	if err != nil {
		return // the broker restarts just now: the gateway ends the connection
	}
	defer to.Close()
	go func() {
		defer to.Close()
		for {
			kind, p, err := socket.ReadMessage()
			if err != nil || kind != websocket.BinaryMessage {
				return
			}
			if _, err := to.Write(p); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 4096)
	for {
		n, err := to.Read(buf)
		if err != nil {
			return
		}
		frames := [][]byte{buf[:n]}
		if g.frame != nil {
			frames = g.frame(buf[:n])
		}
		for _, frame := range frames {
			if g.pings.Load() {
				if err := socket.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)); err != nil {
					return
				}
			}
			if err := socket.WriteMessage(websocket.BinaryMessage, frame); err != nil {
				return
			}
		}
	}
}

func TestABrokerIsReachedByWebSocket(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]func([]byte) [][]byte{
		"frames as they come":   nil,
		"a frame for each byte": func(p []byte) [][]byte { return slices.Collect(slices.Chunk(p, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			eachBroker(t, func(t *testing.T, b broker) {
				g := behindWebSocket(t, b)
				g.frame = frame
				g.pings.Store(true)
				owner, root := newOwner()
				cfg := b.config(owner, root)
				cfg.BrokerURL, cfg.Roots = g.url, realtest.Trusting(g.roots)
				got := newCollector()
				r := start(t, cfg, got.handle)
				r.waitPhase(push.Connected)
				for i := range 20 {
					b.mustPublish(t, root, "events", numbered(i, i+1)[0])
				}
				got.wait(t, 20)
				b.restart()
				r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == 2 && s.SessionPresent })
				large := `{"text":"` + strings.Repeat("x", 20_000) + `"}`
				b.mustPublish(t, root, "events", large)
				var messages []string // without redeliveries
				for n := 21; len(messages) < 21; n++ {
					messages = payloads(got.wait(t, n))
				}
				if want := append(numbered(0, 20), large); !slices.Equal(messages, want) {
					t.Errorf("got %d messages: %.200v", len(messages), messages)
				}
				if !g.clients[root.ClientID()] {
					t.Errorf("the gateway saw the certificates of %v", g.clients)
				}
				if err := r.stop(); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

func TestAServerThatIsNoMQTTGatewayIsNamed(t *testing.T) {
	upgrade := func(w http.ResponseWriter, r *http.Request, subprotocols ...string) *websocket.Conn {
		socket, err := (&websocket.Upgrader{Subprotocols: subprotocols}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		return socket
	}
	for name, c := range map[string]struct {
		answers func(w http.ResponseWriter, r *http.Request) bool
		class   error
		says    string
	}{
		"another path": {func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }, nil, "HTTP status 404"},
		"a login page": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, "<html>sign in</html>")
			return true
		}, nil, "HTTP status 200"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "https://other.test/", http.StatusFound)
			return true
		}, nil, "HTTP status 302"},
		"no subprotocol": {func(w http.ResponseWriter, r *http.Request) bool { defer upgrade(w, r).Close(); return true }, nil, "subprotocol mqtt"},
		"a text frame": {func(w http.ResponseWriter, r *http.Request) bool {
			s := upgrade(w, r, "mqtt")
			defer s.Close()
			_ = s.WriteMessage(websocket.TextMessage, []byte{0x20, 3, 0, 0, 0})
			_, _, _ = s.ReadMessage()
			_, _, _ = s.ReadMessage()
			return true
		}, fds.ErrProtocol, "text frame"},
		"closed at once": {func(w http.ResponseWriter, r *http.Request) bool { defer upgrade(w, r, "mqtt").Close(); return true }, fds.ErrConnectionClosed, "without a reason"},
		"an endless answer": {func(w http.ResponseWriter, _ *http.Request) bool {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			defer conn.Close()
			_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n")
			for err == nil {
				_, err = io.WriteString(conn, "X-Header: "+strings.Repeat("x", 1000)+"\r\n")
			}
			return true
		}, nil, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			b := box(t)
			g := behindWebSocket(t, b)
			g.answers = c.answers
			owner, root := newOwner()
			cfg := b.config(owner, root)
			cfg.BrokerURL, cfg.Roots = g.url, realtest.Trusting(g.roots)
			s := start(t, cfg, discard(t)).waitPhase(push.BackingOff)
			if !strings.Contains(s.Err.Error(), c.says) || c.class != nil && !errors.Is(s.Err, c.class) {
				t.Errorf("error %v", s.Err)
			}
		})
	}
}

func TestAttackAWebSocketThatNobodyAnswersEndsWithTheTimeOut(t *testing.T) {
	b := box(t)
	g := behindWebSocket(t, b)
	held := make(chan net.Conn, 1)
	g.answers = func(w http.ResponseWriter, _ *http.Request) bool {
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			held <- conn
		}
		return true
	}
	owner, root := newOwner()
	cfg := b.config(owner, root)
	cfg.BrokerURL, cfg.Roots, cfg.ConnectTimeout = g.url, realtest.Trusting(g.roots), 200*time.Millisecond
	s := start(t, cfg, discard(t)).waitPhase(push.BackingOff)
	if !errors.Is(s.Err, os.ErrDeadlineExceeded) && !errors.Is(s.Err, context.DeadlineExceeded) {
		t.Errorf("error %v", s.Err)
	}
	_ = (<-held).Close()
}

// A broker that resumes a TLS session may not verify the client certificate
// again, so a revoked one would pass: each connection shakes hands in full.
func TestAttackNoConnectionResumesAnEarlierTLSSession(t *testing.T) {
	b := box(t)
	g := behindWebSocket(t, b)
	owner, root := newOwner()
	cfg := b.config(owner, root)
	cfg.BrokerURL, cfg.Roots = g.url, realtest.Trusting(g.roots)
	for _, exactly := range []bool{false, true} {
		cfg.ExactlyTLS12 = exactly
		r := start(t, cfg, newCollector().handle)
		r.waitPhase(push.Connected)
		for n := range uint64(3) {
			b.restart()
			r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == n+2 })
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.resumed.Load(); n > 0 {
		t.Errorf("%d handshakes resumed a session", n)
	}
}
