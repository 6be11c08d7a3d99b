package brokerconfig_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

const soon = 20 * time.Second // bounds every wait

// site is a folder whose broker runs.
type site struct {
	*realtest.Broker
	t      *testing.T
	config brokerconfig.Config
}

// runBroker writes a folder for two owners and two providers, and starts its broker.
func runBroker(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, config: configFor(t)}
	s.config.Port = realtest.FreePort(t)
	s.config.Providers = append(s.config.Providers, brokerconfig.Provider{Name: "towels"})
	s.config.Providers[1].Owners = append(s.config.Providers[1].Owners, idOf(t, ownerB))
	wellWritten(t, s.config)
	s.Broker = realtest.MosquittoFrom(t, s.config.Dir)
	return s
}

// update brings the folder up to date, and the broker with it.
func (s *site) update(change func(*brokerconfig.Config)) {
	s.t.Helper()
	c := s.config
	change(&c)
	switch result := wellWritten(s.t, c); {
	case result.Restart:
		s.Stop()
		s.Start()
	case result.Reload:
		s.Reload()
	default:
		s.t.Fatal("nothing is to be read anew")
	}
}

// peer is a client of raw MQTT.
type peer struct {
	*paho.Client
	t    *testing.T
	got  chan string // topic and payload of each message
	conn *tls.Conn
}

// pair is a client's certificate; name is that of its file.
func (s *site) pair(name string) tls.Certificate {
	s.t.Helper()
	path := filepath.Join(s.config.Dir, filepath.FromSlash(name))
	pair, err := tls.LoadX509KeyPair(path, path)
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

func (s *site) roots() *x509.CertPool {
	data, err := os.ReadFile(filepath.Join(s.config.Dir, "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return pool
}

// connect connects with a certificate and a client ID.
func (s *site) connect(pair tls.Certificate, clientID string) (*peer, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: s.roots(), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	if pair.Certificate == nil {
		dialer.Config.Certificates = nil
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.config.Port)))
	if err != nil {
		return nil, err
	}
	p := &peer{t: s.t, got: make(chan string, 1000), conn: conn.(*tls.Conn)}
	p.Client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn),
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(m paho.PublishReceived) (bool, error) {
			p.got <- m.Packet.Topic + " " + string(m.Packet.Payload)
			return true, nil
		}},
	})
	if _, err := p.Connect(ctx, &paho.Connect{ClientID: clientID, CleanStart: true, KeepAlive: 60}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return p, nil
}

func (s *site) mustConnect(file, clientID string) *peer {
	s.t.Helper()
	p, err := s.connect(s.pair(file), clientID)
	if err != nil {
		s.t.Fatalf("%s: %v", file, err)
	}
	return p
}

// owner connects an owner who has subscribed to its own topics.
func (s *site) owner(id string) *peer {
	s.t.Helper()
	p := s.mustConnect("owners/"+strings.ToLower(id)+".pem", id)
	p.subscribe("fds/v2/" + id + "/#")
	return p
}

func (p *peer) subscribe(filters ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), soon)
	defer cancel()
	for _, filter := range filters {
		_, err := p.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
		if err != nil {
			p.t.Fatalf("subscribe %s: %v", filter, err)
		}
	}
}

// publish returns the broker's reason code.
func (p *peer) publish(topic, payload string) byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), soon)
	defer cancel()
	response, err := p.Publish(ctx, &paho.Publish{Topic: topic, Payload: []byte(payload), QoS: 1})
	if response == nil {
		p.t.Fatalf("publish to %s: %v", topic, err)
	}
	return response.ReasonCode
}

const (
	taken  = 0x00
	denied = 0x87
)

// receives fails unless the message is the next one.
func (p *peer) receives(want string) {
	p.t.Helper()
	select {
	case got := <-p.got:
		if got != want {
			p.t.Fatalf("got %q, want %q", got, want)
		}
	case <-p.Done():
		p.t.Fatalf("the connection ended before %q", want)
	case <-time.After(soon):
		p.t.Fatalf("%q did not come", want)
	}
}

