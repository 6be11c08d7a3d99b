package fdsclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"

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
