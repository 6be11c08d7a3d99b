package authserver

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// clientCert is a client certificate of the application at work: the connections
// made with it and the tokens bound to it belong together (RFC 8705 section 3).
type clientCert struct {
	thumbprint  string // x5t#S256; "" without a certificate
	transport   *transport
	certificate atomic.Pointer[tls.Certificate] // nil: the application has none
}

// ClientCerts holds the one in use and replaces it when the application's
// certificate does. It is the transport of all requests to the provider.
type ClientCerts struct {
	settings *Settings
	source   func(context.Context) (*tls.Certificate, error) // nil: none
	nonces   nonces
	outer    http.RoundTripper // what was put around it to see requests; without, itself

	current atomic.Pointer[clientCert]
	mu      sync.Mutex // guards what follows; never held while the source is asked
	lookup  *lookup    // under way
	failure string     // the last that was told
}

// lookup is a question to the source under way, which any number wait for.
type lookup struct {
	late <-chan struct{} // closed when it takes too long
	done chan struct{}
	got  *clientCert
	err  error
}

// certificateTimeout bounds a lookup of the application's certificate, which may
// be in a device. One that takes longer is waited for no more, and until it has
// ended there is no other.
const certificateTimeout = 30 * time.Second

func newClientCerts(settings *Settings) *ClientCerts {
	i := &ClientCerts{settings: settings, source: settings.Certificate}
	i.current.Store(&clientCert{transport: &transport{settings: settings}})
	i.outer = bare{i}
	if settings.Wrap != nil {
		i.outer = settings.Wrap(i.outer)
	}
	return i
}

// refresh returns the certificate in use, after a look whether the certificate has
// changed. One that cannot be read anew leaves the old one in use.
func (i *ClientCerts) refresh(ctx context.Context) (*clientCert, error) {
	if i.source == nil {
		return i.current.Load(), nil
	}
	i.mu.Lock()
	l := i.lookup
	if l == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), certificateTimeout)
		l = &lookup{late: ctx.Done(), done: make(chan struct{})}
		i.lookup = l
		go func() {
			defer cancel()
			i.look(ctx, l)
		}()
	}
	i.mu.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("fdsclient: Application.Certificate: %w", context.Cause(ctx))
	case <-l.late:
		select {
		case <-l.done:
		default:
			return i.keepOld(fmt.Errorf("it was not given within %v", certificateTimeout))
		}
	}
	if l.err != nil {
		return i.keepOld(l.err)
	}
	return l.got, nil
}

// look asks the source and puts what it returns to use.
func (i *ClientCerts) look(ctx context.Context, l *lookup) {
	certificate, err := i.source(ctx)
	if err == nil && (certificate == nil || len(certificate.Certificate) == 0 || certificate.PrivateKey == nil) {
		err = errors.New("it holds no certificate with a private key")
	}
	i.mu.Lock()
	i.lookup = nil
	old := i.current.Load()
	if l.err = err; err == nil {
		i.failure = ""
		l.got = i.use(old, certificate)
	}
	i.mu.Unlock()
	if err == nil && l.got != old {
		old.transport.CloseIdleConnections()
		if old.thumbprint != "" {
			i.settings.OnReplaced()
		}
	}
	close(l.done)
}

// use returns the one with a certificate: the old one where it is the same,
// since its key may have moved all the same, as in a device's new session.
func (i *ClientCerts) use(old *clientCert, certificate *tls.Certificate) *clientCert {
	sum := sha256.Sum256(certificate.Certificate[0])
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	if old.thumbprint == thumbprint {
		old.certificate.Store(certificate)
		return old
	}
	next := &clientCert{thumbprint: thumbprint}
	next.certificate.Store(certificate)
	next.transport = &transport{settings: i.settings, certificate: next.certificate.Load}
	i.current.Store(next)
	return next
}

// keepOld returns the one of before, if any, in the place of one that cannot be
// had, and tells each reason once.
func (i *ClientCerts) keepOld(err error) (*clientCert, error) {
	err = fmt.Errorf("fdsclient: Application.Certificate: %w", err)
	old := i.current.Load()
	if old.thumbprint == "" {
		return nil, err
	}
	i.mu.Lock()
	told := i.failure == err.Error()
	i.failure = err.Error()
	i.mu.Unlock()
	if !told {
		i.settings.OnError(fmt.Errorf("%w; the certificate before goes on", err))
	}
	return old, nil
}

// inUse returns the certificate in use, after the first look at the certificate.
func (i *ClientCerts) inUse(ctx context.Context) (*clientCert, error) {
	if now := i.current.Load(); i.source == nil || now.thumbprint != "" {
		return now, nil
	}
	return i.refresh(ctx)
}

// Ready takes the first look at the application's certificate, where there is one.
func (i *ClientCerts) Ready(ctx context.Context) error {
	_, err := i.inUse(ctx)
	return err
}

// Thumbprint is that of the certificate in use (x5t#S256), to which tokens may be
// bound; "" without one. It takes no lock and no allocation.
func (i *ClientCerts) Thumbprint() string { return i.current.Load().thumbprint }

// Watch looks for a new certificate.
func (i *ClientCerts) Watch(ctx context.Context) {
	if _, err := i.refresh(ctx); err != nil && ctx.Err() == nil {
		i.settings.OnError(err)
	}
}

// RoundTrip sends a request with the certificate in use.
func (i *ClientCerts) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := i.outer.RoundTrip(r)
	if err != nil {
		return nil, shown(err)
	}
	i.nonces.learn(response)
	return response, nil
}

// bare is the transport without what was put around it.
type bare struct{ *ClientCerts }

// RoundTrip sends a request.
func (i bare) RoundTrip(r *http.Request) (*http.Response, error) {
	now, err := i.inUse(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, unsent{err}
	}
	return now.transport.RoundTrip(r)
}

// CloseIdleConnections closes connections that no request uses.
func (i *ClientCerts) CloseIdleConnections() { i.current.Load().transport.CloseIdleConnections() }
