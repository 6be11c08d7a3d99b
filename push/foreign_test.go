package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// What is not MQTT 5.0 is named at once, also where the server keeps the connection open.
func TestWhatIsNotMQTT5IsNamedWithinASecond(t *testing.T) {
	owner, root := newOwner()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: []fdstest.Owner{{Spelling: root.ClientID()}}})
	certificate, err := p.OwnerCertificate(p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		fault fdstest.Fault
		says  []string
		class error
	}{
		"a web server":                  {fdstest.AnswerForeign("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n", p.Owners()[0]), []string{"a web server answers there", "HTTP/1.1 400 Bad Request", "check the URL"}, fds.ErrProtocol},
		"a web server's few bytes":      {fdstest.AnswerForeign("HTTP/1.1 4", p.Owners()[0]), []string{"a web server"}, fds.ErrProtocol},
		"a web server's long page":      {fdstest.AnswerForeign("<!DOCTYPE html>"+strings.Repeat("\x1b[31m", 10_000), p.Owners()[0]), []string{"a web server"}, fds.ErrProtocol},
		"an HTTP/2 server":              {fdstest.AnswerForeign("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"), []string{"an HTTP/2 server"}, fds.ErrProtocol},
		"SSH":                           {fdstest.AnswerForeign("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), []string{"an SSH server", "SSH-2.0-OpenSSH_9.2p1 Debian-2"}, fds.ErrProtocol},
		"mail":                          {fdstest.AnswerForeign("220 mail.example.com ESMTP\r\n"), []string{"a mail or FTP server"}, fds.ErrProtocol},
		"IMAP":                          {fdstest.AnswerForeign("* OK IMAP4rev1\r\n"), []string{"an IMAP server"}, fds.ErrProtocol},
		"AMQP":                          {fdstest.AnswerForeign("AMQP\x00\x00\x09\x01", p.Owners()[0]), []string{"an AMQP broker"}, fds.ErrProtocol},
		"a text":                        {fdstest.AnswerForeign("hello there, who is it?\n"), []string{"something else answers there", "hello there"}, fds.ErrProtocol},
		"MQTT 3.1.1 that accepts":       {fdstest.AnswerForeign("\x20\x02\x00\x00", p.Owners()[0]), []string{"a broker of MQTT 3.1.1"}, fds.ErrProtocol},
		"MQTT 3.1.1 that refuses":       {fdstest.AnswerForeign("\x20\x02\x00\x01", p.Owners()[0]), []string{"unsupported protocol version", "must speak MQTT 5.0"}, fds.ErrBrokerDenied},
		"a web server without TLS":      {fdstest.AnswerWithoutTLS("HTTP/1.0 400 Bad Request\r\n\r\n"), []string{"does not speak TLS", "a web server answers there"}, nil},
		"SSH without TLS":               {fdstest.AnswerWithoutTLS("SSH-2.0-x\r\n"), []string{"does not speak TLS", "an SSH server"}, nil},
		"mail without TLS":              {fdstest.AnswerWithoutTLS("220 mail.example.com ESMTP\r\n"), []string{"does not speak TLS", "a mail or FTP server"}, nil},
		"MQTT without TLS":              {fdstest.AnswerWithoutTLS("\x20\x03\x00\x84\x00"), []string{"does not speak TLS", "an MQTT broker"}, nil},
		"what demands ALPN":             {fdstest.DemandProtocol("x-amzn-mqtt-ca"), []string{"application protocol", "ALPN"}, nil},
		"TLS that fails inside":         {fdstest.AnswerWithoutTLS("\x15\x03\x03\x00\x02\x02\x50"), []string{"something failed inside the server"}, nil},
		"TLS that knows another name":   {fdstest.AnswerWithoutTLS("\x15\x03\x03\x00\x02\x02\x70"), []string{"does not know the host name"}, nil},
		"TLS that wants a certificate":  {fdstest.AnswerWithoutTLS("\x15\x03\x03\x00\x02\x02\x74"), []string{"refuses it", "asks for a client certificate"}, fds.ErrCertificate},
		"a broker that says who we are": {fdstest.AnswerConnect(fdstest.Connack{AssignedClientID: "other"}), []string{"another client ID"}, fds.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			defer p.Inject(c.fault)()
			began := time.Now()
			r := start(t, push.Config{Issuer: owner.Issuer, Root: root, BrokerURL: p.BrokerURL(), Roots: realtest.Trusting(p.RootCAs()), Certificate: source(&certificate.TLS)}, discard(t))
			s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("named after %v", took)
			}
			if s.Err == nil {
				t.Fatalf("%+v", s)
			}
			if c.class != fds.ErrBrokerDenied { // of which State.Broker says by whom
				c.says = append(c.says, strings.TrimPrefix(p.BrokerURL(), "mqtts://"))
			}
			for _, want := range c.says {
				if !strings.Contains(s.Err.Error(), want) {
					t.Errorf("%q does not say %q", s.Err, want)
				}
			}
			if text := s.Err.Error(); strings.ContainsRune(text, 0x1b) || len(text) > 600 {
				t.Errorf("it says %q", text)
			}
			if c.class != nil && !errors.Is(s.Err, c.class) {
				t.Errorf("%v is of another class", s.Err)
			}
			r.stop()
		})
	}
}

