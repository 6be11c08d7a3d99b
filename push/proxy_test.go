package push_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/fds-sdk/fds-go/push"
)

// served is a server on a port of this machine whose connections are ended with the test.
func served(t *testing.T, address string, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			work.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	return listener.Addr().String()
}

// onPort has the scripted broker listen on a port, too.
func (s *scripted) onPort(address string) string {
	return served(s.t, address, func(conn net.Conn) {
		secured := tls.Server(conn, &s.server)
		if secured.Handshake() == nil {
			s.script(&peer{t: s.t, conn: secured, raw: conn, n: 1, root: s.root})
		}
		_ = secured.Close()
	})
}

// tunnel copies both ways until one side ends.
func tunnel(a net.Conn, to string) {
	b, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(b, a); _ = b.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(a, b)
	_ = a.(*net.TCPConn).CloseWrite()
	<-done
	_ = b.Close()
}

// connectProxy is an HTTP proxy that leads to one address whatever is asked for.
type connectProxy struct {
	to       string
	user     string // "user:password"; empty: none is wanted
	asked    atomic.Pointer[http.Request]
	requests atomic.Int32
}

func (p *connectProxy) serve(conn net.Conn) {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	p.requests.Add(1)
	p.asked.Store(request)
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user)); p.user != "" && request.Header.Get("Proxy-Authorization") != want {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	tunnel(conn, p.to)
}

// socksProxy is a SOCKS5 proxy (RFC 1928, RFC 1929) that leads to one address.
type socksProxy struct {
	to, user, password string
	asked              atomic.Pointer[string]
}

func (p *socksProxy) serve(conn net.Conn) {
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(conn, b)
		return b
	}
	methods := read(int(read(2)[1]))
	if p.user == "" {
		_, _ = conn.Write([]byte{5, 0})
	} else {
		if !strings.ContainsRune(string(methods), 2) {
			_, _ = conn.Write([]byte{5, 0xFF})
			return
		}
		_, _ = conn.Write([]byte{5, 2})
		user := string(read(int(read(2)[1])))
		password := string(read(int(read(1)[0])))
		if user != p.user || password != p.password {
			_, _ = conn.Write([]byte{1, 1})
			return
		}
		_, _ = conn.Write([]byte{1, 0})
	}
	head := read(5) // of a host name
	name := string(read(int(head[4])))
	port := read(2)
	asked := fmt.Sprintf("%s:%d", name, int(port[0])<<8|int(port[1]))
	p.asked.Store(&asked)
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	tunnel(conn, p.to)
}

// noProxyInTheEnvironment takes away what this machine may have.
func noProxyInTheEnvironment(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"} {
		t.Setenv(name, "")
	}
}

// resolve has names stand for addresses of this machine, in this process.
func resolve(t *testing.T, names map[string][]string) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			packet := make([]byte, 1500)
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			var question dnsmessage.Message
			if question.Unpack(packet[:n]) != nil || len(question.Questions) == 0 {
				continue
			}
			asked := question.Questions[0]
			answer := dnsmessage.Message{Header: dnsmessage.Header{ID: question.ID, Response: true, RecursionAvailable: true}, Questions: question.Questions}
			addresses, known := names[strings.TrimSuffix(asked.Name.String(), ".")]
			if !known {
				answer.RCode = dnsmessage.RCodeNameError
			}
			for _, address := range addresses {
				if asked.Type == dnsmessage.TypeA {
					answer.Answers = append(answer.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
						Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())},
					})
				}
			}
			if packed, err := answer.Pack(); err == nil {
				_, _ = server.WriteTo(packed, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = server.Close()
		<-done
	})
}

// proxied is a broker that only a proxy knows, by the name broker.test.
func proxied(t *testing.T) (b *scripted, cfg push.Config) {
	noProxyInTheEnvironment(t)
	resolve(t, nil)
	b = newScripted(t, func(p *peer) { p.accept(false); p.stay() })
	cfg = b.config()
	cfg.Dial = nil
	return b, cfg
}