// lives fails when the connection was ended: it goes to the broker and back.
func (p *peer) lives() {
	p.t.Helper()
	p.subscribe("fds/v2/nothing")
}

func isAuthorisation(err error) bool {
	return err != nil && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "refused")
}

func TestMessagesGoFromTheConnectionsOfAProviderToEachOwner(t *testing.T) {
	s := runBroker(t)
	a, b := s.owner(ownerA), s.owner(ownerB)
	for n := 1; n <= 2; n++ {
		name := fmt.Sprintf("soap-inc-%d", n)
		provider := s.mustConnect("providers/"+name+".pem", name)
		for _, owner := range []string{ownerA, ownerB} {
			if code := provider.publish("fds/v2/"+owner+"/devices/d1/status", name); code != taken {
				t.Errorf("%s may not publish to %s: %#x", name, owner, code)
			}
		}
		a.receives("fds/v2/" + ownerA + "/devices/d1/status " + name)
		b.receives("fds/v2/" + ownerB + "/devices/d1/status " + name)
		provider.lives()
	}
}

func TestAttackACertificateWithAnothersClientIDNeitherReadsNorThrowsOff(t *testing.T) {
	s := runBroker(t)
	a := s.owner(ownerA)
	thief := s.mustConnect("owners/"+strings.ToLower(ownerB)+".pem", ownerA)
	thief.subscribe("fds/v2/"+ownerA+"/#", "#", "fds/#", "fds/v2/+/#", "$share/g/fds/v2/"+ownerA+"/#", "$SYS/#", "fds/v2/"+ownerB+"/#")
	provider := s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	provider.publish("fds/v2/"+ownerA+"/events", "secret")
	a.receives("fds/v2/" + ownerA + "/events secret")
	a.lives()
	// What comes after it would come behind it: the broker keeps the order of one publisher.
	provider.publish("fds/v2/"+ownerB+"/events", "own")
	thief.receives("fds/v2/" + ownerB + "/events own")
}

func TestAttackAnOwnerCannotPublish(t *testing.T) {
	s := runBroker(t)
	a, b := s.owner(ownerA), s.owner(ownerB)
	for _, topic := range []string{"fds/v2/" + ownerA + "/events", "fds/v2/" + ownerB + "/events", "fds/v2/x", "$SYS/x", "a"} {
		if code := a.publish(topic, "forged"); code != denied {
			t.Errorf("%s: %#x", topic, code)
		}
	}
	provider := s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	for owner, p := range map[string]*peer{ownerA: a, ownerB: b} {
		provider.publish("fds/v2/"+owner+"/events", "true")
		p.receives("fds/v2/" + owner + "/events true")
	}
}

func TestAttackAProviderCannotPublishForAnothersOwner(t *testing.T) {
	s := runBroker(t)
	a, b := s.owner(ownerA), s.owner(ownerB)
	towels := s.mustConnect("providers/towels-1.pem", "soap-inc-1") // it gives the other's client ID
	soap := s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	for topic, want := range map[string]byte{
		"fds/v2/" + ownerA + "/events": denied, "fds/v2/" + ownerC + "/events": denied, "fds/v2/" + strings.ToLower(ownerB) + "/events": denied,
		"fds/v2/events": denied, "other": denied, "fds/v2/" + ownerB + "/events": taken,
	} {
		if code := towels.publish(topic, "towels"); code != want {
			t.Errorf("%s: %#x, want %#x", topic, code, want)
		}
	}
	b.receives("fds/v2/" + ownerB + "/events towels")
	soap.publish("fds/v2/"+ownerA+"/events", "soap")
	a.receives("fds/v2/" + ownerA + "/events soap")
}

func TestAttackAProviderReadsNothingOfOwners(t *testing.T) {
	s := runBroker(t)
	towels := s.mustConnect("providers/towels-1.pem", "towels-1")
	towels.subscribe("#", "fds/v2/#", "fds/v2/"+ownerB+"/#")
	soap, b := s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1"), s.owner(ownerB)
	soap.publish("fds/v2/"+ownerB+"/events", "secret")
	b.receives("fds/v2/" + ownerB + "/events secret")
	towels.lives() // the answer comes behind what was delivered before it
	select {
	case got := <-towels.got:
		t.Errorf("it read %q", got)
	default:
	}
}

