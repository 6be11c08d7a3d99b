package realtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// ErrUnconnected: nothing was published, since the provider could not connect to the broker.
var ErrUnconnected = errors.New("connect as the provider")

// publisher is the provider's own connection to the broker, made when it is first needed and again
// after it was lost.
type publisher struct {
	address     string
	roots       *x509.CertPool
	certificate Certificate

	mu     sync.Mutex
	client *paho.Client
}

// Publish publishes as the provider. With QoS 1 it returns when the broker has acknowledged. It may
// be called from several goroutines.
func (b *Broker) Publish(ctx context.Context, topic string, payload []byte, qos byte) error {
	return b.PublishPacket(ctx, &paho.Publish{Topic: topic, Payload: payload, QoS: qos})
}

// PublishPacket publishes as the provider with all that a PUBLISH can carry: retain, expiry and
// other properties.
func (b *Broker) PublishPacket(ctx context.Context, packet *paho.Publish) error {
	return b.publisher.publish(ctx, packet)
}

// PublishAs has Publish and PublishPacket connect with a certificate and key of the test's own, in
// PEM, for a broker of MosquittoFrom.
func (b *Broker) PublishAs(address string, roots *x509.CertPool, bundle []byte) {
	b.t.Helper()
	pair, err := tls.X509KeyPair(bundle, bundle)
	if err != nil {
		b.t.Fatalf("realtest: publish as: %v", err)
	}
	b.publisher.close()
	b.publisher = publisher{address: address, roots: roots, certificate: Certificate{TLS: pair}}
	b.t.Cleanup(b.publisher.close)
}

func (p *publisher) publish(ctx context.Context, packet *paho.Publish) error {
	client, err := p.connected(ctx)
	if err != nil {
		return fmt.Errorf("realtest: %w: %w", ErrUnconnected, err)
	}
	if _, err := client.Publish(ctx, packet); err != nil {
		return fmt.Errorf("realtest: publish to %q: %w", packet.Topic, err)
	}
	return nil
}

func (p *publisher) connected(ctx context.Context) (*paho.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		select {
		case <-p.client.Done():
		default:
			return p.client, nil
		}
	}
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      p.roots,
		Certificates: []tls.Certificate{p.certificate.TLS},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	receiveMaximum := uint16(16)
	client := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn)})
	if _, err := client.Connect(ctx, &paho.Connect{
		ClientID:   ProviderUser,
		CleanStart: true,
		KeepAlive:  30,
		Properties: &paho.ConnectProperties{ReceiveMaximum: &receiveMaximum},
	}); err != nil {
		return nil, err
	}
	p.client = client
	return client, nil
}

func (p *publisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		_ = p.client.Disconnect(&paho.Disconnect{}) // the broker may be gone; the connection is closed either way
		<-p.client.Done()
		p.client = nil
	}
}
