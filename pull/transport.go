package pull

import (
	"crypto/tls"
	"net/http"

	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// NewTransport makes a transport with this package's bounds: 10 s for the dial
// and for the TLS handshake, 64 KiB of response header. A connection whose peer is
// gone without a word is left within 20 s; how long a live one may take to answer is
// bounded by Config.Timeout, and elsewhere by the request's context. It speaks HTTP/2
// where the provider does. It uses the proxy that the environment names, HTTPS_PROXY or
// else ALL_PROXY, as http://host:port, https:// or socks5://, with user:password@ where the
// proxy wants them; not for what NO_PROXY names or for this machine. Where a name has
// several addresses, one that is silent is not waited for when another answers. Config is
// the TLS configuration, copied; nil means TLS 1.2 or newer and the system's roots.
func NewTransport(config *tls.Config) *http.Transport {
	if config == nil {
		config = tlspolicy.ClientConfig(nil, false)
	}
	return netpeer.NewTransport(config.Clone(), nil)
}

// transportFault returns how a transport can be seen to break the rules, or "".
func transportFault(transport http.RoundTripper) string {
	if t, ok := transport.(*http.Transport); ok && t.TLSClientConfig != nil {
		config := t.TLSClientConfig
		if err := tlspolicy.Verifies(config); err != nil {
			return err.Error()
		}
		if config.MinVersion != 0 && config.MinVersion < tls.VersionTLS12 || config.MaxVersion != 0 && config.MaxVersion < tls.VersionTLS12 {
			return "allows TLS older than 1.2, which FDS forbids (W2)"
		}
	}
	return ""
}

// proxyOf names the proxy that was in a request's way, or "".
func (c *Client) proxyOf(r *http.Request, way *netpeer.Way) string {
	host, told := way.Proxy()
	if t, ok := c.transport.(*http.Transport); ok && t.Proxy != nil && !told {
		proxy, _ := t.Proxy(r)
		return netpeer.HostOf(proxy)
	}
	return host
}

// CloseIdleConnections closes the transport's connections that no list uses, if
// it can; a shared transport's are those of all its clients.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
