package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

// newBrokerSite is newSite with all that the checks of the broker ask for, and nobody at the
// browser.
func newBrokerSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t, fdstest.Options{})
	s.config.SignIn = nil
	s.config.Publisher = func(context.Context) (*tls.Certificate, error) {
		certificate, err := s.box.PublisherCertificate()
		return &certificate.TLS, err
	}
	return s
}

// families completes rows: an ID that ends with * stands for those of a clean report that begin
// so, except for those that are named.
func (r rows) families(clean rows) rows {
	whole := make(rows)
	for pattern, outcome := range r {
		begin, many := strings.CutSuffix(pattern, "*")
		for id := range clean {
			if many && strings.HasPrefix(id, begin) {
				whole[id] = outcome
			}
		}
	}
	for id, outcome := range r {
		if !strings.HasSuffix(id, "*") {
			whole[id] = outcome
		}
	}
	return whole
}

// presenting has the owners' certificates be those that issue returns.
func presenting(issue func(s *site, owner fds.OwnerKey) (fdstest.Certificate, error)) func(*testing.T, *site) {
	return func(_ *testing.T, s *site) {
		s.config.Client.Certificates = func(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
			certificate, err := issue(s, owner)
			return &certificate.TLS, err
		}
	}
}

// without takes away what the checks were supplied with, and does the rest.
func without(publisher bool, spares int, rest ...func(*testing.T, *site)) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		if publisher {
			s.config.Publisher = nil
		}
		s.config.SpareOwners = s.config.SpareOwners[:2-spares]
		for _, do := range rest {
			do(t, s)
		}
	}
}

// What depends on the connection of an owner, and is an error without it.
var behindOwner = rows{"M3-at-once": failed, "M4-*": failed, "M5-*": failed, "M6-*": failed, "M7-*": failed}

