package realtest_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

const (
	ownerA = "0b8e6c1a-3f5d-4c2b-9a7e-1d2c3b4a5f60"
	ownerB = "5d1f0a2b-7c3e-4e8d-8b6a-9f0e1d2c3b4a"
)

func TestAnOwnerReadsItsOwnTopicsAndNoOthers(t *testing.T) {
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{})
	ctx := testContext(t)
	a := connectOwner(ctx, t, broker, ownerA, ownerA, true)
	b := connectOwner(ctx, t, broker, ownerB, ownerB, true)
	a.subscribe(ctx, t, "fds/v2/"+ownerA+"/#")
	b.subscribe(ctx, t, "fds/v2/"+ownerB+"/#", "fds/v2/"+ownerA+"/#") // granted by the broker, and to no avail

	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "for A")
	publish(ctx, t, broker, "fds/v2/"+ownerB+"/events", "for B")
	a.want(ctx, t, "fds/v2/"+ownerA+"/events", "for A")
	b.want(ctx, t, "fds/v2/"+ownerB+"/events", "for B") // published after A's: had B got A's message, it would be here first

	if _, err := a.client.Publish(ctx, &paho.Publish{Topic: "fds/v2/" + ownerA + "/events", QoS: 1, Payload: []byte("x")}); err == nil {
		t.Error("an owner may publish")
	}
}

func TestTheCertificateDecidesTheClientID(t *testing.T) {
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{})
	ctx := testContext(t)
	a := connectOwner(ctx, t, broker, ownerA, ownerA, true)
	a.subscribe(ctx, t, "fds/v2/"+ownerA+"/#")
	intruder := connectOwner(ctx, t, broker, ownerB, ownerA, true) // B's certificate, A's client ID
	intruder.subscribe(ctx, t, "fds/v2/"+ownerA+"/#", "fds/v2/"+ownerB+"/#")

	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "for A")
	publish(ctx, t, broker, "fds/v2/"+ownerB+"/events", "for B")
	a.want(ctx, t, "fds/v2/"+ownerA+"/events", "for A") // not thrown off
	intruder.want(ctx, t, "fds/v2/"+ownerB+"/events", "for B")
}

func TestAStoppedBrokerKeepsSessionsAndAKilledOneLosesThem(t *testing.T) {
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{})
	ctx := testContext(t)
	first := connectOwner(ctx, t, broker, ownerA, ownerA, false)
	first.subscribe(ctx, t, "fds/v2/"+ownerA+"/#")
	first.drop(t)
	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "while away")

	broker.Stop()
	broker.Start()
	second := connectOwner(ctx, t, broker, ownerA, ownerA, false)
	if !second.sessionPresent {
		t.Fatal("a broker that was stopped has lost the session")
	}
	second.want(ctx, t, "fds/v2/"+ownerA+"/events", "while away")

	// The saved session would come back: a changed one must not, so the broker forgets what it has
	// not saved.
	second.drop(t)
	fresh := connectOwner(ctx, t, broker, ownerB, ownerB, false)
	fresh.drop(t)
	broker.Kill()
	broker.Start()
	if connectOwner(ctx, t, broker, ownerB, ownerB, false).sessionPresent {
		t.Fatal("a broker that was killed still knows a session that it had not saved")
	}
	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "the publisher connects again")
}

func TestABrokerStopsEvenRightAfterItsStart(t *testing.T) {
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{})
	for range 20 {
		broker.Stop()
		broker.Start()
	}
	publish(testContext(t), t, broker, "fds/v2/"+ownerA+"/events", "still in order")
}

func TestABrokerThatSavesEachChangeSurvivesBeingKilled(t *testing.T) {
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{Config: []string{"autosave_interval 1", "autosave_on_changes true"}})
	ctx := testContext(t)
	first := connectOwner(ctx, t, broker, ownerA, ownerA, false)
	first.subscribe(ctx, t, "fds/v2/"+ownerA+"/#")
	first.drop(t)
	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "one")
	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "two")
	if _, err := broker.WaitLog(ctx, "Saving in-memory database"); err != nil {
		t.Fatal(err)
	}
	// The line comes before the saving; the broker has one thread, so an acknowledgement after it
	// says that the saving is done.
	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "three")
	broker.Kill()
	broker.Start()
	if !connectOwner(ctx, t, broker, ownerA, ownerA, false).sessionPresent {
		t.Fatalf("the session is lost; the broker's log:\n%s", broker.Logs())
	}
}

