package authserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	authTimeout   = 30 * time.Second // one request to the authorization server
	maxAuthAnswer = 256 << 10        // bytes of one of its answers
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

// now gives the transport that trusts whom Provider names at this moment.
func (t *transport) now(ctx context.Context) (*http.Transport, error) {
	roots := t.settings.RootCAs
	if t.settings.Roots != nil {
		var err error
		if roots, err = t.settings.Roots(ctx); err != nil {
			return nil, fmt.Errorf("fdsclient: Provider.Roots: %w", err)
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
	t.trusted, t.current = roots, newTransport(roots, t.settings.ExactlyTLS12, t.certificate)
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
func newTransport(roots *x509.CertPool, exactlyTLS12 bool, certificate func() *tls.Certificate) *http.Transport {
	config := tlspolicy.ClientConfig(roots, exactlyTLS12)
	if certificate != nil {
		// Not Certificates: those are held back where the server names authorities
		// that did not issue them, as for a self-signed one.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate(), nil }
	}
	return netpeer.NewTransport(config)
}

// newAuthHTTP makes the client for the authorization server: no redirects, since
// a 307 or 308 would post a refresh token to wherever it points, and answers
// with a bound.
func newAuthHTTP(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     boundedTransport{transport},
		Timeout:       authTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errAnswerTooLarge ends the reading of an answer that has no end.
var errAnswerTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxAuthAnswer)

type boundedTransport struct{ base http.RoundTripper }

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if err == nil {
		response.Body = &boundedBody{ReadCloser: response.Body, left: maxAuthAnswer}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		var one [1]byte
		if n, err := b.ReadCloser.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, errAnswerTooLarge
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}

// unavailable wraps the failure of a request with a sentence on what to do. The
// URL of a url.Error is left out: what we call is said by what.
func unavailable(what string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if hint := tlspolicy.Explain(err); hint != "" {
		return fmt.Errorf("fdsclient: %s: %w: %w; %s", what, fds.ErrUnavailable, describedError{err}, hint)
	}
	return fmt.Errorf("fdsclient: %s: %w: %w", what, fds.ErrUnavailable, describedError{err})
}

func newFormRequest(ctx context.Context, endpoint string, form url.Values) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err == nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Accept", "application/json")
	}
	return request, err
}
