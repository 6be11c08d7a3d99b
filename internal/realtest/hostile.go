package realtest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"unicode"
)

// forged is what a log line must not hold as it is.
const forged = "level=ERROR msg=forged"

// HostileServer listens with TLS on localhost, at the port that it returns. Its certificate, of an
// authority in the pool, is for other names, whose 52 KB hold escape sequences and forged log
// lines.
func HostileServer(t testing.TB) (port string, roots *x509.CertPool) {
	t.Helper()
	ca := NewCA(t)
	names := []string{"\x1b[2J\x1b]0;owned\x07", "a\r\n" + forged, "\x7f\x00b", strings.Repeat("long.", 10_400) + "example"}
	config := &tls.Config{Certificates: []tls.Certificate{ca.IssueCertificate("\x1b[31mred", CertificateOptions{Hosts: names}).TLS}}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatalf("realtest: hostile server: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // which the client ends
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatalf("realtest: hostile server: %v", err)
	}
	return port, ca.Pool()
}

// CheckHostileNames checks the error of a connection to a HostileServer: that it says what is
// wrong, in a text that can be shown, and that the certificate is found in it.
func CheckHostileNames(t testing.TB, err error) {
	t.Helper()
	var wrong x509.HostnameError
	if !errors.As(err, &wrong) || len(wrong.Certificate.DNSNames) != 4 {
		t.Fatalf("not the error of a certificate for other names: %v", err)
	}
	CheckShown(t, err.Error())
}

// CheckShown checks that a text about a HostileServer is of one line, short and plain.
func CheckShown(t testing.TB, text string) {
	t.Helper()
	if len(text) > 1024 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d bytes: %q", len(text), text[:min(len(text), 1024)])
	}
}
