package webhook_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/webhook"
)

// certified has the token be bound to a certificate.
func certified(der []byte, more map[string]any) map[string]any {
	hash := sha256.Sum256(der)
	cnf := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(hash[:])}
	for name, value := range more {
		cnf[name] = value
	}
	return map[string]any{"cnf": cnf}
}

// shows has the request come over a connection with a client certificate.
func shows(der []byte) func(*http.Request) {
	return func(r *http.Request) {
		r.TLS.PeerCertificates = nil
		if der != nil {
			r.TLS.PeerCertificates = []*x509.Certificate{{Raw: der}}
		}
	}
}

// from has the request come from an address.
func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

// told has a request name a certificate as a proxy does.
func told(der []byte) func(*http.Request) { return with("Client-Cert", inField(der)) }

func inField(der []byte) string { return ":" + base64.StdEncoding.EncodeToString(der) + ":" }

func TestAttackABoundTokenFromWhoDoesNotHaveItsCertificateIsRefused(t *testing.T) {
	mine, others := []byte("the sender's certificate"), []byte("another's certificate")
	const (
		other = "it is bound to another certificate"
		none  = "and the connection has none"
		what  = "it is bound (cnf) to something else"
	)
	bound := func(cnf any) func(s *site) func(*http.Request) { return claiming(map[string]any{"cnf": cnf}) }
	good := func(s *site) func(*http.Request) { return both(claiming(certified(mine, nil))(s), shows(mine)) }
	hash := sha256.Sum256(mine)
	text := base64.RawURLEncoding.EncodeToString(hash[:])
	attacks := []attack{
		{name: "another certificate", status: 401, why: other, change: func(*site) func(*http.Request) { return shows(others) }},
		{name: "no certificate", status: 401, why: none, change: func(*site) func(*http.Request) { return shows(nil) }},
		{name: "the certificate in Client-Cert from who is no proxy", status: 401, why: none, change: func(*site) func(*http.Request) { return both(shows(nil), told(mine)) }},
		{name: "the certificate in Client-Cert, and another on the connection", status: 401, why: other, change: func(*site) func(*http.Request) { return both(shows(others), told(mine)) }},
		{name: "the certificate second in the chain", status: 401, why: other, change: func(*site) func(*http.Request) {
			return func(r *http.Request) { r.TLS.PeerCertificates = []*x509.Certificate{{Raw: others}, {Raw: mine}} }
		}},
		{name: "bound by DPoP", status: 401, why: what, change: bound(map[string]any{"jkt": text})},
		{name: "bound by DPoP besides", status: 401, why: what, change: bound(map[string]any{"x5t#S256": text, "jkt": text})},
		{name: "cnf that is empty", status: 401, why: what, change: bound(map[string]any{})},
		{name: "cnf that is null", status: 401, why: "what it is bound to (cnf)", change: bound(rawJSON("null"))},
		{name: "cnf that is a text", status: 401, why: "what it is bound to (cnf)", change: bound(text)},
		{name: "cnf that names two", status: 401, why: "each name is there once", change: func(s *site) func(*http.Request) {
			return bearing(s.compact(goodHeader, `{"cnf":{"x5t#S256":"`+text+`","x5t#S256":"`+text+`"},`+s.payload(nil)[1:]))
		}},
		{name: "an empty hash", status: 401, why: what, change: bound(map[string]any{"x5t#S256": ""})},
		{name: "a hash that is cut", status: 401, why: what, change: bound(map[string]any{"x5t#S256": text[:20]})},
		{name: "a hash in hexadecimal", status: 401, why: what, change: bound(map[string]any{"x5t#S256": strings.Repeat("ab", 32)})},
		{name: "a hash by SHA-1", status: 401, why: what, change: bound(map[string]any{"x5t": text[:27]})},
	}
	refused(t, nil, good, attacks)
	refused(t, func(c *webhook.Config) { c.CertificateBound = true }, good, []attack{
		{name: "a token that is bound to nothing", status: 401, why: "it is bound to no certificate", change: claiming(nil)},
	})
}

