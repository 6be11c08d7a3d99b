package netpeer

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// timing is what a test measures by.
type timing struct {
	bounds
	within time.Duration // a connection whose peer is gone is noticed
	slow   time.Duration // a server may take that long
}

// timings are short ones that test the same things, as far as TCP lets them be, which
// counts probes in seconds; with FDS_LONG=1 the real ones.
func timings() timing {
	if os.Getenv("FDS_LONG") != "" {
		return timing{standard, 20 * time.Second, time.Minute}
	}
	return timing{bounds{
		ping:  300 * time.Millisecond,
		pong:  time.Second,
		probe: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 2},
		unack: 1500 * time.Millisecond,
	}, 6 * time.Second, 4 * time.Second}
}

// world is a server, and a client whose transport has those bounds.
type world struct {
	t      *testing.T
	client *http.Client
	url    string
	came   chan struct{} // a request for /slow has
	wait   chan struct{} // until answer is called
	answer func()

	mu     sync.Mutex
	ends   []net.Conn      // of all connections, both of each
	closed []chan struct{} // by the client, in the order of its dials
}

func newWorld(t *testing.T, http2 bool, through func(address string) string) *world {
	t.Helper()
	w := &world{t: t, came: make(chan struct{}, 1), wait: make(chan struct{})}
	w.answer = sync.OnceFunc(func() { close(w.wait) })
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			w.came <- struct{}{}
			<-w.wait
		}
		_, _ = io.WriteString(out, r.Proto)
	}))
	server.EnableHTTP2 = http2
	server.Listener = &listener{server.Listener, w}
	server.Config.ErrorLog = nil
	server.StartTLS()
	transport := timings().transport(server.Client().Transport.(*http.Transport).TLSClientConfig)
	transport.ForceAttemptHTTP2 = http2
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if through != nil {
			address = through(address)
		}
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		closed := make(chan struct{})
		w.mu.Lock()
		w.closed = append(w.closed, closed)
		w.ends = append(w.ends, c)
		w.mu.Unlock()
		return &watched{c, sync.OnceFunc(func() { close(closed) })}, nil
	}
	w.client = &http.Client{Transport: transport, Timeout: timings().within + timings().slow} // which no test comes near
	w.url = server.URL
	t.Cleanup(func() {
		w.answer()
		transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return w
}

type listener struct {
	net.Listener
	world *world
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.world.mu.Lock()
		l.world.ends = append(l.world.ends, c)
		l.world.mu.Unlock()
	}
	return c, err
}

type watched struct {
	net.Conn
	close func()
}

func (c *watched) Close() error {
	c.close()
	return c.Conn.Close()
}

// swallow has the kernel drop every packet of the present connections where it comes
// in, before TCP sees it, as a firewall does that has forgotten them. New ones work.
func (w *world) swallow() {
	w.t.Helper()
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // keeps 0 bytes
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.ends {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			w.t.Fatal(err)
		}
		control := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
		})
		if control != nil || err != nil {
			w.t.Fatalf("no packet filter on a socket of this process's own: %v, %v", control, err)
		}
	}
}

// ask sends a request that is not sent again by the transport.
func (w *world) ask(path string) (string, error) {
	response, err := w.client.Post(w.url+path, "text/plain", strings.NewReader("x"))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// works says that requests are answered, over a connection that lives.
func (w *world) works(protocol string) {
	w.t.Helper()
	began := time.Now()
	if got, err := w.ask("/"); err != nil || got != protocol {
		w.t.Fatalf("%q, %v", got, err)
	}
	if took := time.Since(began); took > time.Second {
		w.t.Fatalf("an answer took %v", took)
	}
}

// noticed waits until the client has closed its first connection.
func (w *world) noticed(since time.Time) {
	w.t.Helper()
	w.mu.Lock()
	closed := w.closed[0]
	w.mu.Unlock()
	select {
	case <-closed:
		w.t.Logf("noticed after %v", time.Since(since))
	case <-time.After(time.Until(since.Add(timings().within))):
		w.t.Fatalf("not noticed within %v", timings().within)
	}
}

var protocols = map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true}

func TestAConnectionWhosePacketsAreSwallowedIsLeft(t *testing.T) {
	t.Parallel()
	for protocol, http2 := range protocols {
		t.Run(protocol+" idle", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, http2, nil)
			w.works(protocol)
			w.swallow()
			w.noticed(time.Now())
			w.works(protocol)
		})
		t.Run(protocol+" with a request just written", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, http2, nil)
			w.works(protocol)
			w.swallow()
			began := time.Now()
			if got, err := w.ask("/"); err == nil {
				t.Errorf("answered: %q", got)
			}
			w.noticed(began)
			w.works(protocol)
		})
		t.Run(protocol+" while the answer is waited for", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, http2, nil)
			w.works(protocol)
			failed := make(chan error, 1)
			go func() {
				_, err := w.ask("/slow")
				failed <- err
			}()
			<-w.came
			w.swallow()
			began := time.Now()
			if err := <-failed; err == nil {
				t.Error("answered")
			}
			w.noticed(began)
			w.works(protocol)
		})
	}
}

func TestAConnectionBehindAProxyThatRelaysNothingMoreIsLeft(t *testing.T) {
	t.Parallel() // its kernel acknowledges all that comes, so that only HTTP/2's pings can tell
	p := &relay{frozen: make(chan struct{})}
	w := newWorld(t, true, func(address string) string { return p.listen(t, address) })
	w.works("HTTP/2.0")
	close(p.frozen)
	began := time.Now()
	if _, err := w.ask("/"); err == nil {
		t.Error("answered")
	}
	w.noticed(began)
}

// relay passes bytes on between two TCP connections until it is frozen.
type relay struct{ frozen chan struct{} }

func (p *relay) listen(t *testing.T, to string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				return
			}
			t.Cleanup(func() { near.Close(); far.Close() })
			go p.pass(near, far)
			go p.pass(far, near)
		}
	}()
	return l.Addr().String()
}

func (p *relay) pass(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-p.frozen:
			return
		default:
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			to.Close()
			return
		}
	}
}

func TestALivePeerThatIsSlowToAnswerIsWaitedFor(t *testing.T) {
	t.Parallel()
	for protocol, http2 := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, http2, nil)
			time.AfterFunc(timings().slow, w.answer)
			if got, err := w.ask("/slow"); err != nil || got != protocol {
				t.Errorf("after %v: %q, %v", timings().slow, got, err)
			}
		})
	}
}

func TestTheBoundsThatAreSetAreTheKernels(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	transport := NewTransport(&tls.Config{}, nil)
	c, err := transport.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	get := func(level, option int) (value int) {
		t.Helper()
		if control := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) }); control != nil || err != nil {
			t.Fatal(control, err)
		}
		return value
	}
	unack := get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	idle, interval, count := get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	if on := get(unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 1 || unack == 0 || unack >= 20_000 || idle+interval*count >= 20 {
		t.Errorf("keep-alive %d: %d s, then every %d s, %d times; unacknowledged %d ms", on, idle, interval, count, unack)
	}
	if h2 := transport.HTTP2; h2 == nil || h2.SendPingTimeout <= 0 || h2.PingTimeout <= 0 || h2.SendPingTimeout+h2.PingTimeout >= 20*time.Second {
		t.Errorf("pings of HTTP/2: %+v", h2)
	}
	if transport.ResponseHeaderTimeout != 0 {
		t.Errorf("a live server is given up after %v", transport.ResponseHeaderTimeout)
	}
}
