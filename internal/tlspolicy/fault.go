package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
)

// IsFault reports whether a handshake failed for a reason that stays until someone changes
// something: a certificate that is not trusted, a port without TLS, no version in common, an
// alert but for one that says that something failed inside the server. What another wrote into
// a text is not looked at.
func IsFault(err error) bool {
	if err == nil {
		return false
	}
	if Distrusts(err) || errors.As(err, new(tls.RecordHeaderError)) {
		return true
	}
	if alert := Alert(err); alert != "" {
		return strings.HasPrefix(alert, "tls: ") && alert != "tls: internal error"
	}
	return isOurs(err)
}

// Alert returns the text of the alert by which the other side ended a TLS connection, such as
// "tls: access denied", or "" where it sent none: crypto/tls does not export their type.
func Alert(err error) string {
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return alert.Err.Error()
	}
	return ""
}

// isOurs reports whether we ended the handshake, by an error of crypto/tls, which has no types
// for most of them.
func isOurs(err error) bool {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			return isOurs(cause)
		}
		return false
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			if cause != nil && isOurs(cause) {
				return true
			}
		}
		return false
	}
	return strings.HasPrefix(err.Error(), "tls: ")
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