func TestAttackWhatIsNoProxyOfOursNamesNoCertificate(t *testing.T) {
	mine, others, proxys := []byte("the sender's certificate"), []byte("another's certificate"), []byte("the proxy's certificate")
	proxied := func(c *webhook.Config) {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("fd00::7/128")}
	}
	bare := func(r *http.Request) { r.TLS = nil }
	const (
		none  = "the proxy names none in Client-Cert"
		plain = "the request came to the proxy without TLS"
		naked = "the request came without TLS"
	)
	good := func(s *site) func(*http.Request) {
		return both(bare, from("10.0.0.7:1234"), told(mine), with("X-Forwarded-Proto", "https"), claiming(certified(mine, nil))(s))
	}
	adding := func(changes ...func(*http.Request)) func(s *site) func(*http.Request) {
		return func(*site) func(*http.Request) { return both(changes...) }
	}
	overTLS := func(r *http.Request) {
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{{Raw: proxys}}}
	}
	refused(t, proxied, good, []attack{
		{name: "from who is no proxy", status: 403, why: naked, change: adding(from("10.0.0.8:1234"))},
		{name: "from who is no proxy, and says that it forwards for one", status: 403, why: naked, change: adding(from("10.0.0.8:1234"), with("X-Forwarded-For", "10.0.0.7"), with("X-Real-Ip", "10.0.0.7"), with("Forwarded", "for=10.0.0.7;proto=https"))},
		{name: "from no address", status: 403, why: naked, change: adding(from("@"))},
		{name: "from another zone's address", status: 403, why: naked, change: adding(from("[fd00::7%eth1]:1234"))},
		{name: "Client-Cert over TLS from who is no proxy", status: 401, why: "it is bound to another certificate", change: adding(overTLS, from("10.0.0.8:1234"))},
		{name: "none in Client-Cert", status: 401, why: none, change: adding(without("Client-Cert"))},
		{name: "Client-Cert twice", status: 401, why: none, change: adding(plus("Client-Cert", inField(mine)))},
		{name: "Client-Cert twice in one", status: 401, why: none, change: adding(with("Client-Cert", inField(mine)+", "+inField(mine)))},
		{name: "Client-Cert of another", status: 401, why: "it is bound to another certificate", change: adding(told(others))},
		{name: "Client-Cert without colons", status: 401, why: none, change: adding(with("Client-Cert", strings.Trim(inField(mine), ":")))},
		{name: "Client-Cert in quotation marks", status: 401, why: none, change: adding(with("Client-Cert", `"`+strings.Trim(inField(mine), ":")+`"`))},
		{name: "Client-Cert with a parameter", status: 401, why: none, change: adding(with("Client-Cert", inField(mine)+";a=1"))},
		{name: "Client-Cert empty", status: 401, why: none, change: adding(with("Client-Cert", "::"))},
		{name: "Client-Cert of no base64", status: 401, why: none, change: adding(with("Client-Cert", ":****:"))},
		{name: "Client-Cert too long", status: 401, why: none, change: adding(with("Client-Cert", inField(make([]byte, 16<<10))))},
		{name: "the proxy's own certificate is none of the sender's", status: 401, why: none, change: func(s *site) func(*http.Request) {
			return both(overTLS, without("Client-Cert"), claiming(certified(proxys, nil))(s))
		}},
		{name: "the proxy was asked by HTTP", status: 403, why: plain, change: adding(with("X-Forwarded-Proto", "http"))},
		{name: "the proxy was asked by HTTP, and says so behind another", status: 403, why: plain, change: adding(with("X-Forwarded-Proto", "https, http"))},
		{name: "the proxy was asked by HTTP, and says so twice", status: 403, why: plain, change: adding(plus("X-Forwarded-Proto", "http"))},
		{name: "the proxy was asked by HTTP, and says so as RFC 7239 does", status: 403, why: plain, change: adding(with("Forwarded", `for=192.0.2.1;Proto="http"`))},
		{name: "the second of two proxies was asked by HTTP", status: 403, why: plain, change: adding(with("Forwarded", `for=192.0.2.1;proto=https, for=10.1.1.1; proto=http`))},
		{name: "the proxy says nothing", status: 403, why: plain, change: adding(without("X-Forwarded-Proto"))},
		{name: "the proxy was asked by HTTP, and comes by TLS itself", status: 403, why: plain, change: adding(overTLS, with("X-Forwarded-Proto", "http"))},
		{name: "an old TLS to the proxy's own", status: 403, why: "TLS 1.1", change: adding(func(r *http.Request) { r.TLS = &tls.ConnectionState{Version: tls.VersionTLS11} })},
	})
}

func TestAttackAConnectionThatIsNotEncryptedAsFDSDemandsIsRefused(t *testing.T) {
	version := func(v uint16) func(s *site) func(*http.Request) {
		return func(*site) func(*http.Request) {
			return func(r *http.Request) { r.TLS = &tls.ConnectionState{Version: v} }
		}
	}
	bare := func(r *http.Request) { r.TLS = nil }
	attacks := []attack{
		{name: "plain HTTP", status: 403, why: "without TLS (W1)", change: func(*site) func(*http.Request) { return bare }},
		{name: "plain HTTP that says it was HTTPS", status: 403, why: "without TLS (W1)", change: func(*site) func(*http.Request) {
			return both(bare, with("X-Forwarded-Proto", "https"), with("Forwarded", "proto=https"), with("X-Forwarded-Ssl", "on"))
		}},
		{name: "TLS 1.0", status: 403, why: "(W2)", change: version(tls.VersionTLS10)},
		{name: "TLS 1.1", status: 403, why: "(W2)", change: version(tls.VersionTLS11)},
		{name: "SSL 3.0", status: 403, why: "(W2)", change: version(0x0300)},
	}
	refused(t, nil, version(tls.VersionTLS13), attacks)
	refused(t, func(c *webhook.Config) { c.ExactlyTLS12 = true }, version(tls.VersionTLS12), []attack{
		{name: "TLS 1.3 where 1.2 is pinned", status: 403, why: "(W2)", change: version(tls.VersionTLS13)},
	})
}