// brokerTruth is what is wrong with a broker, or was not supplied.
var brokerTruth = []weakness{
	// M1
	{name: "TLS 1.0 and 1.1", make: faults(fdstest.OldBrokerTLS()), rows: all(fail, "M1-broker-tls-1.0", "M1-broker-tls-1.1")},
	{name: "MQTT without TLS on the same port", make: func(_ *testing.T, s *site) { s.config.Client.Provider.Dial = dialPlain },
		rows: rows{"M1-broker-plain": fail, "setup-names": notApplicable}},
	{name: "the broker's certificate is not trusted", make: impostor, rows: rows{"M1-broker-certificate": fail, "M2-*": failed}.and(behindOwner)},
	{name: "the port closes each connection", make: faults(fdstest.RefuseConnections()),
		rows: rows{"M1-*": failed, "M1-broker-handshake": fail, "M1-broker-tls-1.2": fail, "M2-*": failed}.and(behindOwner)},

	// M2
	{name: "no certificate is demanded", make: faults(fdstest.NoClientCertificates()), rows: rows{"M2-no-certificate": fail}},
	{name: "every authority is trusted", make: faults(fdstest.AnyAuthority()), rows: all(fail, "M2-other-authority", "M2-self-signed")},
	{name: "no certificate is demanded, nor its authority looked at", make: faults(fdstest.NoClientCertificates(), fdstest.AnyAuthority()),
		rows: all(fail, "M2-no-certificate", "M2-other-authority", "M2-self-signed")},
	{name: "every authority is trusted, and no spare owner is supplied", make: without(false, 2, faults(fdstest.AnyAuthority(), fdstest.AnyClientID())),
		rows: all(fail, "M2-other-authority", "M2-self-signed").and(withoutSpares)},
	{name: "authorities are looked at late, and no spare owner is supplied", make: without(false, 2, faults(fdstest.AnyAuthority(), fdstest.AnswerConnect(fdstest.Connack{Code: 0x87}))),
		rows: all(untestable, "M2-other-authority", "M2-self-signed").and(withoutSpares)},
	{name: "the owners' certificates are of another authority", make: presenting(func(s *site, owner fds.OwnerKey) (fdstest.Certificate, error) {
		return s.box.IssueCertificate(fdstest.CertificateRequest{CommonName: owner.SubscriptionID.String(), ForeignCA: true})
	}), rows: rows{"M2-*": failed, "M2-certificate": fail}.and(behindOwner)},

	// M3
	{name: "all owners have the same certificate", make: func(t *testing.T, s *site) {
		one, err := s.box.OwnerCertificate(s.box.Owners()[1])
		presenting(func(*site, fds.OwnerKey) (fdstest.Certificate, error) { return one, err })(t, s)
	}, rows: rows{"M3-certificates": fail}.and(all(failed, "M3-at-once", "M4-thrown-off", "M4-theft", "M5-other-root", "M5-above-root", "M5-shared", "M5-sys", "M7-other-root"))},

	// M4
	{name: "any client ID is taken", make: faults(fdstest.AnyClientID()), rows: all(fail, "M4-other-client-id", "M4-thrown-off", "M4-theft")},
	{name: "any client ID is taken, and no publisher is supplied", make: without(true, 0, faults(fdstest.AnyClientID())),
		rows: all(fail, "M4-other-client-id", "M4-thrown-off").and(rows{"M4-theft": untestable, "M6-*": untestable, "M7-qos-0": untestable})},
	{name: "connections are refused", make: faults(fdstest.AnswerConnect(fdstest.Connack{Code: 0x87, Reason: fdstest.HostileText})),
		rows: behindOwner.and(rows{"M4-own-client-id": fail})},
	{name: "the broker is busy", make: faults(fdstest.AnswerConnect(fdstest.Connack{Code: 0x9F})), rows: behindOwner},
	{name: "no certificate is demanded, and CONNECT is refused", make: faults(fdstest.NoClientCertificates(), fdstest.AnswerConnect(fdstest.Connack{Code: 0x87})),
		rows: behindOwner.and(rows{"M2-no-certificate": untestable, "M4-own-client-id": fail})},
	{name: "another client ID is assigned", make: faults(fdstest.AnswerConnect(fdstest.Connack{AssignedClientID: fdstest.HostileText})),
		rows: behindOwner.and(rows{"M3-at-once": pass, "M4-own-client-id": fail})},

	// M5
	{name: "no access rules", make: faults(fdstest.NoAccessRules()), rows: all(fail, "M5-other-root", "M5-above-root", "M5-shared", "M6-provider-subscribes")},
	{name: "no access rules, and no publisher is supplied", make: without(true, 0, faults(fdstest.NoAccessRules())),
		rows: all(untestable, "M5-other-root", "M5-above-root", "M5-shared", "M5-sys", "M6-*", "M7-qos-0")},
	{name: "no access rules, retained messages, and no publisher is supplied", make: without(true, 0, faults(fdstest.NoAccessRules()), func(t *testing.T, s *site) {
		if err := s.box.Publish(t.Context(), s.box.Owners()[2], []string{"kept"}, []byte("x"), 1, true); err != nil {
			t.Fatal(err)
		}
	}), rows: all(untestable, "M5-shared", "M5-sys", "M6-*", "M7-qos-0").and(all(fail, "M5-other-root", "M5-above-root"))},
	{name: "subscriptions are refused", make: faults(fdstest.DenySubscriptions(0x87)),
		rows: rows{"M4-theft": failed, "M5-*": failed, "M5-own-root": fail, "M6-*": failed, "M7-*": failed}},

	// M6
	{name: "providers subscribe", make: faults(fdstest.ProvidersSubscribe()), rows: rows{"M6-provider-subscribes": fail}},
	{name: "the publisher's certificate is an owner's", make: func(_ *testing.T, s *site) {
		s.config.Publisher = func(context.Context) (*tls.Certificate, error) {
			certificate, err := s.box.OwnerCertificate(s.box.Owners()[0])
			return &certificate.TLS, err
		}
	}, rows: rows{"M4-theft": failed, "M5-*": failed, "M6-*": failed, "M6-provider-publishes": fail, "M7-*": failed}},

	// M7
	{name: "subscribers publish", make: faults(fdstest.SubscribersPublish()), rows: all(fail, "M7-own-root", "M7-other-root", "M7-qos-0")},

	// what is supplied
	{name: "no publisher", make: without(true, 0), rows: rows{"M6-*": untestable, "M7-qos-0": untestable}},
	{name: "one spare owner", make: without(false, 1), rows: all(untestable, "M3-at-once", "M4-thrown-off", "M4-theft", "M7-other-root")},
	{name: "one spare owner and no access rules", make: without(false, 1, faults(fdstest.NoAccessRules())),
		rows: all(untestable, "M3-at-once", "M4-thrown-off", "M4-theft", "M7-other-root", "M5-other-root", "M5-above-root", "M5-shared", "M5-sys").and(rows{"M6-provider-subscribes": fail})},
	{name: "no spare owner", make: without(false, 2), rows: withoutSpares},
}

