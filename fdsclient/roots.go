package fdsclient

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

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