func TestTheProxyOfTheEnvironmentLeadsToTheBroker(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Run(name, func(t *testing.T) {
			b, cfg := proxied(t)
			p := &connectProxy{to: b.onPort("127.0.0.1:0"), user: "me:p%ss w"}
			t.Setenv(name, "http://me:p%25ss%20w@"+served(t, "127.0.0.1:0", p.serve))
			r := start(t, cfg, discard(t))
			r.waitPhase(push.Connected)
			r.stop()
			if asked := p.asked.Load(); asked.Method != http.MethodConnect || asked.RequestURI != "broker.test:8883" || asked.Host != "broker.test:8883" {
				t.Errorf("asked for %s %s %s", asked.Method, asked.RequestURI, asked.Host)
			}
		})
	}
	for _, user := range []string{"", "me:secret@"} {
		t.Run("ALL_PROXY is SOCKS5 "+user, func(t *testing.T) {
			b, cfg := proxied(t)
			p := &socksProxy{to: b.onPort("127.0.0.1:0")}
			p.user, p.password, _ = strings.Cut(strings.TrimSuffix(user, "@"), ":")
			t.Setenv("all_proxy", "socks5h://"+user+served(t, "127.0.0.1:0", p.serve))
			r := start(t, cfg, discard(t))
			r.waitPhase(push.Connected)
			r.stop()
			if asked := p.asked.Load(); asked == nil || *asked != "broker.test:8883" {
				t.Errorf("asked for %v", asked)
			}
		})
	}
	t.Run("a WebSocket", func(t *testing.T) {
		b, cfg := proxied(t)
		upgraded := make(chan struct{})
		b.script = func(p *peer) { acceptWebSocket(p); close(upgraded) }
		p := &connectProxy{to: b.onPort("127.0.0.1:0")}
		t.Setenv("HTTPS_PROXY", served(t, "127.0.0.1:0", p.serve)) // without a scheme
		cfg.BrokerURL, cfg.ALPN = "wss://broker.test/mqtt", []string{"mqtt"}
		r := start(t, cfg, discard(t))
		<-upgraded
		r.stop()
		if asked := p.asked.Load(); asked.RequestURI != "broker.test:443" {
			t.Errorf("asked for %s", asked.RequestURI)
		}
	})
	t.Run("over TLS", func(t *testing.T) {
		b, cfg := proxied(t)
		p := served(t, "127.0.0.1:0", func(conn net.Conn) { _ = tls.Server(conn, &b.server).Handshake() })
		cfg.Proxy = "https://" + p // whose certificate is for another name
		r := start(t, cfg, discard(t))
		s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
		if text := fmt.Sprint(s.Err); !strings.Contains(text, "proxy "+p) || !strings.Contains(text, "no TLS with it: the server's certificate is not for") {
			t.Errorf("it says %v", s.Err)
		}
		r.stop()
	})
}

func TestNoProxyIsTakenWhereNoneIsWanted(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, cfg *push.Config){
		"NO_PROXY":           func(t *testing.T, _ *push.Config) { t.Setenv("NO_PROXY", "other.example,.test") },
		"no_proxy":           func(t *testing.T, _ *push.Config) { t.Setenv("no_proxy", "broker.test:8883") },
		"the setting":        func(_ *testing.T, cfg *push.Config) { cfg.Proxy = "none" },
		"a broker down here": func(_ *testing.T, cfg *push.Config) { cfg.BrokerURL = "mqtts://127.0.0.1:1" },
	} {
		t.Run(name, func(t *testing.T) {
			b, cfg := proxied(t)
			p := &connectProxy{to: b.onPort("127.0.0.1:0")}
			t.Setenv("HTTPS_PROXY", "http://"+served(t, "127.0.0.1:0", p.serve))
			set(t, &cfg)
			r := start(t, cfg, discard(t))
			s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
			if s.Err == nil || strings.Contains(s.Err.Error(), "proxy") || p.requests.Load() > 0 {
				t.Errorf("%v; the proxy had %d requests", s.Err, p.requests.Load())
			}
			r.stop()
		})
	}
	t.Run("a Dial of one's own", func(t *testing.T) {
		b, cfg := proxied(t)
		t.Setenv("HTTPS_PROXY", "http://192.0.2.1:1")
		cfg.Dial, cfg.Proxy = b.dial, "http://192.0.2.2:1"
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		r.stop()
	})
}

