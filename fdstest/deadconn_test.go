package fdstest_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// connection is one to the authorization server over HTTP/1.1.
type connection struct {
	*tls.Conn
	t      *testing.T
	answer *bufio.Reader
}

func openTo(t *testing.T, p *fdstest.Provider) connection {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.Issuer(), "https://"), &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return connection{conn, t, bufio.NewReader(conn)}
}

func (c connection) ask() {
	c.t.Helper()
	if _, err := io.WriteString(c, "GET /keys HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		c.t.Error(err)
	}
}

// hears reports whether an answer comes within d.
func (c connection) hears(d time.Duration) bool {
	c.t.Helper()
	_ = c.NetConn().SetReadDeadline(time.Now().Add(d)) // below TLS, which no time-out can disturb
	if _, err := c.answer.Peek(1); err != nil {
		if !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
			c.t.Errorf("the connection has ended: %v", err)
		}
		return false
	}
	resp, err := http.ReadResponse(c.answer, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		c.t.Errorf("%s, %v", resp.Status, err)
	}
	return true
}

func isTimeout(err error) bool {
	failure, ok := errors.AsType[net.Error](err)
	return ok && failure.Timeout()
}

const long, short = 10 * time.Second, 50 * time.Millisecond

func TestDeadConnectionsStayOpenAndSilentWhileNewOnesWork(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	old := openTo(t, p)
	old.ask()
	if !old.hears(long) {
		t.Fatal("no answer before")
	}
	before := p.Requests(fdstest.KeysEndpoint)
	off := p.Inject(fdstest.DeadConnections())
	old.ask()
	if old.hears(short) || p.Requests(fdstest.KeysEndpoint) != before {
		t.Error("a dead connection lets something through")
	}
	fresh := openTo(t, p)
	fresh.ask()
	if !fresh.hears(long) {
		t.Error("a new connection is dead too")
	}
	again := p.Inject(fdstest.DeadConnections())
	fresh.ask()
	if fresh.hears(short) {
		t.Error("injected again, it leaves a connection out")
	}
	off()
	off()
	if old.hears(short) {
		t.Error("of two faults one is still on")
	}
	again()
	for _, conn := range []connection{old, fresh} {
		if !conn.hears(long) {
			t.Error("what was held up does not go through")
		}
		conn.ask()
		if !conn.hears(long) {
			t.Error("a revived connection does not go on")
		}
	}
}

func TestADeadConnectionSwallowsTheAnswerThatIsUnderWay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	slow := p.Inject(fdstest.Slow(fdstest.KeysEndpoint, time.Hour))
	conn := openTo(t, p)
	conn.ask()
	eventually(t, "the request is there", func() bool { return p.Requests(fdstest.KeysEndpoint) == 1 })
	off := p.Inject(fdstest.DeadConnections())
	slow()
	if conn.hears(short) {
		t.Error("the answer comes through")
	}
	off()
	if !conn.hears(long) {
		t.Error("the answer does not come afterwards")
	}
}

func TestHTTP2FindsADeadConnectionByItsPing(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond},
	}
	defer transport.CloseIdleConnections()
	get := func() error {
		resp, err := (&http.Client{Transport: transport, Timeout: long}).Get(p.Issuer() + "/keys")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	p.Inject(fdstest.DeadConnections())
	if err := get(); err == nil || isTimeout(err) {
		t.Errorf("over the dead connection: %v", err)
	}
	if err := get(); err != nil {
		t.Errorf("over a new one: %v", err)
	}
}

func TestAProviderWithDeadConnectionsClosesAtOnce(t *testing.T) {
	p, err := fdstest.Start(fdstest.Options{Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	slow := p.Inject(fdstest.Slow(fdstest.KeysEndpoint, time.Hour))
	var open []connection
	for range 5 {
		conn := openTo(t, p)
		conn.ask()
		open = append(open, conn)
	}
	eventually(t, "the requests are there", func() bool { return p.Requests(fdstest.KeysEndpoint) == len(open) })
	off := p.Inject(fdstest.DeadConnections())
	slow() // now their answers are held up
	began := time.Now()
	p.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	off()
	for _, conn := range open {
		_ = conn.SetReadDeadline(time.Now().Add(long))
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("a connection is still open, or has come back to life: %v", err)
		}
	}
}
