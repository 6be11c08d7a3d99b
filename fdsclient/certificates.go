package fdsclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/single"
	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// certificateWait is how long a caller waits for a certificate's file, which may be
// on a network, or be made to take long to decrypt.
const certificateWait = 30 * time.Second

// files are what one thing is made of. It is made anew when one of them has changed.
type files[T any] struct {
	names []string
	parse func([]*textfile.File) (*T, error)

	reading  single.Flight[*T] // only one reads at a time
	versions []textfile.Version
	known    atomic.Pointer[T] // nil: none yet
}

// now returns the thing as the files are at this moment.
func (f *files[T]) now(ctx context.Context) (*T, error) {
	return f.reading.Do(ctx, certificateWait, func() (*T, error) {
		var versions []textfile.Version
		for _, name := range f.names {
			version, err := textfile.Look(name)
			if err != nil {
				return nil, err
			}
			versions = append(versions, version)
		}
		if known := f.known.Load(); known != nil && slices.Equal(versions, f.versions) {
			return known, nil
		}
		var read []*textfile.File
		for _, name := range f.names {
			file, err := textfile.Read(name, certfile.MaxBytes)
			if err != nil {
				return nil, err
			}
			read = append(read, file)
		}
		made, err := f.parse(read)
		if err == nil {
			f.versions = versions
			f.known.Store(made)
		}
		return made, err
	})
}

// CertificateFiles returns the certificate chain and private key of PEM files, for
// Application.Certificate; both may be one file. The certificate is that of the key,
// wherever in the file it stands. They are read anew when one has changed. That other
// users of this machine may read the key is logged once.
func CertificateFiles(certificate, key string) func(context.Context) (*tls.Certificate, error) {
	var exposure atomic.Pointer[string] // not told yet
	both := files[tls.Certificate]{names: []string{certificate, key}}
	both.parse = func(read []*textfile.File) (*tls.Certificate, error) {
		loaded, err := certfile.PEM(read[0].Data, read[1].Data)
		if err != nil {
			return nil, fmt.Errorf("%s with %s: %w", certificate, key, err)
		}
		if why := read[1].OpenToOthers(key); why != "" && both.known.Load() == nil {
			exposure.Store(&why)
		}
		return loaded, nil
	}
	return func(ctx context.Context) (*tls.Certificate, error) {
		loaded, err := both.now(ctx)
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

// RootsFile returns the system's authorities with those of a PEM file added, for
// Provider.Roots. The file is read anew when it has changed; while it cannot be read,
// or holds none that can be, those read before are given.
func RootsFile(path string) func(context.Context) (*x509.CertPool, error) {
	file := files[x509.CertPool]{names: []string{path}, parse: func(read []*textfile.File) (*x509.CertPool, error) {
		pool, err := tlspolicy.Roots(read[0].Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return pool, nil
	}}
	return func(ctx context.Context) (*x509.CertPool, error) {
		pool, err := file.now(ctx)
		if before := file.known.Load(); err != nil && before != nil {
			return before, nil
		}
		if err != nil {
			return nil, fmt.Errorf("fdsclient: roots: %w", err)
		}
		return pool, nil
	}
}
