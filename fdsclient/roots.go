package fdsclient

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync/atomic"

	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/single"
	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// RootsFile returns the system's authorities with those of a PEM file added, for
// Provider.Roots. The file is read anew when it has changed; while it cannot be read,
// or holds none that can be, those read before are given.
func RootsFile(path string) func(context.Context) (*x509.CertPool, error) {
	var (
		reading single.Flight[*x509.CertPool]
		version textfile.Version
		known   atomic.Pointer[x509.CertPool]
	)
	load := func() (*x509.CertPool, error) {
		now, err := textfile.Look(path)
		if err != nil {
			return nil, err
		}
		if pool := known.Load(); pool != nil && now == version {
			return pool, nil
		}
		file, err := textfile.Read(path, certfile.MaxBytes)
		if err != nil {
			return nil, err
		}
		pool, err := tlspolicy.Roots(file.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		version = file.Version // only one reads at a time
		known.Store(pool)
		return pool, nil
	}
	return func(ctx context.Context) (*x509.CertPool, error) {
		pool, err := reading.Do(ctx, certificatePatience, load)
		if err == nil {
			return pool, nil
		}
		if before := known.Load(); before != nil {
			return before, nil
		}
		return nil, fmt.Errorf("fdsclient: roots: %w", err)
	}
}