func TestABrokerRefusesAClientWithoutACertificateOfItsAuthority(t *testing.T) {
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{TLS12: true})
	stranger := realtest.NewCA(t).IssueCertificate(ownerA, realtest.CertificateOptions{})
	expired := broker.IssueCertificate(ownerA, realtest.CertificateOptions{NotAfter: time.Now().Add(-time.Minute)})
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "a stranger's": {stranger.TLS}, "expired": {expired.TLS}} {
		conn, err := tls.Dial("tcp", broker.Address, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: broker.RootCAs, Certificates: certificates})
		if err == nil {
			conn.Close()
			t.Errorf("certificate %s: accepted", name)
		}
	}
	good := broker.IssueCertificate(ownerA, realtest.CertificateOptions{})
	conn, err := tls.Dial("tcp", broker.Address, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: broker.RootCAs, Certificates: []tls.Certificate{good.TLS}})
	if err != nil {
		t.Fatalf("a good certificate was refused: %v", err)
	}
	defer conn.Close()
	if version := conn.ConnectionState().Version; version != tls.VersionTLS12 {
		t.Errorf("negotiated %s, want TLS 1.2", tls.VersionName(version))
	}
}

func TestAFrozenBrokerIsSilentUntilItThaws(t *testing.T) {
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{})
	ctx := testContext(t)
	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "before")
	broker.Freeze()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := broker.Publish(short, "fds/v2/"+ownerA+"/events", []byte("frozen"), 1); err == nil {
		t.Error("a frozen broker acknowledged")
	}
	broker.Thaw()
	publish(ctx, t, broker, "fds/v2/"+ownerA+"/events", "after")
}

// owner is a plain subscriber.
type owner struct {
	client         *paho.Client
	conn           net.Conn
	messages       chan *paho.Publish
	sessionPresent bool
}

func connectOwner(ctx context.Context, t *testing.T, broker *realtest.Broker, commonName, clientID string, cleanStart bool) *owner {
	t.Helper()
	certificate := broker.IssueCertificate(commonName, realtest.CertificateOptions{})
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: broker.RootCAs, Certificates: []tls.Certificate{certificate.TLS}}}
	conn, err := dialer.DialContext(ctx, "tcp", broker.Address)
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{conn: conn, messages: make(chan *paho.Publish, 16)}
	o.client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn),
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(received paho.PublishReceived) (bool, error) {
			o.messages <- received.Packet
			return true, nil
		}},
	})
	expiry, receiveMaximum := uint32(3600), uint16(16)
	connack, err := o.client.Connect(ctx, &paho.Connect{
		ClientID: clientID, CleanStart: cleanStart, KeepAlive: 30,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry, ReceiveMaximum: &receiveMaximum},
	})
	if err != nil {
		t.Fatalf("connect as %s: %v; the broker's log:\n%s", commonName, err, broker.Logs())
	}
	o.sessionPresent = connack.SessionPresent
	t.Cleanup(func() { o.drop(t) })
	return o
}

func (o *owner) subscribe(ctx context.Context, t *testing.T, filters ...string) {
	t.Helper()
	subscribe := &paho.Subscribe{}
	for _, filter := range filters {
		subscribe.Subscriptions = append(subscribe.Subscriptions, paho.SubscribeOptions{Topic: filter, QoS: 1})
	}
	if _, err := o.client.Subscribe(ctx, subscribe); err != nil {
		t.Fatal(err)
	}
}

// want fails unless the next message is this one.
func (o *owner) want(ctx context.Context, t *testing.T, topic, payload string) {
	t.Helper()
	select {
	case message := <-o.messages:
		if message.Topic != topic || string(message.Payload) != payload {
			t.Fatalf("got %q on %s, want %q on %s", message.Payload, message.Topic, payload, topic)
		}
	case <-ctx.Done():
		t.Fatalf("no message, want %q on %s", payload, topic)
	}
}

// drop ends the connection without a DISCONNECT, so that the session stays.
func (o *owner) drop(t *testing.T) {
	t.Helper()
	o.conn.Close()
	<-o.client.Done()
}

func publish(ctx context.Context, t *testing.T, broker *realtest.Broker, topic, payload string) {
	t.Helper()
	if err := broker.Publish(ctx, topic, []byte(payload), 1); err != nil {
		t.Fatalf("%v; the broker's log:\n%s", err, tail(broker.Logs()))
	}
}

func tail(text string) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-30):], "\n")
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