func TestAttackNobodyComesInWithoutACertificateOfTheAuthority(t *testing.T) {
	s := runBroker(t)
	foreign := realtest.NewCA(t).IssueCertificate(ownerA, realtest.CertificateOptions{})
	for name, pair := range map[string]tls.Certificate{
		"none": {}, "another authority's": foreign.TLS, "the broker's own": s.pair("server.pem"),
	} {
		if _, err := s.connect(pair, ownerA); !isAuthorisation(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.owner(ownerA)
	conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.config.Port)), &tls.Config{
		RootCAs: s.roots(), Certificates: []tls.Certificate{s.pair("owners/" + ownerA + ".pem")}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
	})
	if err == nil {
		_ = conn.Close()
		t.Error("the broker speaks TLS 1.1")
	}
}

func TestAttackWhoIsRevokedIsShutOutAtTheReload(t *testing.T) {
	s := runBroker(t)
	a, b := s.owner(ownerA), s.owner(ownerB)
	stolen, stolenProvider := s.pair("owners/"+ownerA+".pem"), s.pair("providers/soap-inc-2.pem")
	spy := s.mustConnect("providers/soap-inc-2.pem", "soap-inc-2")
	soap := s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	s.update(func(c *brokerconfig.Config) { c.Revoke = []string{ownerA, "soap-inc-2"} })

	for name, pair := range map[string]tls.Certificate{"the owner": stolen, "the provider's connection": stolenProvider} {
		if _, err := s.connect(pair, "x"); !isAuthorisation(err) {
			t.Errorf("%s comes in: %v", name, err)
		}
	}
	// Connections that are up have nothing any more.
	if code := spy.publish("fds/v2/"+ownerB+"/events", "forged"); code != denied {
		t.Errorf("a revoked connection publishes: %#x", code)
	}
	if code := soap.publish("fds/v2/"+ownerA+"/events", "secret"); code != denied {
		t.Errorf("somebody publishes to a revoked owner: %#x", code)
	}
	s.config.Revoke = []string{ownerA, "soap-inc-2"}
	soap.publish("fds/v2/"+ownerB+"/events", "for B")
	b.receives("fds/v2/" + ownerB + "/events for B")
	a.lives()
	select {
	case got := <-a.got:
		t.Errorf("a revoked owner read %q", got)
	default:
	}

	// Issued again, with another key: the old one stays out, also who was connected with it.
	s.config.Revoke = nil
	s.update(func(c *brokerconfig.Config) { c.Reissue = []string{ownerA} })
	select {
	case <-a.Done():
	case <-time.After(soon):
		t.Error("who is connected with the revoked certificate goes on under the name that has another one")
	}
	again := s.owner(ownerA)
	soap = s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	soap.publish("fds/v2/"+ownerA+"/events", "again")
	again.receives("fds/v2/" + ownerA + "/events again")
	if _, err := s.connect(stolen, ownerA); !isAuthorisation(err) {
		t.Errorf("the revoked certificate comes in: %v", err)
	}
	again.lives()
}

func TestAttackAnACLThatDeniesReadingShutsOutAConnectionThatIsUp(t *testing.T) {
	s := runBroker(t)
	a, soap := s.owner(ownerA), s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	// Somebody who may publish to the owner still: the rule for the owner alone shuts it out.
	s.edit("acl", func(text string) string { return text + "\nuser " + ownerA + "\ntopic deny #\n" })
	s.Reload()
	if code := soap.publish("fds/v2/"+ownerA+"/events", "secret"); code != taken {
		t.Fatalf("%#x", code)
	}
	a.lives()
	select {
	case got := <-a.got:
		t.Errorf("it read %q", got)
	default:
	}
}