// What is wrong with a proxy is said with its name, without its password, and in time.
func TestAProxyThatIsInTheWayIsNamed(t *testing.T) {
	answers := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, text)
		}
	}
	for name, c := range map[string]struct {
		scheme string
		serve  func(net.Conn)
		says   string
	}{
		"wants a password":       {"http://", answers("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n"), "wants a user name and password (407)"},
		"refuses the password":   {"http://me:s3cret@", answers("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n"), "refuses the user name and password"},
		"wants NTLM":             {"http://me:s3cret@", answers("HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n"), `other than Basic (407, "NTLM, Negotiate")`},
		"forbids the port":       {"http://me:s3cret@", answers("HTTP/1.1 403 Forbidden\r\n\r\n"), "does not allow a connection to broker.test:8883 (403); ask its administrator"},
		"cannot reach it":        {"http://me:s3cret@", answers("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "cannot reach broker.test:8883 (502)"},
		"has another answer":     {"http://me:s3cret@", answers("HTTP/1.1 418 \x1b[31m\r\n\r\n"), "HTTP status 418"},
		"closes":                 {"http://me:s3cret@", answers(""), "closed the connection without an answer"},
		"talks nonsense":         {"http://me:s3cret@", answers("SSH-2.0-\x1b[31mx\r\n"), `does not answer as an HTTP proxy does ("SSH-2.0-\x1b[31mx`},
		"does not end":           {"http://me:s3cret@", answers("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), "does not answer as an HTTP proxy does"},
		"sends more":             {"http://me:s3cret@", answers("HTTP/1.1 200 OK\r\n\r\nwelcome"), "sent more than its answer"},
		"is silent":              {"http://me:s3cret@", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "did not answer in time"},
		"SOCKS, lets nobody in":  {"socks5://me:s3cret@", func(conn net.Conn) { (&socksProxy{user: "other"}).serve(conn) }, "does not let this client in"},
		"SOCKS, forbids it":      {"socks5://", func(conn net.Conn) { socksAnswer(conn, 2) }, "does not allow a connection to broker.test:8883"},
		"SOCKS, cannot reach it": {"socks5://", func(conn net.Conn) { socksAnswer(conn, 4) }, "cannot reach broker.test:8883"},
		"SOCKS, is none":         {"socks5://", func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "does not answer as a SOCKS5 proxy does"},
		"SOCKS, is silent":       {"socks5://", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "did not answer in time"},
		"drops what is in TLS":   {"http://me:s3cret@", answers("HTTP/1.1 200 OK\r\n\r\n"), "through proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			_, cfg := proxied(t)
			at := served(t, "127.0.0.1:0", c.serve)
			cfg.Proxy, cfg.ConnectTimeout = c.scheme+at, 2*time.Second
			began := time.Now()
			r := start(t, cfg, discard(t))
			s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
			text := fmt.Sprint(s.Err)
			for _, want := range []string{c.says, "proxy " + at, "push: connect to broker.test:8883"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %q", text, want)
				}
			}
			if strings.Contains(text, "s3cret") || strings.ContainsRune(text, 0x1b) || len(text) > 600 || time.Since(began) > 4*time.Second {
				t.Errorf("after %v: %q", time.Since(began), text)
			}
			r.stop()
		})
	}
	for setting, says := range map[string]string{
		"http://me:s3cret@127.0.0.1:1":  "proxy 127.0.0.1:1: it cannot be reached: nothing listens there",
		"socks5://me:s3cret@no.invalid": "proxy no.invalid:1080: its host name does not resolve",
	} {
		_, cfg := proxied(t)
		t.Setenv("HTTPS_PROXY", setting)
		r := start(t, cfg, discard(t))
		s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
		if text := fmt.Sprint(s.Err); !strings.Contains(text, says) || strings.Contains(text, "s3cret") {
			t.Errorf("%q does not say %q", text, says)
		}
		r.stop()
	}
	for _, setting := range []string{"ftp://me:s3cret@proxy", "http://me:s3cret@:1", "http://me:s3cret@[::1"} {
		_, cfg := proxied(t)
		t.Setenv("HTTPS_PROXY", setting)
		r := start(t, cfg, discard(t))
		s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
		if text := fmt.Sprint(s.Err); !strings.Contains(text, "the environment's HTTPS_PROXY: it") || strings.Contains(text, "s3cret") {
			t.Errorf("%q: it says %q", setting, text)
		}
		r.stop()
		cfg.Proxy = setting
		if _, err := push.New(cfg); err == nil || !strings.Contains(err.Error(), "Proxy cannot be used: it") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q is taken: %v", setting, err)
		}
	}
}