func TestAPortWithoutWebSocketIsNamedWithinASecond(t *testing.T) {
	owner, root := newOwner()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: []fdstest.Owner{{Spelling: root.ClientID()}}})
	certificate, err := p.OwnerCertificate(p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	for answer, says := range map[string]string{
		"":                         "write mqtts://",
		"SSH-2.0-x\r\n":            `an SSH server answers there and no web server ("SSH-2.0-x")`,
		"220 mail\x1b[31m ESMTP\n": "a mail or FTP server answers",
		"\x20\x02\x00\x00":         "something else answers there and no web server",
	} {
		off := func() {}
		if answer != "" {
			off = p.Inject(fdstest.AnswerForeign(answer))
		}
		began := time.Now()
		r := start(t, push.Config{Issuer: owner.Issuer, Root: root, BrokerURL: "wss" + strings.TrimPrefix(p.BrokerURL(), "mqtts"), Roots: realtest.Trusting(p.RootCAs()), Certificate: source(&certificate.TLS)}, discard(t))
		s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
		if took := time.Since(began); took > 2*time.Second || !strings.Contains(fmt.Sprint(s.Err), says) || strings.ContainsRune(s.Err.Error(), 0x1b) {
			t.Errorf("%q: after %v: %v", answer, took, s.Err)
		}
		r.stop()
		off()
	}
}

// A web server that waits for the end of a line is a web server too: those made with Go.
func TestAWebServerThatWaitsForALineIsNamedWithinASecond(t *testing.T) {
	ca := realtest.NewCA(t)
	owner, root := newOwner()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.IssueCertificate("127.0.0.1", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}}).TLS}}
	server.StartTLS()
	defer server.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	certificate := ca.IssueCertificate(root.ClientID(), realtest.CertificateOptions{}).TLS
	for address, says := range map[string]string{server.Listener.Addr().String(): "a web server answers there", plain.Listener.Addr().String(): "does not speak TLS on this port, a web server answers there"} {
		began := time.Now()
		r := start(t, push.Config{Issuer: owner.Issuer, Root: root, BrokerURL: "mqtts://" + address, Roots: realtest.Trusting(ca.Pool()), Certificate: source(&certificate)}, discard(t))
		s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
		if took := time.Since(began); took > 2*time.Second || !strings.Contains(fmt.Sprint(s.Err), says) {
			t.Errorf("after %v: %v", took, s.Err)
		}
		r.stop()
	}
}

// A server that speaks TLS and nothing more is not waited for without a word about what to
// check.
func TestAServerThatDoesNotAnswerCONNECTIsSaidToBe(t *testing.T) {
	t.Parallel()
	ca := realtest.NewCA(t)
	owner, root := newOwner()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.IssueCertificate("127.0.0.1", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}}).TLS}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			_ = conn.(*tls.Conn).HandshakeContext(context.Background())
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	defer func() { _ = listener.Close(); <-done }()
	certificate := ca.IssueCertificate(root.ClientID(), realtest.CertificateOptions{}).TLS
	r := start(t, push.Config{Issuer: owner.Issuer, Root: root, BrokerURL: "mqtts://" + listener.Addr().String(), Roots: realtest.Trusting(ca.Pool()), Certificate: source(&certificate), Settings: push.Settings{ConnectTimeout: time.Second}}, discard(t))
	s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
	if s.Err == nil || !strings.Contains(s.Err.Error(), "did not answer CONNECT") || !strings.Contains(s.Err.Error(), "check that this is an MQTT port") {
		t.Errorf("it says %v", s.Err)
	}
	r.stop()
}
