package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	headerTimeout = 10 * time.Second // for the TLS handshake, and for a request's header
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes of a request's header: a token, and a certificate from a proxy
	streams       = 100      // of one connection of HTTP/2
)

// TLSConfig returns how TLS is spoken: 1.2 or newer (W2), or exactly 1.2 with
// Settings.ExactlyTLS12; with the certificate that Settings.Certificate returns at each connection,
// where there is one; and a client certificate asked for with Settings.CertificateBound or
// ClientRoots. No session is resumed.
func (r *Receiver) TLSConfig() *tls.Config {
	config := tlspolicy.ServerConfig(r.cfg.ExactlyTLS12)
	if r.cfg.CertificateBound {
		config.ClientAuth = tls.RequestClientCert
	}
	if source := r.cfg.Certificate; source != nil {
		config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			certificate, err := source(hello.Context())
			if err == nil && certificate == nil {
				err = errors.New("there is none")
			}
			if err != nil {
				r.noCertificate(hello.Context(), "the webhook has no server certificate", err)
				return nil, err
			}
			return certificate, nil
		}
	}
	if roots := r.cfg.ClientRoots; roots != nil {
		config.ClientAuth = tls.RequestClientCert
		// Not ClientCAs: they are those of the moment, and a certificate that none of them has issued is
		// to be refused and not held back by its owner.
		config.VerifyConnection = func(state tls.ConnectionState) error { return r.verifySender(roots, state.PeerCertificates) }
	}
	return config
}

// verifySender refuses a client certificate that none of the authorities has issued for a client.
func (r *Receiver) verifySender(roots func(context.Context) (*x509.CertPool, error), chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return nil
	}
	ctx, end := context.WithTimeout(r.ctx, headerTimeout)
	defer end()
	pool, err := contained("Settings.ClientRoots", func() (*x509.CertPool, error) { return roots(ctx) })
	if err == nil && pool == nil {
		err = errors.New("there are none")
	}
	if err != nil {
		r.noCertificate(ctx, "the authorities of senders cannot be read", err)
		return err
	}
	intermediates := x509.NewCertPool()
	for _, one := range chain[1:] {
		intermediates.AddCert(one)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// noCertificate tells the log once in a while why nobody can connect: anyone can cause a handshake.
func (r *Receiver) noCertificate(ctx context.Context, what string, err error) {
	if count, due := r.refused.due(kindCertificate); due {
		r.cfg.Logger.LogAttrs(ctx, slog.LevelError, what, slog.Any("error", err), slog.Int("connections", count))
	}
}

// newcomer is the key of a connection's timer, which ends it unless a request comes by it.
type newcomer struct{}

// patternFault says why a path is no pattern of http.ServeMux, or "".
func patternFault(path string) (why string) {
	defer func() {
		if p := recover(); p != nil {
			why = fmt.Sprintf("%.200s", fmt.Sprint(p))
		}
	}()
	http.NewServeMux().Handle(path, http.NotFoundHandler())
	return ""
}

// absent refuses a request for another path than Settings.Path.
func absent(http.ResponseWriter, *http.Request, *Answer) error {
	return malformed(http.StatusNotFound, "the request is for another path than Settings.Path")
}

// Serve takes deliveries on a listener at Settings.Path, over TLS as TLSConfig says, until ctx ends.
// Then those in hand are answered, which takes HandlerTimeout at most, and Serve returns nil. At
// most Settings.MaxConnections are open at once; others wait to be accepted. Settings.Certificate
// is required. It closes the listener, and not the Receiver.
func (r *Receiver) Serve(ctx context.Context, listener net.Listener) error {
	defer listener.Close()
	if r.cfg.Certificate == nil {
		return fmt.Errorf("webhook: serve: %w: Settings.Certificate is missing; FDS demands HTTPS (W1)", fds.ErrConfig)
	}
	mux := http.NewServeMux()
	mux.Handle(r.cfg.Path, r)
	server := &http.Server{
		// By HTTP/2 a connection without a request is idle, and would have that time.
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, newcomer{}, time.AfterFunc(2*headerTimeout, func() { _ = conn.Close() }))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if timer, ok := req.Context().Value(newcomer{}).(*time.Timer); ok {
				timer.Stop()
			}
			if h, _ := mux.Handler(req); h == http.Handler(r) {
				mux.ServeHTTP(w, req)
				return
			}
			r.serve(w, req, absent) // nor is it led to another spelling of the path
		}),
		TLSConfig:         r.TLSConfig(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout + r.cfg.BodyTimeout, // of what net/http answers by itself; a delivery's body has its own
		WriteTimeout:      headerTimeout + r.cfg.BodyTimeout + r.cfg.HandlerTimeout + 10*time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,

		DisableGeneralOptionsHandler: true,

		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: streams, SendPingTimeout: idleTimeout / 2},
		ErrorLog: slog.NewLogLogger(r.cfg.Logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.HandlerTimeout+r.cfg.BodyTimeout)
		defer cancel()
		if server.Shutdown(within) != nil {
			_ = server.Close()
		}
	})
	err := server.ServeTLS(netutil.LimitListener(listener, r.cfg.MaxConnections), "", "")
	if !stop() {
		<-ended
		return nil
	}
	_ = server.Close() // nobody is served on by a server that has ended
	return fmt.Errorf("webhook: serve: %w", err)
}
