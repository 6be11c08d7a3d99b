package fdstest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/fds-sdk/fds-go/fdstest"
)

// subscriber is one owner's connection as paho makes one.
type subscriber struct {
	client   *paho.Client
	messages chan *paho.Publish
	ended    chan error
	told     chan byte // reason code of a DISCONNECT
}

func connect(t *testing.T, p *fdstest.Provider, o fdstest.Owner) (*subscriber, *paho.Connack, error) {
	t.Helper()
	cert, err := p.OwnerCertificate(o)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(p, cert.TLS)
	if err != nil {
		return nil, nil, err
	}
	s := &subscriber{messages: make(chan *paho.Publish, 64), ended: make(chan error, 8), told: make(chan byte, 8)}
	s.client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn),
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(m paho.PublishReceived) (bool, error) {
			s.messages <- m.Packet
			return true, nil
		}},
		OnClientError:      func(err error) { s.ended <- err },
		OnServerDisconnect: func(d *paho.Disconnect) { s.told <- d.ReasonCode },
		PacketTimeout:      2 * time.Second,
	})
	expiry := uint32(60)
	receive := uint16(32)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ack, err := s.client.Connect(ctx, &paho.Connect{ClientID: o.Spelling, KeepAlive: 30,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry, ReceiveMaximum: &receive}})
	t.Cleanup(func() {
		_ = s.client.Disconnect(&paho.Disconnect{})
		<-s.client.Done()
	})
	return s, ack, err
}

func dial(p *fdstest.Provider, cert tls.Certificate) (*tls.Conn, error) {
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: p.RootCAs(), Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}}
	conn, err := dialer.Dial("tcp", strings.TrimPrefix(p.BrokerURL(), "mqtts://"))
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

func mustConnect(t *testing.T, p *fdstest.Provider, o fdstest.Owner) (*subscriber, *paho.Connack) {
	t.Helper()
	s, ack, err := connect(t, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, ack
}

func (s *subscriber) subscribe(t *testing.T, filter string) error {
	t.Helper()
	_, err := s.client.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	return err
}

func (s *subscriber) receive(t *testing.T) *paho.Publish {
	t.Helper()
	select {
	case m := <-s.messages:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("no message")
		return nil
	}
}

func TestASubscriberGetsItsOwnersMessages(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	owner, other := p.Owners()[0], p.Owners()[1]
	s, _ := mustConnect(t, p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	for _, o := range []fdstest.Owner{other, owner} {
		if err := p.Publish(t.Context(), o, []string{"devices", "d1", "status"}, []byte("{}"), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.receive(t); m.Topic != owner.Topic("devices", "d1", "status") || string(m.Payload) != "{}" || m.QoS != 1 {
		t.Errorf("%s %q", m.Topic, m.Payload)
	}
	// What the world publishes arrives in the same way, and in order.
	for _, m := range p.Step(3 * time.Hour) {
		if m.Owner == owner {
			if got := s.receive(t); got.Topic != m.Topic || string(got.Payload) != string(m.Payload) {
				t.Fatalf("%s, want %s", got.Topic, m.Topic)
			}
		}
	}
	if err := p.PublishRaw(t.Context(), owner, other.Topic("devices"), []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if m := s.receive(t); m.Topic != other.Topic("devices") {
		t.Errorf("%s", m.Topic)
	}
	eventually(t, "all is acknowledged", func() bool { return p.Subscriber(owner).Unacknowledged == 0 })
	if c := p.Connections(); len(c) != 1 || c[0] != owner.Spelling || !p.Subscriber(owner).Connected || p.Subscriber(owner).Sent == 0 {
		t.Errorf("connections %v, %+v", c, p.Subscriber(owner))
	}
	if err := p.Publish(t.Context(), owner, []string{"+"}, nil, 1, false); err == nil {
		t.Error("a wildcard is published")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if p.Publish(cancelled, owner, []string{"a"}, nil, 1, false) == nil || p.PublishRaw(cancelled, owner, "a", nil, 1) == nil {
		t.Error("published after the context's end")
	}
}

func TestFaultsOfTheBrokerDoWhatTheySay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	owner, other := p.Owners()[0], p.Owners()[1]
	s, _ := mustConnect(t, p, owner)
	bystander, _ := mustConnect(t, p, other)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}

	off := p.Inject(fdstest.DenySubscriptions(0x87, owner))
	if err := s.subscribe(t, owner.Topic("a")); err == nil {
		t.Error("DenySubscriptions: the subscription is granted")
	}
	if err := bystander.subscribe(t, other.Topic("#")); err != nil {
		t.Errorf("another owner's subscription: %v", err)
	}
	off()
	if err := s.subscribe(t, owner.Topic("a")); err != nil {
		t.Errorf("DenySubscriptions is not off: %v", err)
	}

	p.Inject(fdstest.DropConnections(owner))
	<-s.ended
	s, ack := mustConnect(t, p, owner)
	if !ack.SessionPresent {
		t.Error("DropConnections lost the session")
	}

	p.Inject(fdstest.LoseSessions(owner))
	<-s.ended
	s, ack = mustConnect(t, p, owner)
	if ack.SessionPresent {
		t.Error("LoseSessions kept the session")
	}
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}

	p.Inject(fdstest.Disconnect(0x8B, "maintenance", "", owner))
	if code := <-s.told; code != 0x8B {
		t.Errorf("Disconnect says %#x", code)
	}

	off = p.Inject(fdstest.AnswerConnect(fdstest.Connack{Code: 0x88, Reason: "busy"}, owner))
	if _, ack, err := connect(t, p, owner); err == nil || ack == nil || ack.ReasonCode != 0x88 || ack.Properties.ReasonString != "busy" {
		t.Errorf("AnswerConnect: %v %v", ack, err)
	}
	off()
	off = p.Inject(fdstest.RefuseConnections(owner))
	if _, _, err := connect(t, p, owner); err == nil {
		t.Error("RefuseConnections: connected")
	}
	off()
	s, _ = mustConnect(t, p, owner)

	p.Inject(fdstest.CutNextPublish(owner))
	if err := p.Publish(t.Context(), owner, []string{"whole"}, []byte("0123456789"), 1, false); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if len(s.messages) != 0 {
		t.Error("CutNextPublish: the message came whole")
	}
	s, _ = mustConnect(t, p, owner)
	if m := s.receive(t); m.Topic != owner.Topic("whole") {
		t.Errorf("after the cut: %s", m.Topic)
	}

	silence := p.Inject(fdstest.SilentBroker(owner))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: owner.Topic("b"), QoS: 1}}}); err == nil {
		t.Error("SilentBroker answers")
	}
	silence()
	if err := s.subscribe(t, owner.Topic("b")); err != nil {
		t.Errorf("SilentBroker is not off: %v", err)
	}
	if len(bystander.ended) != 0 {
		t.Error("the other owner's connection ended too")
	}
}