var withoutSpares = rows{
	"M3-at-once": untestable, "M4-*": untestable, "M5-*": untestable, "M6-*": untestable, "M7-*": untestable,
	"W5-api-other-owner": untestable, "W10-auth-refresh-reuse": untestable,
}

func TestEachWeaknessOfTheBrokerChangesItsOwnRowsAndNoOther(t *testing.T) {
	sites := []*site{newBrokerSite(t)}
	for _, one := range brokerTruth {
		s := newBrokerSite(t)
		one.make(t, s)
		sites = append(sites, s)
	}
	reports := checkAll(t, sites)
	clean := rows(outcomes(reports[0]))
	for id, outcome := range outcomes(reports[0], "M") {
		if outcome != pass && !strings.HasPrefix(id, "M8-") {
			t.Errorf("%s is %s at a sound broker", id, outcome)
		}
	}
	for i, one := range brokerTruth {
		t.Run(one.name, func(t *testing.T) { compare(t, reports[i+1], clean.and(one.rows.families(clean))) })
	}
	for _, s := range sites {
		for _, owner := range s.box.Owners() {
			if left := s.box.Subscriber(owner); left.Connected || left.Session || left.Acknowledged > 0 || left.Unacknowledged > 0 {
				t.Errorf("left behind of %s: %+v", owner.Name, left)
			}
		}
	}
}

// checkAll runs all checks of several sites, some at once: most of their time is spent waiting.
func checkAll(t *testing.T, sites []*site) []*conformance.Report {
	t.Helper()
	reports, faults := make([]*conformance.Report, len(sites)), make([]error, len(sites))
	var running sync.WaitGroup
	turns := make(chan struct{}, 10)
	for i, s := range sites {
		running.Go(func() {
			turns <- struct{}{}
			reports[i], faults[i] = conformance.Run(t.Context(), s.config)
			<-turns
		})
	}
	running.Wait()
	if err := errors.Join(faults...); err != nil {
		t.Fatal(err)
	}
	return reports
}

// dialPlain is a network on which every port answers to a CONNECT in clear, as one does that takes
// both.
func dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &plainConn{Conn: conn}, err
}

type plainConn struct {
	net.Conn
	mu     sync.Mutex
	answer string
}

func (c *plainConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p[0] == 0x10 { // CONNECT
		c.answer = "\x20\x03\x00\x00\x00"
	}
	return c.Conn.Write(p)
}

func (c *plainConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer != "" { // what the server says to that does not count
		n, err = copy(p, c.answer), nil
		c.answer = c.answer[n:]
	}
	return n, err
}

// impostor puts a server with another certificate into the broker's place.
func impostor(t *testing.T, s *site) {
	t.Helper()
	certificate, err := s.box.IssueCertificate(fdstest.CertificateRequest{
		CommonName: "broker", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, ForeignCA: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.config.Client.Provider.BrokerURL = "mqtts://" + serve(t, &tls.Config{Certificates: []tls.Certificate{certificate.TLS}}, func(net.Conn) {})
}

// serve listens until the test ends, and handles each connection, which it closes afterwards.
func serve(t *testing.T, config *tls.Config, handle func(net.Conn)) (address string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				if conn.(*tls.Conn).HandshakeContext(ctx) == nil {
					handle(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}
