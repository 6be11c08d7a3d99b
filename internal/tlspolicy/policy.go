// Package tlspolicy is the one place that says how this SDK speaks TLS: version
// 1.2 or newer (W2, M1), exactly 1.2 on request, certificates always verified,
// and errors that say what to do.
package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/fds-sdk/fds-go/internal/textfile"
)

// ClientConfig makes a configuration for a connection that we open. Roots nil
// means the system's. Exactly12 pins TLS 1.2, for a provider or an audit that
// reads the FDS sentence literally.
func ClientConfig(roots *x509.CertPool, exactly12 bool) *tls.Config {
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if exactly12 {
		config.MaxVersion = tls.VersionTLS12
	}
	return config
}

// ServerConfig makes a configuration for connections that we accept. No session is resumed, so that
// a client certificate is looked at each time.
func ServerConfig(exactly12 bool) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
	if exactly12 {
		config.MaxVersion = tls.VersionTLS12
	}
	return config
}

// Roots returns the system's roots with the certificates of a PEM file added. The
// error says which of them cannot be read: one that is left out would be missed much
// later, by whoever meets a server of that authority's.
func Roots(file []byte) (*x509.CertPool, error) {
	blocks, err := textfile.PEM(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	certificates := 0
	for n, b := range blocks {
		switch b.Type {
		case "CERTIFICATE", "X509 CERTIFICATE":
		case "TRUSTED CERTIFICATE":
			return nil, fmt.Errorf("its PEM block %d is in a form of OpenSSL's own; convert it with: openssl x509 -in FILE", n+1)
		default:
			continue // keys, revocation lists
		}
		if b.Err != nil {
			return nil, b.Err
		}
		certificate, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("its PEM block %d is no usable certificate: %w", n+1, Shown(err))
		}
		pool.AddCert(certificate)
		certificates++
	}
	if certificates == 0 {
		return nil, errors.New("it holds no certificate in PEM form")
	}
	return pool, nil
}