func TestFaultsOfTheBrokerAddUp(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	owner := p.Owners()[0]
	offLimit := p.Inject(fdstest.SmallQueue(2, owner))
	offDeny := p.Inject(fdstest.DenySubscriptions(0x87))
	s, _ := mustConnect(t, p, owner)
	if s.subscribe(t, owner.Topic("#")) == nil {
		t.Error("the subscription is granted")
	}
	offDeny()
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	p.Inject(fdstest.DropConnections())
	<-s.ended
	for range 5 {
		if err := p.Publish(t.Context(), owner, []string{"n"}, []byte("{}"), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Subscriber(owner); got.Queued != 2 || got.Dropped != 3 || got.Connected {
		t.Errorf("%+v", got)
	}
	offLimit()
	if err := p.Publish(t.Context(), owner, []string{"n"}, []byte("{}"), 1, false); err != nil {
		t.Fatal(err)
	}
	if got := p.Subscriber(owner); got.Queued != 3 {
		t.Errorf("after the end of the limit: %+v", got)
	}
}

func TestTheBrokerTakesOnlyGoodCertificates(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	name := p.Owners()[0].Spelling
	now := time.Now()
	for what, req := range map[string]fdstest.CertificateRequest{
		"expired":         {CommonName: name, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)},
		"not yet valid":   {CommonName: name, NotBefore: now.Add(time.Hour)},
		"for servers":     {CommonName: name, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		"from elsewhere":  {CommonName: name, ForeignCA: true},
		"good, after all": {CommonName: name},
	} {
		cert, err := p.IssueCertificate(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.X509KeyPair(cert.ChainPEM, cert.KeyPEM); err != nil {
			t.Errorf("%s: the PEM is unusable: %v", what, err)
		}
		conn, err := dial(p, cert.TLS)
		if accepted := err == nil; accepted != (what == "good, after all") {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	if _, err := p.IssueCertificate(fdstest.CertificateRequest{NotAfter: now.Add(-24 * time.Hour)}); err == nil {
		t.Error("a certificate that ends before it begins is issued")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.CAPEM()) || !roots.Equal(p.RootCAs()) {
		t.Error("CAPEM and RootCAs differ")
	}
}
