package fdsclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

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
