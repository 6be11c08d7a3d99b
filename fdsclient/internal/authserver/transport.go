package authserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// transport is the one that all owners of a Client share. It connects anew when
// the authorities that are trusted have changed.
type transport struct {
	settings    *Settings
	certificate func() *tls.Certificate // nil: none

	mu      sync.Mutex
	trusted *x509.CertPool
	current *http.Transport // nil: none yet
}

// RoundTrip sends a request.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	now, err := t.now(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	return now.RoundTrip(r)
}

// now returns the transport that trusts whom Provider names at this moment.
func (t *transport) now(ctx context.Context) (*http.Transport, error) {
	var roots *x509.CertPool
	if t.settings.Roots != nil {
		var err error
		if roots, err = t.settings.Roots(ctx); err != nil {
			return nil, unsent{fmt.Errorf("fdsclient: Provider.Roots: %w", err)}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil && (t.trusted == roots || t.trusted.Equal(roots)) {
		return t.current, nil
	}
	if t.current != nil {
		t.current.CloseIdleConnections() // what is at work there may finish
	}
	t.trusted, t.current = roots, newTransport(t.settings, roots, t.certificate)
	return t.current, nil
}

// CloseIdleConnections closes connections that no request uses.
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil {
		t.current.CloseIdleConnections()
	}
}

// newTransport makes a transport. The certificate, if there is one, is the
// application's of the moment (RFC 8705); servers that ask for none do not see it.
func newTransport(settings *Settings, roots *x509.CertPool, certificate func() *tls.Certificate) *http.Transport {
	config := tlspolicy.ClientConfig(roots, settings.ExactlyTLS12)
	if certificate != nil {
		// Not Certificates: those are held back where the server names authorities
		// that did not issue them, as for a self-signed one.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate(), nil }
	}
	return netpeer.NewTransport(config, settings.Dial)
}

// newAuthHTTP makes a client for the authorization server: no redirects, since a 307
// or 308 would post a refresh token to wherever it points.
func newAuthHTTP(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// unavailable wraps the failure of a request with a sentence on what to do. The
// URL of a url.Error is left out: what we call is said by what.
func unavailable(what string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	hint := tlspolicy.Explain(err)
	err = shown(tlspolicy.Without(err, netpeer.ProxySecrets()))
	if hint != "" {
		return fmt.Errorf("fdsclient: %s: %w: %w; %s", what, fds.ErrUnavailable, err, hint)
	}
	return fmt.Errorf("fdsclient: %s: %w: %w", what, fds.ErrUnavailable, err)
}

// shown is tlspolicy.Shown for what the peer may have written, and not for our own words.
func shown(err error) error {
	var own unsent
	if errors.As(err, &own) {
		return err
	}
	return tlspolicy.Shown(err)
}
