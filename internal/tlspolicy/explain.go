package tlspolicy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Explain returns one sentence on why a dial or a handshake failed and what to do
// about it, or "" when it knows nothing better than the error's own text.
func Explain(err error) string {
	if hint := explainCertificate(err); hint != "" {
		return hint
	}
	if hint := explainAlert(err); hint != "" {
		return hint
	}
	var (
		record tls.RecordHeaderError
		dns    *net.DNSError
	)
	switch {
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"): // net/http replaces the one by the other
		return "the server does not speak TLS on this port; check the URL's scheme and port"
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return fmt.Sprintf("the host name %q does not resolve; check the URL for a typing error", dns.Name)
		}
		return "the name service does not answer; check this machine's network"
	case strings.Contains(err.Error(), "tls: server selected unsupported protocol version"):
		return alerts["tls: protocol version not supported"]
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there; check host and port and that the server runs"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the host cannot be reached from this network"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "the server did not answer in time; check host, port and firewalls"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the server closed the connection without an answer"
	}
	return ""
}

func explainCertificate(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that is not trusted here; have its CA certificate trusted, or check that this is the right server"
	case errors.As(err, &hostname):
		return fmt.Sprintf("the server's certificate is not for %q; check the host name in the URL", hostname.Host)
	case errors.As(err, &invalid):
		if invalid.Reason != x509.Expired {
			return "the server's certificate is not valid for a server; its operator must replace it"
		}
		if invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore) {
			return fmt.Sprintf("the server's certificate is valid only from %s; check this machine's clock, or its operator must replace it", invalid.Cert.NotBefore.UTC().Format(time.RFC3339))
		}
		if invalid.Cert != nil {
			return fmt.Sprintf("the server's certificate expired on %s; check this machine's clock, or its operator must renew it", invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
		}
		return "the server's certificate has expired or is not yet valid; check this machine's clock"
	}
	return ""
}

// alerts are those of RFC 8446 section 6.2 by which a server refuses a client,
// by the texts that they have in crypto/tls: it exports no type for them.
var alerts = map[string]string{
	"tls: bad certificate":                "the server refused the client certificate; check that its administrator issued it",
	"tls: unknown certificate":            "the server refused the client certificate; check that its administrator issued it",
	"tls: revoked certificate":            "the server says that the client certificate was revoked; ask its administrator for a new one",
	"tls: expired certificate":            "the server says that the client certificate has expired; renew it, and check this machine's clock",
	"tls: unknown certificate authority":  "the server does not know the authority that signed the client certificate; use the one that its administrator issued",
	"tls: access denied":                  "the server denied access to this client certificate",
	"tls: certificate required":           "the server asks for a client certificate and none was configured",
	"tls: protocol version not supported": "the server offers no TLS version that is allowed here (1.2 or newer, which FDS demands, or exactly 1.2 where that was configured); its operator must enable one",
	"tls: no application protocol":        "the server does not speak any application protocol that was offered (ALPN), or wants one",
	"tls: unrecognized name":              "the server does not know the host name of the URL; check it",
	"tls: internal error":                 "something failed inside the server, as when it or what stands before it starts again; its operator may look into its log",
	"tls: handshake failure":              "the server refused the TLS handshake; it may want a client certificate, or accept none of the ciphers offered",
}

func explainAlert(err error) string { return alerts[Alert(err)] }
