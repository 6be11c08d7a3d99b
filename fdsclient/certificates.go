package fdsclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/single"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// certificatePatience is how long a caller waits for a certificate's file, which may be
// on a network, or be made to take long to decrypt.
const certificatePatience = 30 * time.Second

// CertificateFiles returns the certificate chain and private key of PEM files, for
// Application.Certificate; both may be one file. The certificate is that of the key,
// wherever in the file it stands. They are read anew when one has changed. That other
// users of this machine may read the key is logged once.
func CertificateFiles(certificate, key string) func(context.Context) (*tls.Certificate, error) {
	type read struct {
		versions [2]textfile.Version
		loaded   *tls.Certificate
	}
	var (
		reading  single.Flight[*tls.Certificate]
		known    read
		exposure atomic.Pointer[string] // not told yet
	)
	load := func() (*tls.Certificate, error) {
		var now read
		for n, name := range []string{certificate, key} {
			var err error
			if now.versions[n], err = textfile.Look(name); err != nil {
				return nil, err
			}
		}
		if known.loaded != nil && known.versions == now.versions {
			return known.loaded, nil
		}
		chain, err := textfile.Read(certificate, certfile.MaxBytes)
		if err != nil {
			return nil, err
		}
		private, err := textfile.Read(key, certfile.MaxBytes)
		if err != nil {
			return nil, err
		}
		if now.loaded, err = certfile.PEM(chain.Data, private.Data); err != nil {
			return nil, fmt.Errorf("%s with %s: %w", certificate, key, err)
		}
		if why := private.OpenToOthers(key); why != "" && known.loaded == nil {
			exposure.Store(&why)
		}
		known = now // only one reads at a time
		return known.loaded, nil
	}
	return func(ctx context.Context) (*tls.Certificate, error) {
		loaded, err := reading.Do(ctx, certificatePatience, load)
		if warn, ok := ctx.Value(warningKey{}).(func(error)); ok && err == nil {
			if why := exposure.Swap(nil); why != nil {
				warn(fmt.Errorf("%s; it is used all the same", *why))
			}
		}
		return loaded, err
	}
}

// warningKey is of a context's func(error) that is told what is wrong with a source
// that returns its certificate all the same.
type warningKey struct{}

// ownersCertificate asks the source, which may be the caller's own code.
func (c *Client) ownersCertificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	ctx = context.WithValue(ctx, warningKey{}, func(err error) { c.certificateFailed(owner, err) })
	certificate, err := contain.Call("Config.Certificates", func() (*tls.Certificate, error) { return c.cfg.Certificates(ctx, owner) })
	if err != nil {
		return nil, err
	}
	if certificate == nil || len(certificate.Certificate) == 0 {
		return nil, fmt.Errorf("fdsclient: %w: Config.Certificates gave none for %s", fds.ErrNoCertificate, owner.SubscriptionID)
	}
	return contain.Certificate(certificate), nil
}

// CertificateExpiry says until when an owner's certificate is valid: the first
// moment at which one of its chain is not.
func (c *Client) CertificateExpiry(ctx context.Context, owner fds.OwnerKey) (time.Time, error) {
	if c.cfg.Certificates == nil {
		return time.Time{}, fmt.Errorf("fdsclient: %w: Config.Certificates is missing", fds.ErrNoCertificate)
	}
	certificate, err := c.ownersCertificate(ctx, owner)
	if err != nil {
		return time.Time{}, err
	}
	var first time.Time
	for _, der := range certificate.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return time.Time{}, errors.New("fdsclient: certificate: it cannot be read")
		}
		if first.IsZero() || parsed.NotAfter.Before(first) {
			first = parsed.NotAfter
		}
	}
	return first, nil
}
