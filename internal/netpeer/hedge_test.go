package netpeer

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// listening accepts connections, and has each spoken to.
func listening(t *testing.T, speak func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				speak(conn)
			})
		}
	})
	return l.Addr().String()
}

// silent takes what is said until the other end is gone.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// names is the network of a test: which listener is at which address of one name. The
// first is what a plain dial of the name leads to.
type names []string

func (n names) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to := n[0]
	if at, err := netip.ParseAddr(host); err == nil {
		to = n[int(at.As4()[3])]
	}
	if to == "" {
		return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

func (n names) lookup(context.Context, string) ([]netip.Addr, error) {
	all := []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")} // that of the first
	for i := 1; i < len(n); i++ {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	return all, nil
}

func TestAHostIsFoundThoughAnAddressOfItsNameIsSilent(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	var posts atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.Proto)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	mute := listening(t, silent)
	ended := listening(t, func(net.Conn) {})
	alert := listening(t, func(conn net.Conn) { _, _ = io.ReadFull(conn, make([]byte, 10)) })
	live := server.Listener.Addr().String()
	slow := listening(t, func(conn net.Conn) { // it answers, after all others would have been tried
		begin := make([]byte, 1)
		if _, err := io.ReadFull(conn, begin); err != nil {
			return
		}
		<-time.After(200 * time.Millisecond)
		to, err := net.Dial("tcp", live)
		if err != nil {
			return
		}
		defer to.Close()
		go func() { _, _ = io.Copy(to, io.MultiReader(strings.NewReader(string(begin)), conn)) }()
		_, _ = io.Copy(conn, to)
	})
	for name, addresses := range map[string]names{
		"the first is silent":             {mute, live},
		"two are silent":                  {mute, mute, live},
		"one is silent and one refuses":   {mute, "", live},
		"the first breaks":                {ended, live},
		"the first breaks after a while":  {alert, mute, ended, live},
		"the first answers":               {live, mute},
		"the first answers late":          {slow, mute, "", mute},
		"the only one answers late":       {slow},
		"the first is silent, another is": {mute, slow},
	} {
		for _, http2 := range []bool{true, false} {
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			transport := NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil)
			transport.Proxy = nil
			transport.ForceAttemptHTTP2 = http2
			transport.DialContext = hedge(addresses.dial, addresses.lookup, 30*time.Millisecond)
			client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
			for range 2 {
				answer, err := client.Post("https://example.com/", "text/plain", strings.NewReader("once"))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				protocol, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				if strings.HasPrefix(string(protocol), "HTTP/2") != http2 {
					t.Errorf("%s: %s was spoken", name, protocol)
				}
			}
			if n := posts.Swap(0); n != 2 {
				t.Errorf("%s: 2 requests came %d times", name, n)
			}
			transport.CloseIdleConnections()
		}
	}
	t.Run("none answers", func(t *testing.T) {
		for name, addresses := range map[string]names{"alone": {ended}, "all break": {ended, ended, ""}} {
			transport := NewTransport(nil, nil)
			transport.DialContext = hedge(addresses.dial, addresses.lookup, 30*time.Millisecond)
			transport.Proxy = nil
			if _, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://example.com/"); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, addresses := range []names{{mute}, {mute, mute}} {
			transport := NewTransport(nil, nil)
			transport.DialContext = hedge(addresses.dial, addresses.lookup, 10*time.Millisecond)
			transport.Proxy, transport.TLSHandshakeTimeout = nil, 100*time.Millisecond
			if _, err := (&http.Client{Transport: transport}).Get("https://example.com/"); err == nil || !strings.Contains(err.Error(), "handshake timeout") {
				t.Errorf("%v", err)
			}
		}
	})
}

// TestAttackWhatIsNotSafeToSayTwiceIsSaidOnce: a request that changes something would else
// be carried out by two servers.
func TestAttackWhatIsNotSafeToSayTwiceIsSaidOnce(t *testing.T) {
	var came atomic.Int32
	counting := func(conn net.Conn) {
		if line, _ := bufio.NewReader(conn).ReadString('\n'); line != "" {
			came.Add(1)
		}
		silent(conn)
	}
	addresses := names{listening(t, counting), listening(t, counting)}
	dial := hedge(addresses.dial, addresses.lookup, time.Millisecond)
	for said, times := range map[string]int32{"POST /tag HTTP/1.1\n": 1, "\x10connect\n": 1, "CONNECT a:443 HTTP/1.1\n": 2, "\x16\x03\x01\n": 2, "\x05\x01\x00\n": 2} {
		came.Store(0)
		conn, err := dial(t.Context(), "tcp", "example.com:443")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, said); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: %v", said, err)
		}
		if n := came.Load(); n != times {
			t.Errorf("%q was said %d times", said, n)
		}
		conn.Close()
	}
}

func TestAnAddressThatIsNoNameIsDialledAsItIs(t *testing.T) {
	address := listening(t, silent)
	conn, err := Hedge(new(net.Dialer).DialContext)(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, plain := conn.(*net.TCPConn); !plain {
		t.Errorf("it is a %T", conn)
	}
}