// socksAnswer refuses a request with a code of RFC 1928 section 6.
func socksAnswer(conn net.Conn, code byte) {
	_, _ = io.ReadFull(conn, make([]byte, 3))
	_, _ = conn.Write([]byte{5, 0})
	_, _ = io.ReadFull(conn, make([]byte, 5+len("broker.test")+2))
	_, _ = conn.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
}

// Who reached the broker without the proxy, which is there for the web alone, still does.
func TestAProxyOfTheEnvironmentThatForbidsThePortIsGoneRound(t *testing.T) {
	b, cfg := proxied(t)
	resolve(t, map[string][]string{"broker.test": {"127.0.0.1"}})
	address := b.onPort("127.0.0.1:0")
	_, port, _ := net.SplitHostPort(address)
	cfg.BrokerURL = "mqtts://broker.test:" + port
	p := served(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	})
	t.Setenv("HTTPS_PROXY", "http://"+p)
	r := start(t, cfg, discard(t))
	r.waitPhase(push.Connected)
	r.stop()

	cfg.BrokerURL = "mqtts://broker.test:1"
	r = start(t, cfg, discard(t))
	s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
	if text := fmt.Sprint(s.Err); !strings.Contains(text, "proxy "+p) || !strings.Contains(text, "nor without it") {
		t.Errorf("it says %q", text)
	}
	r.stop()
}

// Of two addresses of the broker's name the first accepts and is silent.
func TestAnAddressOfTheBrokerThatIsSilentIsLeftForAnother(t *testing.T) {
	b, cfg := proxied(t)
	address := b.onPort("127.0.0.2:0")
	_, port, _ := net.SplitHostPort(address)
	silent := served(t, net.JoinHostPort("127.0.0.1", port), func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	resolve(t, map[string][]string{"broker.test": {"127.0.0.1", "127.0.0.2"}})
	cfg.BrokerURL, cfg.ConnectTimeout = "mqtts://broker.test:"+port, 12*time.Second
	r := start(t, cfg, discard(t))
	s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
	if s.Phase != push.Connected {
		t.Errorf("silent at %s: %+v", silent, s)
	}
	r.stop()
}

func TestABrokerThatDemandsAnApplicationProtocolGetsIt(t *testing.T) {
	b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
	b.server.NextProtos = []string{"x-amzn-mqtt-ca"}
	address := b.onPort("127.0.0.1:0")
	cfg := b.config()
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	cfg.ALPN = []string{"mqtt", "x-amzn-mqtt-ca"}
	r := start(t, cfg, discard(t))
	r.waitPhase(push.Connected)
	r.stop()
	cfg.ALPN = []string{"mqtt"}
	r = start(t, cfg, discard(t))
	s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
	if text := fmt.Sprint(s.Err); !strings.Contains(text, "does not speak any application protocol that was offered (ALPN)") {
		t.Errorf("it says %q", text)
	}
	r.stop()
	for _, wrong := range [][]string{{""}, {strings.Repeat("x", 256)}} {
		cfg.ALPN = wrong
		if _, err := push.New(cfg); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