// edit changes a file of the folder by hand.
func (s *site) edit(name string, change func(string) string) {
	s.t.Helper()
	path := filepath.Join(s.config.Dir, filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(change(string(data))), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestAnOwnerWhoComesLaterIsServedAfterTheReloadAndTheOthersStay(t *testing.T) {
	s := runBroker(t)
	a, soap := s.owner(ownerA), s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	if code := soap.publish("fds/v2/"+ownerC+"/events", "early"); code != denied {
		t.Errorf("published to nobody's topics: %#x", code)
	}
	s.update(func(c *brokerconfig.Config) { c.Owners = append(c.Owners, rootOf(t, ownerC)) })
	c := s.owner(ownerC)
	for id, p := range map[string]*peer{ownerA: a, ownerC: c} {
		if code := soap.publish("fds/v2/"+id+"/events", "1"); code != taken {
			t.Errorf("%s: %#x", id, code)
		}
		p.receives("fds/v2/" + id + "/events 1")
	}
	a.lives()
}

func TestTheBrokersRenewedCertificateIsShownAfterTheReload(t *testing.T) {
	s := runBroker(t)
	shown := func() string {
		p := s.mustConnect("owners/"+ownerA+".pem", ownerA)
		return p.conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := shown()
	s.update(func(c *brokerconfig.Config) { c.Hosts = []string{"127.0.0.1"} })
	if after := shown(); after == before {
		t.Error("the old certificate is shown")
	}
}

// What the documentation says of Mosquitto, and why Faults are to be looked at before a reload.
func TestWhatMosquittoCannotReadAtAReloadOpensIt(t *testing.T) {
	s := runBroker(t)
	a, soap := s.owner(ownerA), s.mustConnect("providers/soap-inc-1.pem", "soap-inc-1")
	s.edit("acl", func(text string) string { return text + "topic writ fds/v2/x\n" })
	state, err := brokerconfig.Inspect(s.config.Dir, time.Now())
	if err != nil || len(state.Faults) != 1 || !strings.Contains(state.Faults[0].String(), "never reload") {
		t.Errorf("%v, %v", state.Faults, err)
	}
	s.Reload()
	if code := a.publish("fds/v2/"+ownerB+"/events", "forged"); code == denied {
		t.Error("Mosquitto denies after all: the documentation can say so")
	}
	soap.lives()
}

// Why a list that was edited is a fault that says who gets in.
func TestAttackAListThatMosquittoCannotReadIsAFault(t *testing.T) {
	s := runBroker(t)
	stolen := s.pair("owners/" + ownerA + ".pem")
	s.update(func(c *brokerconfig.Config) { c.Revoke = []string{ownerA} })
	if _, err := s.connect(stolen, "x"); !isAuthorisation(err) {
		t.Fatalf("the revoked owner comes in: %v", err)
	}
	s.edit("crl.pem", func(text string) string { return strings.Replace(text, "-----BEGIN", "----BEGIN", 1) })
	faults := faultsOf(t, s.config.Dir)
	if len(faults) != 1 || faults[0].Field != "crl.pem" || !strings.HasSuffix(faults[0].Problem, "(M2)") {
		t.Errorf("%v", faults)
	}
	s.Reload()
	if _, err := s.connect(stolen, "x"); err != nil {
		t.Errorf("Mosquitto refuses after all: the documentation can say so: %v", err)
	}
}

func TestAnExpiredRevocationListHasMosquittoRefuseEverybody(t *testing.T) {
	s := runBroker(t)
	s.owner(ownerA)
	s.config.Now = func() time.Time { return time.Now().Add(-48 * time.Hour) }
	s.config.Lifetime = 24 * time.Hour
	if err := os.Remove(filepath.Join(s.config.Dir, "crl.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := brokerconfig.Write(t.Context(), s.config); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	if _, err := s.connect(s.pair("owners/"+ownerA+".pem"), ownerA); !isAuthorisation(err) {
		t.Errorf("%v", err)
	}
	s.config.Now, s.config.Lifetime = nil, 0
	s.update(func(*brokerconfig.Config) {})
	s.owner(ownerA)
}
