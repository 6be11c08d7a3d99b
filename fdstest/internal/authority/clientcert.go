package authority

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// certificateOf returns the certificate that a request came with. Its key was
// proven by the handshake, and nothing else.
func certificateOf(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// thumbprintOf is x5t#S256 (RFC 8705 section 3.1), or "" without a certificate.
func thumbprintOf(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkCertificate authenticates a client of the TLS methods (RFC 8705 section
// 2).
func (s *Server) checkCertificate(r *http.Request, client Client) *protocolError {
	refuse := func(format string, args ...any) *protocolError {
		return invalidClient("", "the client certificate "+fmt.Sprintf(format, args...))
	}
	certificate := certificateOf(r)
	if certificate == nil {
		return refuse("is missing: %s goes through the endpoints of mtls_endpoint_aliases", client.Method)
	}
	if client.Method == MethodSelfSignedTLS {
		switch now := time.Now(); {
		case !slices.ContainsFunc(client.Certificates, certificate.Equal):
			return refuse("is not one that is registered for the client")
		case now.Before(certificate.NotBefore) || now.After(certificate.NotAfter):
			return refuse("is valid from %s to %s only", certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339))
		}
		return nil
	}
	intermediates := x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err := certificate.Verify(x509.VerifyOptions{
		Roots: s.cfg.Roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return refuse("does not verify: %.200q", err)
	}
	if subject := certificate.Subject.String(); subject != client.Subject {
		return refuse("is for %.200q, the client is registered for %.200q", subject, client.Subject)
	}
	return nil
}
