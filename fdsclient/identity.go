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
	thumbprint  string // x5t#S256; "" without a certificate
	transport   *transport
	certificate atomic.Pointer[tls.Certificate] // nil: the application has none
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
	mu      sync.Mutex // guards what follows; never held while the source is asked
	lookup  *lookup    // under way
	failure string     // the last that was told
}

// lookup is a question to the source under way, which any number wait for.
type lookup struct {
	late <-chan struct{} // closed when it takes too long
	done chan struct{}
	got  *identity
	err  error
}

// certificateTimeout bounds a lookup of the application's certificate, which may
// be in a device. One that takes longer is waited for no more, and until it has
// ended there is no other.
const certificateTimeout = 30 * time.Second

func newIdentities(p *Provider, a *Application) *identities {
	i := &identities{provider: p, source: a.Certificate}
	i.current.Store(&identity{transport: &transport{provider: p}})
	return i
}

// refresh gives the identity in use, after a look whether the certificate has
// changed. One that cannot be read anew leaves the old one in use.
func (i *identities) refresh(ctx context.Context) (*identity, error) {
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
			return i.goOn(fmt.Errorf("it was not given within %v", certificateTimeout))
		}
	}
	if l.err != nil {
		return i.goOn(l.err)
	}
	return l.got, nil
}

// look asks the source and puts what it gives to use.
func (i *identities) look(ctx context.Context, l *lookup) {
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
			i.onReplaced()
		}
	}
	close(l.done)
}

// use gives the identity with a certificate: the old one where it is the same,
// since its key may have moved all the same, as in a device's new session.
func (i *identities) use(old *identity, certificate *tls.Certificate) *identity {
	sum := sha256.Sum256(certificate.Certificate[0])
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	if old.thumbprint == thumbprint {
		old.certificate.Store(certificate)
		return old
	}
	next := &identity{thumbprint: thumbprint}
	next.certificate.Store(certificate)
	next.transport = &transport{provider: i.provider, certificate: next.certificate.Load}
	i.current.Store(next)
	return next
}

// goOn gives the identity of before, if any, in the place of one that cannot be
// had, and tells each reason once.
func (i *identities) goOn(err error) (*identity, error) {
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
		i.onError(fmt.Errorf("%w; the certificate before goes on", err))
	}
	return old, nil
}

// inUse gives the identity in use, after the first look at the certificate.
func (i *identities) inUse(ctx context.Context) (*identity, error) {
	if now := i.current.Load(); i.source == nil || now.thumbprint != "" {
		return now, nil
	}
	return i.refresh(ctx)
}

// watch looks for a new certificate.
func (i *identities) watch(ctx context.Context) {
	if _, err := i.refresh(ctx); err != nil && ctx.Err() == nil {
		i.onError(err)
	}
}

// RoundTrip sends a request with the identity in use.
func (i *identities) RoundTrip(r *http.Request) (*http.Response, error) {
	now, err := i.inUse(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
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
