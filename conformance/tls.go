package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// offer is how TLS is offered to a server, once.
type offer struct {
	// version is offered alone, with every cipher suite that there is, so that a server of the
	// old kind is not mistaken for one that refuses the version. 0: as the SDK does it.
	version uint16
	// certificate is the client's; nil: none, also where the server asks for one.
	certificate *tls.Certificate
	alpn        []string
	// say is sent once the handshake is over. Empty: nothing, and the server has some moments
	// to refuse, since TLS 1.3 is over for a client before the server has judged its certificate.
	say string
}

// shake is what came of it.
type shake struct {
	reached  bool                // the network connection was there
	asked    bool                // the server asked for a client certificate
	version  uint16              // that the server chose, also where the handshake failed after that; 0: none
	suite    uint16              // 0 where the handshake did not end
	chain    []*x509.Certificate // that the server showed, trusted or not
	verified bool                // and it is trusted, and for this host
	done     bool                // the handshake ended, and nothing that was read says otherwise
	answer   []byte              // to what was said, cut
	err      error               // why not, or why the reading after it ended early
}

const (
	shakeTimeout = 10 * time.Second
	shakeSettle  = 500 * time.Millisecond // besides two more round trips
	shakeAnswer  = 4 << 10
)

// shake speaks TLS with host at the address host:port, and ends the connection. A server that takes
// HTTP/2 alone is spoken to in that.
func (r *run) shake(ctx context.Context, address, host string, o offer) shake {
	s := r.shakeOnce(ctx, address, host, o)
	if slices.Equal(o.alpn, http1(r)) && tlspolicy.Alert(s.err) == "tls: no application protocol" {
		o.alpn, o.say = []string{"h2"}, sayHTTP2
		return r.shakeOnce(ctx, address, host, o)
	}
	return s
}

// sayHTTP2 begins HTTP/2 with empty SETTINGS, which the server answers (RFC 9113 section 3.4), and
// ends it with GOAWAY.
const sayHTTP2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
	"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

func (r *run) shakeOnce(ctx context.Context, address, host string, o offer) (s shake) {
	config, err := r.tlsConfig(ctx, host)
	if err != nil {
		s.err = err
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, shakeTimeout)
	defer cancel()
	raw, err := r.dial(ctx, address)
	if err != nil {
		s.err = err
		return s
	}
	s.reached = true
	heard := &overheard{Conn: raw}
	defer func() { _ = heard.Close() }() // it was for this alone
	defer context.AfterFunc(ctx, func() { _ = heard.SetDeadline(time.Unix(1, 0)) })()

	config.NextProtos = slices.Clone(o.alpn)
	if o.version != 0 {
		config.MinVersion, config.MaxVersion = o.version, o.version
		for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			config.CipherSuites = append(config.CipherSuites, suite.ID)
		}
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		s.asked = true
		if o.certificate != nil {
			return o.certificate, nil
		}
		return new(tls.Certificate), nil
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		s.version, s.chain, s.verified = state.Version, state.PeerCertificates, true
		return nil
	}
	began := time.Now()
	conn := tls.Client(heard, config)
	err = conn.HandshakeContext(ctx)
	if s.version == 0 {
		s.version = heard.version()
	}
	var distrusted *tls.CertificateVerificationError
	if errors.As(err, &distrusted) {
		s.chain = distrusted.UnverifiedCertificates
	}
	if err != nil {
		s.err = err
		return s
	}
	s.suite = conn.ConnectionState().CipherSuite
	if o.say != "" {
		if _, err := io.WriteString(conn, o.say); err != nil {
			s.err = err // judged below by what is read: an alert says more
		}
	} else {
		_ = heard.SetReadDeadline(time.Now().Add(2*time.Since(began) + shakeSettle))
	}
	s.answer, err = readSome(conn, o.say != "" && o.say != sayHTTP2)
	switch {
	case o.say == "" && len(s.answer) == 0 && errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		s.done = true // it waits
	case len(s.answer) > 0:
		s.done, s.err = true, nil
	case err != nil && (s.err == nil || tlspolicy.Alert(err) != ""):
		s.err = err
	}
	return s
}

// readSome reads what is there: all of a short answer that is waited for, else the first piece.
func readSome(conn net.Conn, whole bool) ([]byte, error) {
	buffer := make([]byte, shakeAnswer)
	if !whole {
		n, err := conn.Read(buffer)
		return buffer[:n], err
	}
	n, err := io.ReadFull(conn, buffer)
	if n > 0 {
		err = nil
	}
	return buffer[:n], err
}

// accepts reports whether the server went on with a version that was offered.
func (s *shake) accepts(version uint16) bool { return s.version == version }

// refuses reports whether the server ended a handshake before it chose a version that was offered.
// That it did not answer in time is no refusal.
func (s *shake) refuses() bool {
	return s.reached && !s.done && s.version == 0 && !timedOut(s.err)
}

// saw is the shake in words.
func (s *shake) saw() string {
	var text []string
	switch {
	case s.version != 0 && s.suite != 0:
		text = append(text, fmt.Sprintf("the server chose %s with %s", tls.VersionName(s.version), tls.CipherSuiteName(s.suite)))
	case s.version != 0:
		text = append(text, "the server chose "+tls.VersionName(s.version))
	}
	if s.asked {
		text = append(text, "it asked for a client certificate")
	}
	switch {
	case s.err != nil:
		text = append(text, tlspolicy.Shown(s.err).Error())
	case s.done:
		text = append(text, "the connection held")
	}
	return strings.Join(text, "; ")
}

// timedOut reports whether nobody answered in time.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// overheard keeps the beginning of what a server says: its choice of a version stands in clear
// in there, and crypto/tls does not tell it when the handshake fails later.
type overheard struct {
	net.Conn
	first []byte
}

func (c *overheard) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if missing := serverHelloVersion + 2 - len(c.first); missing > 0 {
		c.first = append(c.first, p[:min(n, missing)]...)
	}
	return n, err
}

// Where things are in a record that begins with a ServerHello (RFC 8446 sections 4.1.3 and 5.1).
const (
	recordHandshake    = 22
	serverHello        = 2
	serverHelloType    = 5
	serverHelloVersion = 9
)

// version returns that of the ServerHello, or 0. It is 1.2 also for 1.3.
func (c *overheard) version() uint16 {
	if len(c.first) < serverHelloVersion+2 || c.first[0] != recordHandshake || c.first[serverHelloType] != serverHello {
		return 0
	}
	return uint16(c.first[serverHelloVersion])<<8 | uint16(c.first[serverHelloVersion+1])
}
