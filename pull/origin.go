package pull

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/fds-sdk/fds-go/internal/netpeer"
)

// isTLSFault says that the handshake failed for a reason that stays until someone
// changes a certificate or a setting.
func isTLSFault(err error) bool {
	return isDistrust(err) || strings.Contains(err.Error(), "tls: ")
}

// isDistrust says that we refused the server in the handshake.
func isDistrust(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	return errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid) || errors.Is(err, http.ErrSchemeMismatch)
}

// isProxyDial reports whether no connection came about to a proxy.
func isProxyDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "proxyconnect"
}

// unsent says that no connection was made, so that nothing can have arrived.
func unsent(err error) bool {
	var (
		op    *net.OpError
		proxy *netpeer.ProxyError
	)
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "socks connect") || isProxyDial(err) || errors.As(err, &proxy) || isDistrust(err)
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == "https" && b.Scheme == "https" && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if u.Port() == "" {
		return "443"
	}
	return u.Port()
}

// origin is for error texts, cut, where %q escapes it.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
