// Package tlspolicy is the one place that says how this SDK speaks TLS: version
// 1.2 or newer (W2, M1), exactly 1.2 on request, certificates always verified,
// and errors that say what to do.
package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
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

// Roots gives the system's roots with the PEM certificates of extra added. ok is
// false when extra holds no certificate.
func Roots(extra []byte) (pool *x509.CertPool, ok bool) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	return pool, pool.AppendCertsFromPEM(extra)
}
