package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

type panicking struct{}

func (panicking) OnAnswer(webhook.Answer)                           { panic("answer") }
func (panicking) OnHandled(fds.OwnerKey, time.Duration, error)      { panic("handled") }
func (panicking) OnSlowHandler(owner fds.OwnerKey, _ time.Duration) { panic("slow") }

func TestAHookThatPanicsHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &records{}
		s := inMemory(t, func(c *webhook.Config) {
			c.Logger = slog.New(slog.NewTextHandler(log, nil))
			c.SlowHandler = time.Second
			c.Hooks = append(c.Hooks, panicking{})
		})
		s.handle(func(context.Context, delivery.Message) error { time.Sleep(2 * time.Second); return nil })
		if w := s.answer(`{"n":1}`); w.Code != http.StatusOK || len(s.handed()) != 1 {
			t.Error(w.Code, s.why())
		}
		if n := strings.Count(log.String(), "a hook panicked"); n != 1 {
			t.Errorf("it was told %d times: %s", n, log)
		}
	})
}

func TestAnOwnerOrSecretsThatPanicsIsAnswered503(t *testing.T) {
	for name, after := range map[string]int32{"before the body": 0, "in its turn": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				s := inMemory(t, func(c *webhook.Config) {
					there := c.Owner
					c.Owner = func(ctx context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
						if calls.Add(1) > after {
							panic("no")
						}
						return there(ctx, id)
					}
				})
				if w := s.answer(`{"n":1}`); w.Code != http.StatusServiceUnavailable || !strings.Contains(s.why().Error(), "Config.Owner panicked") {
					t.Error(w.Code, s.why())
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) {
			c.Secrets = func(context.Context, fds.OwnerKey) ([]fds.Secret, error) { panic("no") }
		})
		if w := s.answer(`{"n":1}`); w.Code != http.StatusServiceUnavailable || !strings.Contains(s.why().Error(), "Settings.Secrets panicked") {
			t.Error(w.Code, s.why())
		}
	})
}

func TestAServerWithoutCertificateIsToldOfOnceInAWhile(t *testing.T) {
	log := &records{}
	_, a, address := served(t, func(c *webhook.Config) {
		c.Logger = slog.New(slog.NewTextHandler(log, nil))
		c.Certificate = func(context.Context) (*tls.Certificate, error) { return nil, errors.New("the file is gone") }
	})
	for range 20 {
		if conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool}); err == nil {
			conn.Close()
			t.Fatal("connected")
		}
	}
	if n := strings.Count(log.String(), "no server certificate"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

func TestNobodyIsServedOnAfterServeHasEnded(t *testing.T) {
	a := newAuthority(t)
	certificate := a.issue(2, x509.ExtKeyUsageServerAuth)
	s := newReceiver(t, func(c *webhook.Config) {
		c.Certificate = func(context.Context) (*tls.Certificate, error) { return certificate, nil }
	})
	defer s.receiver.Close()
	waitFor(t, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.receiver.Serve(t.Context(), listener) }()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool}}}
	token := s.token(s.claims(nil), nil)
	if status, err := s.post(c, listener.Addr().String(), "/", token); status != http.StatusOK {
		t.Fatal(status, err)
	}
	listener.Close()
	if err := <-ended; err == nil {
		t.Fatal("Serve says nothing")
	}
	if status, err := s.post(c, listener.Addr().String(), "/", token); err == nil {
		t.Error(status)
	}
}

// pipes is a listener whose connections are in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error {
	defer func() { _ = recover() }() // it was closed before
	close(p)
	return nil
}
func (pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestWhoDoesNotReadAnAnswerByHTTP2HoldsNothing(t *testing.T) {
	a := newAuthority(t)
	certificate := a.issue(2, x509.ExtKeyUsageServerAuth)
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) {
			c.Certificate = func(context.Context) (*tls.Certificate, error) { return certificate, nil }
		})
		server := &http.Server{Handler: s.receiver, TLSConfig: s.receiver.TLSConfig()} // as lenient as one can be
		listener := make(pipes)
		go server.ServeTLS(listener, "", "")
		defer server.Close()
		mine, theirs := net.Pipe()
		listener <- theirs
		conn := tls.Client(mine, &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", NextProtos: []string{"h2"}, Time: func() time.Time { return a.cert.NotBefore.Add(time.Hour) }})
		request := "\x83\x84\x87\x01\x01x" // POST, /, https, x
		// An initial window of 0, by which no body of an answer may be sent; and a request without a token.
		_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+
			"\x00\x00\x06\x04\x00\x00\x00\x00\x00"+"\x00\x04\x00\x00\x00\x00"+
			"\x00\x00\x06\x01\x05\x00\x00\x00\x01"+request)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = conn.SetReadDeadline(began.Add(time.Hour))
		_, _ = io.Copy(io.Discard, conn)
		if took := time.Since(began); took > 15*time.Second || s.receiver.State().Refused != 1 {
			t.Error("the connection ended after", took, s.receiver.State().Refused)
		}
	})
}

func TestWhoSendsNoRequestByHTTP2HoldsNoConnection(t *testing.T) {
	a := newAuthority(t)
	certificate := a.issue(2, x509.ExtKeyUsageServerAuth)
	for name, some := range map[string]bool{"no request": false, "one": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t, func(c *webhook.Config) {
					c.Certificate = func(context.Context) (*tls.Certificate, error) { return certificate, nil }
				})
				ctx, stop := context.WithCancel(context.Background())
				listener := make(pipes)
				ended := make(chan error)
				go func() { ended <- s.receiver.Serve(ctx, listener) }()
				mine, theirs := net.Pipe()
				listener <- theirs
				conn := tls.Client(mine, &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", NextProtos: []string{"h2"}, Time: func() time.Time { return a.cert.NotBefore.Add(time.Hour) }})
				frames := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
				if some { // with a token, that it is not closed for that
					token := "Bearer " + s.token(s.claims(nil), nil)
					block := "\x83\x84\x87\x01\x01x" + "\x00\x0dauthorization\x7f" + string([]byte{byte(len(token)-127)%128 | 128, byte((len(token) - 127) / 128)}) + token
					frames += string([]byte{0, byte(len(block) >> 8), byte(len(block))}) + "\x01\x05\x00\x00\x00\x01" + block
				}
				if _, err := io.WriteString(conn, frames); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_ = conn.SetReadDeadline(began.Add(time.Hour))
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(began); took > 25*time.Second != some {
					t.Error("the connection ended after", took, s.why())
				}
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
