package fdsclient

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"sync"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// RootsFile gives the system's authorities with those of a PEM file added, for
// Provider.Roots. The file is read anew when it has changed; while it cannot be read,
// or holds no certificate, those read before are given.
func RootsFile(path string) func(context.Context) (*x509.CertPool, error) {
	var (
		mu    sync.Mutex
		known *x509.CertPool
		read  fileVersion
	)
	return func(context.Context) (*x509.CertPool, error) {
		mu.Lock()
		defer mu.Unlock()
		pool, version, err := readRoots(path, read)
		if pool != nil {
			known, read = pool, version
		}
		if known == nil {
			return nil, err
		}
		return known, nil
	}
}

// readRoots gives no pool when the file is of the known version.
func readRoots(path string, known fileVersion) (*x509.CertPool, fileVersion, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, known, fmt.Errorf("fdsclient: roots: %w", err)
	}
	version := fileVersion{info.Size(), info.ModTime()}
	if version == known {
		return nil, known, nil
	}
	data, err := readBounded(path)
	if err != nil {
		return nil, known, fmt.Errorf("fdsclient: roots: %w", err)
	}
	pool, ok := tlspolicy.Roots(data)
	if !ok {
		return nil, known, fmt.Errorf("fdsclient: roots: %s holds no certificate in PEM form", path)
	}
	return pool, version, nil
}
