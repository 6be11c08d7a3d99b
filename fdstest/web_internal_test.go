package fdstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, whose connections wait in the time of a bubble.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	closed := make(chan struct{})
	return &pipes{make(chan net.Conn), closed, sync.OnceFunc(func() { close(closed) })}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func TestASlowAnswerMayTakeLongerThanAnyTimeoutOfTheServer(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ca, err := newRoot("A root")
			if err != nil {
				t.Fatal(err)
			}
			certificate, err := ca.issue(CertificateRequest{CommonName: "localhost", Hosts: []string{"localhost"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			if err != nil {
				t.Fatal(err)
			}
			p := &Provider{log: slog.New(slog.DiscardHandler)}
			p.Inject(Slow(KeysEndpoint, 3*time.Minute))
			p.Inject(Drip(TokenEndpoint, 50*time.Second))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			listener := newPipes()
			server := serveWeb(ctx, new(weaknesses).listener(listener, false), &tls.Config{Certificates: []tls.Certificate{certificate.TLS}, MinVersion: tls.VersionTLS12}, &p.http,
				p.log, authorityEndpointsOf, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") }))
			defer server.close()
			transport := &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: http2,
				DialContext: func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					listener.accept <- theirs
					return ours, nil
				},
			}
			defer transport.CloseIdleConnections()
			for path, want := range map[string]time.Duration{"/keys": 3 * time.Minute, "/token": 200 * time.Second} {
				began := time.Now()
				resp, err := (&http.Client{Transport: transport}).Get("https://localhost" + path)
				if err != nil {
					t.Fatalf("HTTP/2 %v, %s: %v after %v", http2, path, err, time.Since(began))
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if took := time.Since(began); err != nil || string(body) != "done" || took != want {
					t.Errorf("HTTP/2 %v, %s: %q, %v after %v", http2, path, body, err, took)
				}
			}
		})
	}
}
