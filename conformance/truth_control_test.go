package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdstest"
)

// A broker of these tests refuses for a reason that has nothing to do with what is tried.

// handBroker is a broker that does as connect says: the code of CONNACK, or false for the end of
// the connection without a word. It answers nothing else but pings.
func handBroker(t *testing.T, s *site, clients tls.ClientAuthType, connect func(clientID string, certified bool) (code byte, answers bool)) {
	t.Helper()
	certificate, err := s.box.IssueCertificate(fdstest.CertificateRequest{
		CommonName: "broker", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate.TLS}, ClientAuth: clients}
	s.config.Client.Provider.BrokerURL = "mqtts://" + serve(t, config, func(conn net.Conn) {
		for {
			packet, err := packets.ReadPacket(conn)
			if err != nil {
				return
			}
			switch p := packet.Content.(type) {
			case *packets.Connect:
				code, answers := connect(p.ClientID, len(conn.(*tls.Conn).ConnectionState().PeerCertificates) > 0)
				if !answers {
					return
				}
				_, _ = (&packets.Connack{ReasonCode: code, Properties: new(packets.Properties)}).WriteTo(conn)
			case *packets.Pingreq:
				_, _ = (&packets.Pingresp{}).WriteTo(conn)
			case *packets.Disconnect:
				return
			}
		}
	})
	s.config.CheckTimeout = 3 * time.Second
	s.config.SignIn = nil
}

func TestWhoIsLetInByANameAloneNeedsNoCertificate(t *testing.T) {
	t.Parallel()
	s := newBrokerSite(t)
	known := []string{s.box.Owners()[0].Spelling, s.box.Owners()[1].Spelling, s.box.Owners()[2].Spelling}
	handBroker(t, s, tls.RequestClientCert, func(clientID string, certified bool) (byte, bool) {
		if slices.Contains(known, clientID) {
			return 0, true
		}
		return 0x85, true
	})
	report := check(t, s.config)
	expect(t, report, "M2-certificate", conformance.Pass, "")
	expect(t, report, "M2-no-certificate", conformance.Fail, "the broker lets in whoever comes, in the place of an owner")
}

func TestABrokerThatClosesEveryConnectionHasRefusedNobody(t *testing.T) {
	t.Parallel()
	s := newBrokerSite(t)
	var connects, most atomic.Int32
	most.Store(1000)
	handBroker(t, s, tls.RequireAnyClientCert, func(string, bool) (byte, bool) { return 0, connects.Add(1) <= most.Load() })
	s.config.OnResult = func(one conformance.Result) {
		connects.Store(0)
		if one.ID == "M4-own-client-id" {
			most.Store(1) // in each check
		}
	}
	report := check(t, s.config)
	expect(t, report, "M4-own-client-id", conformance.Pass, "")
	expect(t, report, "M4-other-client-id", conformance.Error, "any more, so that its refusal means nothing")
}

func TestAPortThatClosesEveryConnectionAfterAWhileHasRefusedNothing(t *testing.T) {
	for after, rows := range map[string][]string{
		"M1-broker-tls-1.2": {"M1-broker-tls-1.1", "M1-broker-tls-1.0"},
		"W2-api-tls-1.2":    {"W2-api-tls-1.1", "W2-api-tls-1.0"},
	} {
		s := newBrokerSite(t)
		s.config.CheckTimeout = 3 * time.Second
		api, _ := url.Parse(s.config.Client.Provider.APIURL)
		broker, _ := url.Parse(s.config.Client.Provider.BrokerURL)
		var shut atomic.Bool
		s.config.OnResult = func(one conformance.Result) {
			if one.ID == after {
				shut.Store(true)
			}
		}
		s.config.Client.Provider.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if shut.Load() && (address == api.Host || address == broker.Host) {
				ours, theirs := net.Pipe()
				go func() { // it reads the hello, and hangs up
					_, _ = theirs.Read(make([]byte, 1<<10))
					_ = theirs.Close()
				}()
				return ours, nil
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		report := check(t, s.config)
		expect(t, report, after, conformance.Pass, "")
		for _, id := range rows {
			expect(t, report, id, conformance.Error, "any more, so that its refusal means nothing")
		}
	}
}

func TestABrokerThatClosesEveryHandshakeAfterAWhileHasRefusedNoCertificate(t *testing.T) {
	s := newBrokerSite(t)
	certificate, err := s.box.IssueCertificate(fdstest.CertificateRequest{
		CommonName: "broker", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		t.Fatal(err)
	}
	var full atomic.Bool
	config := &tls.Config{Certificates: []tls.Certificate{certificate.TLS}, ClientAuth: tls.RequestClientCert}
	s.config.Client.Provider.BrokerURL = "mqtts://" + serve(t, config, func(conn net.Conn) {
		if !full.Load() {
			_, _ = conn.Read(make([]byte, 1))
		}
	})
	s.config.CheckTimeout = 3 * time.Second
	s.config.OnResult = func(one conformance.Result) {
		if one.ID == "M2-certificate" {
			full.Store(true)
		}
	}
	report := check(t, s.config)
	expect(t, report, "M2-certificate", conformance.Pass, "")
	for _, id := range []string{"M2-no-certificate", "M2-other-authority", "M2-self-signed"} {
		expect(t, report, id, conformance.Error, "any more, so that its refusal means nothing")
	}
}
