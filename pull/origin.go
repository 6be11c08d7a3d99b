package pull

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

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
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "socks connect") || isProxyDial(err) || errors.As(err, &proxy) || tlspolicy.Distrusts(err)
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
