package fdsclient

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// identity is a client certificate of the application at work: the connections
// made with it and the tokens bound to it belong together (RFC 8705 section 3).
type identity struct {
	certificate *tls.Certificate // nil: the application has none
	thumbprint  string           // x5t#S256; "" without a certificate
	transport   *http.Transport
}

// identities holds the one in use and replaces it when the application's
// certificate does. It is the transport of all requests to the provider.
type identities struct {
	provider *Provider
	source   func(context.Context) (*tls.Certificate, error) // nil: none
	nonces   nonces

	onError    func(error) // a new certificate cannot be used
	onReplaced func()

	current atomic.Pointer[identity]
	mu      sync.Mutex // held while the certificate is looked up
	failure string     // the last that was told
}

func newIdentities(p *Provider, a *Application) *identities {
	i := &identities{provider: p, source: a.Certificate}
	i.current.Store(&identity{transport: newTransport(p, nil)})
	return i
}

// refresh gives the identity in use, after a look whether the certificate has
// changed. One that cannot be read anew leaves the old one in use.
func (i *identities) refresh(ctx context.Context) (*identity, error) {
	if i.source == nil {
		return i.current.Load(), nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	old := i.current.Load()
	certificate, err := i.source(ctx)
	if err == nil && (certificate == nil || len(certificate.Certificate) == 0 || certificate.PrivateKey == nil) {
		err = errors.New("it holds no certificate with a private key")
	}
	if err != nil {
		err = fmt.Errorf("fdsclient: Application.Certificate: %w", err)
		if old.certificate == nil {
			return nil, err
		}
		if text := err.Error(); text != i.failure && ctx.Err() == nil {
			i.failure = text
			i.onError(fmt.Errorf("%w; the certificate before goes on", err))
		}
		return old, nil
	}
	i.failure = ""
	sum := sha256.Sum256(certificate.Certificate[0])
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	if old.thumbprint == thumbprint {
		return old, nil
	}
	next := &identity{certificate: certificate, thumbprint: thumbprint, transport: newTransport(i.provider, certificate)}
	i.current.Store(next)
	old.transport.CloseIdleConnections()
	if old.certificate != nil {
		i.onReplaced()
	}
	return next, nil
}

// watch looks for a new certificate.
func (i *identities) watch(ctx context.Context) {
	if _, err := i.refresh(ctx); err != nil && ctx.Err() == nil {
		i.onError(err)
	}
}

// RoundTrip sends a request with the identity in use.
func (i *identities) RoundTrip(r *http.Request) (*http.Response, error) {
	now := i.current.Load()
	if i.source != nil && now.certificate == nil {
		var err error
		if now, err = i.refresh(r.Context()); err != nil {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, err
		}
	}
	response, err := now.transport.RoundTrip(r)
	if err == nil {
		i.nonces.learn(response)
	}
	return response, err
}

// CloseIdleConnections closes connections that no request uses.
func (i *identities) CloseIdleConnections() { i.current.Load().transport.CloseIdleConnections() }

// CertificateFiles gives the certificate chain and private key of PEM files, for
// Application.Certificate; both may be one file. They are read anew when one has
// changed.
func CertificateFiles(certificate, key string) func(context.Context) (*tls.Certificate, error) {
	var (
		mu    sync.Mutex
		known *tls.Certificate
		read  [2]fileVersion
	)
	return func(context.Context) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		var now [2]fileVersion
		for n, name := range []string{certificate, key} {
			info, err := os.Stat(name)
			if err != nil {
				return nil, err
			}
			now[n] = fileVersion{info.Size(), info.ModTime()}
		}
		if known != nil && now == read {
			return known, nil
		}
		chain, err := readBounded(certificate)
		if err != nil {
			return nil, err
		}
		private, err := readBounded(key)
		if err != nil {
			return nil, err
		}
		pair, err := parsePEM(chain, private)
		if err != nil {
			return nil, fmt.Errorf("%s with %s: %w", certificate, key, err)
		}
		known, read = pair, now
		return known, nil
	}
}

type fileVersion struct {
	size     int64
	modified time.Time
}

// readBounded reads a certificate's or key's file.
func readBounded(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxCertificateBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxCertificateBytes {
		return nil, fmt.Errorf("%s: it has more than %d bytes", name, maxCertificateBytes)
	}
	return data, nil
}
