package pull

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// NewTransport makes a transport with this package's bounds: 10 s for the dial
// and for the TLS handshake, 64 KiB of response header. A connection whose peer is
// gone without a word is left within 20 s; how long a live one may take to answer is
// bounded by Config.Timeout, and elsewhere by the request's context. It speaks HTTP/2
// where the provider does, and uses the proxy that the environment names. Config is
// the TLS configuration, copied; nil means TLS 1.2 or newer and the system's roots.
func NewTransport(config *tls.Config) *http.Transport {
	if config == nil {
		config = tlspolicy.ClientConfig(nil, false)
	}
	return netpeer.NewTransport(config.Clone())
}

// checkTransport refuses what can be seen to break the rules.
func checkTransport(transport http.RoundTripper) error {
	if t, ok := transport.(*http.Transport); ok && t.TLSClientConfig != nil {
		config := t.TLSClientConfig
		if err := tlspolicy.Verifies(config); err != nil {
			return fmt.Errorf("pull: configuration: Transport %w", err)
		}
		if config.MinVersion != 0 && config.MinVersion < tls.VersionTLS12 || config.MaxVersion != 0 && config.MaxVersion < tls.VersionTLS12 {
			return errors.New("pull: configuration: Transport allows TLS older than 1.2, which FDS forbids (W2)")
		}
	}
	return nil
}

// CloseIdleConnections closes the transport's connections that no list uses, if
// it can; a shared transport's are those of all its clients.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
