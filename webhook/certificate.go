package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
)

// maxClientCert bounds the header Client-Cert, in bytes.
const maxClientCert = 16 << 10

// viaProxy reports whether a request came from one of the proxies.
func (r *Receiver) viaProxy(req *http.Request) bool {
	if len(r.cfg.Proxies) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	return err == nil && r.cfg.from(peer.Addr())
}

// encrypted refuses what did not come by TLS as FDS demands (W1, W2): to this process, or to a
// proxy before it.
func (r *Receiver) encrypted(req *http.Request, viaProxy bool) error {
	switch state := req.TLS; {
	case state == nil && !viaProxy:
		return plain("the request came without TLS (W1); serve with TLSConfig, or name the reverse proxy in Settings.Proxies")
	case viaProxy && !forwardedEncrypted(req.Header, state != nil):
		return plain("the request came to the proxy without TLS (W1), or the proxy does not say; have it set X-Forwarded-Proto")
	case state != nil && (state.Version < tls.VersionTLS12 || r.cfg.ExactlyTLS12 && state.Version != tls.VersionTLS12):
		return plain("the request came by " + tls.VersionName(state.Version) + " (W2); serve with TLSConfig")
	}
	return nil
}

// plain refuses a request that did not come by TLS as FDS demands.
func plain(why string) error {
	return &refusal{status: http.StatusForbidden, why: why, text: unencrypted}
}

// forwardedEncrypted reports whether a proxy says that it was asked by HTTPS, in X-Forwarded-Proto or
// in Forwarded (RFC 7239 section 5.4), and nowhere anything else; silent is what it means to say
// nothing.
func forwardedEncrypted(h http.Header, silent bool) bool {
	said, other := silent, false
	see := func(scheme string) {
		said = true
		other = other || !strings.EqualFold(strings.Trim(scheme, ` "`), "https")
	}
	for _, value := range h.Values("X-Forwarded-Proto") {
		for scheme := range strings.SplitSeq(value, ",") {
			see(scheme)
		}
	}
	for _, value := range h.Values("Forwarded") {
		for pair := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ',' || c == ';' }) {
			if name, scheme, _ := strings.Cut(pair, "="); strings.EqualFold(strings.TrimSpace(name), "proto") {
				see(scheme)
			}
		}
	}
	return said && !other
}

// possessed refuses a token that is bound to a certificate which the sender does not have
// (RFC 8705 section 3).
func (r *Receiver) possessed(req *http.Request, viaProxy bool, c *claims) error {
	if c.bound == nil {
		return nil
	}
	var der []byte
	switch {
	case viaProxy: // whose own certificate is not the sender's
		var ok bool
		if der, ok = clientCert(req.Header); !ok {
			return untrusted("it is bound to a certificate (RFC 8705), and the proxy names none in Client-Cert (RFC 9440)")
		}
	case req.TLS != nil && len(req.TLS.PeerCertificates) > 0:
		der = req.TLS.PeerCertificates[0].Raw
	default:
		return untrusted("it is bound to a certificate (RFC 8705), and the connection has none; TLSConfig asks for one with Settings.CertificateBound or ClientRoots")
	}
	if hash := sha256.Sum256(der); subtle.ConstantTimeCompare(hash[:], c.bound) != 1 {
		return untrusted("it is bound to another certificate than the sender's (RFC 8705)")
	}
	return nil
}

// clientCert reads the certificate that a proxy has put into a request (RFC 9440 section 2.2): one
// header, a byte sequence of structured fields.
func clientCert(h http.Header) (der []byte, ok bool) {
	values := h.Values("Client-Cert")
	if len(values) != 1 || len(values[0]) > maxClientCert {
		return nil, false
	}
	text := strings.Trim(values[0], " ")
	if len(text) < 3 || text[0] != ':' || text[len(text)-1] != ':' {
		return nil, false
	}
	der, err := base64.StdEncoding.DecodeString(text[1 : len(text)-1])
	return der, err == nil
}
