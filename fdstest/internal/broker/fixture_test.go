package broker

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"

	"github.com/fds-sdk/fds-go/fds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout is how long a test waits for what must happen.
const timeout = 20 * time.Second

// An authority issues certificates that are valid at any time, also at that of
// a synctest bubble.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
	serial      atomic.Int64
}

func newAuthority(tb testing.TB, name string) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	a := &authority{key: key}
	template := a.template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.certificate)
	return a
}

func (a *authority) template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial.Add(1)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (a *authority) issue(tb testing.TB, name string, usage x509.ExtKeyUsage) tls.Certificate {
	tb.Helper()
	template := a.template(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	template.DNSNames = []string{"broker.test"}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// A fixture is a broker that listens on loopback, with its authority.
type fixture struct {
	*Broker
	tb      testing.TB
	ca      *authority
	address string
	log     *logBuffer
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func start(tb testing.TB, change func(*Config)) *fixture {
	tb.Helper()
	f := prepare(tb, change)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	f.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.Serve(listener) }()
	tb.Cleanup(func() {
		f.Close()
		if err := <-served; !errors.Is(err, ErrClosed) {
			tb.Errorf("Serve returned %v after Close", err)
		}
	})
	return f
}

// prepare makes a broker that does not listen.
func prepare(tb testing.TB, change func(*Config)) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, ca: newAuthority(tb, "test authority"), log: &logBuffer{}}
	config := Config{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{f.ca.issue(tb, "broker", x509.ExtKeyUsageServerAuth)},
			ClientCAs:    f.ca.pool,
		},
		Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	if change != nil {
		change(&config)
	}
	var err error
	if f.Broker, err = New(config); err != nil {
		tb.Fatal(err)
	}
	return f
}

func newID() string { return fds.NewSubscriptionID().String() }

func (f *fixture) clientTLS(commonName string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{f.ca.issue(f.tb, commonName, x509.ExtKeyUsageClientAuth)},
		RootCAs:      f.ca.pool, ServerName: "broker.test",
	}
}

// dial opens a TLS connection with a certificate for commonName.
func (f *fixture) dial(commonName string) *wire {
	f.tb.Helper()
	raw, err := net.Dial("tcp", f.address)
	if err != nil {
		f.tb.Fatal(err)
	}
	return newWire(f.tb, tls.Client(raw, f.clientTLS(commonName)))
}

// A wire is a client made of raw packets.
type wire struct {
	net.Conn
	tb testing.TB
}

func newWire(tb testing.TB, c net.Conn) *wire {
	tb.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(timeout))
	return &wire{c, tb}
}

func (w *wire) send(p packets.Packet) {
	w.tb.Helper()
	w.sendBytes(appendPacket(nil, p))
}

func (w *wire) sendBytes(b []byte) {
	w.tb.Helper()
	if _, err := w.Write(b); err != nil {
		w.tb.Fatalf("write: %v", err)
	}
}

// receive reads the next packet, which must be of P's type.
func receive[P packets.Packet](w *wire) P {
	w.tb.Helper()
	control, err := packets.ReadPacket(w)
	if err != nil {
		w.tb.Fatalf("read: %v", err)
	}
	p, ok := control.Content.(P)
	if !ok {
		w.tb.Fatalf("received %s, want %T", control, p)
	}
	return p
}

// receiveEnd demands that the broker closes without a further packet.
func (w *wire) receiveEnd() {
	w.tb.Helper()
	control, err := packets.ReadPacket(w)
	switch {
	case err == nil:
		w.tb.Fatalf("received %s, want the end of the connection", control)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.tb.Fatal("the connection stayed open")
	}
}

// receiveDisconnect demands a DISCONNECT with a code, then the end.
func (w *wire) receiveDisconnect(code byte) *packets.Disconnect {
	w.tb.Helper()
	d := receive[*packets.Disconnect](w)
	if d.ReasonCode != code {
		w.tb.Fatalf("DISCONNECT 0x%02X, want 0x%02X", d.ReasonCode, code)
	}
	w.receiveEnd()
	return d
}

// connectPacket asks for a session of one hour.
func connectPacket(clientID string, change func(*packets.Connect)) *packets.Connect {
	p := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: clientID,
		Properties: &packets.Properties{SessionExpiryInterval: new(uint32(3600))},
	}
	if change != nil {
		change(p)
	}
	return p
}

