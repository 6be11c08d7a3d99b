package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
)

// IsFault reports whether a handshake failed for a reason that stays until someone changes
// something: a certificate that is not trusted, a port without TLS, no version in common, an
// alert.
func IsFault(err error) bool {
	return Distrusts(err) || errors.As(err, new(tls.RecordHeaderError)) || strings.Contains(err.Error(), "tls: ")
}

// Distrusts reports whether we refused the server in the handshake.
func Distrusts(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	return errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid) || errors.Is(err, http.ErrSchemeMismatch)
}
