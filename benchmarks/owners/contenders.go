package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// Names of contenders.
const (
	sdk       = "fds-go"
	sdkDisk   = "fds-go, disk"
	old       = "old"
	limited   = "fds-go, 200/s"
	plain     = "autopaho"
	tuned     = "autopaho, tuned"
	pahoAlone = "paho.Client"
)

// contender is a client that is measured.
type contender struct {
	name       string
	limited    bool // only its connecting is of interest
	disk       bool // keeps states on disk, and closes gaps
	reconnects bool
	connect    func(owner) error
	fleet      func([]owner, *access) (connect func(), err error) // prepares to connect all, instead of connect
}

var contenders = []contender{
	{name: sdk, reconnects: true, fleet: runUnlimited},
	{name: old, reconnects: true}, // its process knows how
	{name: sdkDisk, disk: true, reconnects: true, fleet: runUnlimited},
	{name: limited, limited: true, reconnects: true, fleet: runLimited},
	{name: plain, reconnects: true, connect: func(o owner) error { return connectAutopaho(o, false) }},
	{name: tuned, reconnects: true, connect: func(o owner) error { return connectAutopaho(o, true) }},
	{name: pahoAlone, connect: connectPaho},
}

// owner is what a contender gets to connect an owner.
type owner struct {
	id          string
	brokerURL   *url.URL
	roots       *x509.CertPool
	certificate *tls.Certificate
	keepAlive   time.Duration

	up      func()      // each time it is subscribed
	closed  func()      // each time what an outage may have lost is there
	failed  func(error) // it will not come up any more
	message func(payload []byte)
}

func (o owner) filter() string { return "fds/v2/" + o.id + "/#" }

func (o owner) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.roots, Certificates: []tls.Certificate{*o.certificate}}
}

const sessionExpiry = 24 * time.Hour

// connectAutopaho leaves everything at its default or, tuned, sets what its users
// learn to set: the receive maximum, the session's expiry and a back-off with
// jitter.
func connectAutopaho(o owner, tune bool) error {
	config := autopaho.ClientConfig{
		ServerUrls: []*url.URL{o.brokerURL},
		TlsCfg:     o.tls(),
		KeepAlive:  uint16(o.keepAlive / time.Second),
		OnConnectionUp: func(manager *autopaho.ConnectionManager, _ *paho.Connack) {
			if _, err := manager.Subscribe(context.Background(), o.subscribe()); err == nil {
				o.up()
			} // otherwise the connection is gone, and the next one comes
		},
		ClientConfig: paho.ClientConfig{ClientID: o.id, OnPublishReceived: o.received()},
	}
	if tune {
		config.SessionExpiryInterval = uint32(sessionExpiry / time.Second)
		config.ReconnectBackoff = autopaho.NewExponentialBackoff(500*time.Millisecond, 2*time.Minute, time.Second, 2)
		config.ConnectPacketBuilder = func(packet *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			packet.Properties = tunedProperties()
			return packet, nil
		}
	}
	_, err := autopaho.NewConnection(context.Background(), config)
	return err
}

func tunedProperties() *paho.ConnectProperties {
	expiry, receiveMaximum := uint32(sessionExpiry/time.Second), uint16(64)
	return &paho.ConnectProperties{SessionExpiryInterval: &expiry, ReceiveMaximum: &receiveMaximum}
}

// connectPaho connects once.
func connectPaho(o owner) error {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		dialer := tls.Dialer{Config: o.tls()}
		conn, err := dialer.DialContext(ctx, "tcp", o.brokerURL.Host)
		if err != nil {
			o.failed(err)
			return
		}
		client := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn), OnPublishReceived: o.received()})
		if _, err = client.Connect(ctx, &paho.Connect{ClientID: o.id, KeepAlive: uint16(o.keepAlive / time.Second), Properties: tunedProperties()}); err == nil {
			_, err = client.Subscribe(ctx, o.subscribe())
		}
		if err != nil {
			o.failed(err)
			return
		}
		o.up()
	}()
	return nil
}

func (o owner) subscribe() *paho.Subscribe {
	return &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: o.filter(), QoS: 1}}}
}

// received hands messages over; paho acknowledges each after that.
func (o owner) received() []func(paho.PublishReceived) (bool, error) {
	return []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
		o.message(p.Packet.Payload)
		return true, nil
	}}
}

func contenderNamed(name string) (contender, error) {
	for _, c := range contenders {
		if c.name == name {
			return c, nil
		}
	}
	return contender{}, fmt.Errorf("there is no client %q", name)
}

// connectable prepares what an owner connects with.
func (a *access) connectable() ([]owner, error) {
	brokerURL, err := url.Parse(a.BrokerURL)
	if err != nil {
		return nil, err
	}
	brokerURL.Scheme = "tls" // autopaho's word for it
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.CAPEM) {
		return nil, errors.New("the authority's certificate cannot be read")
	}
	var owners []owner
	for _, i := range a.Owners {
		certificate, err := tls.X509KeyPair(i.CertPEM, i.KeyPEM)
		if err != nil {
			return nil, err
		}
		owners = append(owners, owner{id: i.ID, brokerURL: brokerURL, roots: roots, certificate: &certificate, keepAlive: a.KeepAlive})
	}
	return owners, nil
}