// connect connects and returns the CONNACK, which must be a success.
func (w *wire) connect(clientID string, change func(*packets.Connect)) *packets.Connack {
	w.tb.Helper()
	w.send(connectPacket(clientID, change))
	ack := receive[*packets.Connack](w)
	if ack.ReasonCode != 0 {
		w.tb.Fatalf("CONNACK 0x%02X", ack.ReasonCode)
	}
	return ack
}

func (w *wire) subscribe(options ...packets.SubOptions) []byte {
	w.tb.Helper()
	w.send(&packets.Subscribe{PacketID: 7, Properties: &packets.Properties{}, Subscriptions: options})
	ack := receive[*packets.Suback](w)
	if ack.PacketID != 7 {
		w.tb.Fatalf("SUBACK for packet %d", ack.PacketID)
	}
	return ack.Reasons
}

func (w *wire) subscribeAll(clientID string) {
	w.tb.Helper()
	if reasons := w.subscribe(packets.SubOptions{Topic: "fds/v2/" + clientID + "/#", QoS: 1}); !bytes.Equal(reasons, []byte{1}) {
		w.tb.Fatalf("SUBACK %x", reasons)
	}
}

func (w *wire) ack(packetID uint16) {
	w.tb.Helper()
	w.send(&packets.Puback{PacketID: packetID, Properties: &packets.Properties{}})
}

// roundTrip proves that the broker has handled all that was sent before.
func (w *wire) roundTrip() {
	w.tb.Helper()
	w.send(&packets.Pingreq{})
	receive[*packets.Pingresp](w)
}

// nothingDue proves that no message is due: answers overtake messages, so that
// one could still hide behind the first answer, but not behind the second.
func (w *wire) nothingDue() {
	w.tb.Helper()
	w.roundTrip()
	w.roundTrip()
}

// subscriber connects and subscribes a raw client to all of its topics.
func (f *fixture) subscriber(clientID string, change func(*packets.Connect)) *wire {
	f.tb.Helper()
	w := f.dial(clientID)
	w.connect(clientID, change)
	w.subscribeAll(clientID)
	return w
}

func (f *fixture) publish(clientID, below, payload string, qos byte) {
	f.tb.Helper()
	if _, err := f.Publish("fds/v2/"+clientID+"/"+below, []byte(payload), qos, false); err != nil {
		f.tb.Fatal(err)
	}
}

// until waits for a condition.
func until(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(timeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s", timeout, what)
		}
	}
}

// pahoClient connects the client that the SDK is built on.
func (f *fixture) pahoClient(clientID string, cleanStart bool, receiveMaximum uint16, received func(*paho.Publish)) *paho.Client {
	f.tb.Helper()
	raw, err := net.Dial("tcp", f.address)
	if err != nil {
		f.tb.Fatal(err)
	}
	client := paho.NewClient(paho.ClientConfig{
		ClientID: clientID,
		Conn:     packets.NewThreadSafeConn(tls.Client(raw, f.clientTLS(clientID))),
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			received(p.Packet)
			return true, nil
		}},
	})
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if _, err := client.Connect(ctx, &paho.Connect{
		ClientID: clientID, CleanStart: cleanStart, KeepAlive: 30,
		Properties: &paho.ConnectProperties{ReceiveMaximum: &receiveMaximum, SessionExpiryInterval: new(uint32(3600))},
	}); err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() {
		_ = client.Disconnect(&paho.Disconnect{})
		<-client.Done()
	})
	return client
}

func (f *fixture) pahoSubscribe(client *paho.Client, filter string) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err != nil {
		f.tb.Fatal(err)
	}
}

// inOrder collects messages whose payload is their number and finds the first
// that is out of order.
type inOrder struct {
	next  atomic.Int64
	wrong atomic.Pointer[string]
}

func (o *inOrder) take(p *paho.Publish) {
	if want := fmt.Sprint(o.next.Load()); string(p.Payload) != want && o.wrong.Load() == nil {
		o.wrong.Store(new(fmt.Sprintf("received %q, want %q", p.Payload, want)))
	}
	o.next.Add(1)
}

func (o *inOrder) check(tb testing.TB, n int) {
	tb.Helper()
	until(tb, fmt.Sprintf("%d messages", n), func() bool { return o.next.Load() >= int64(n) || o.wrong.Load() != nil })
	if wrong := o.wrong.Load(); wrong != nil {
		tb.Fatal(*wrong)
	}
}
