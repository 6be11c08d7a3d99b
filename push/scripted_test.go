package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// scripted is a broker that does what a test's script says, over TLS on pipes in
// memory, so that testing/synctest can drive the time.
type scripted struct {
	t      *testing.T
	ca     *realtest.CA
	server tls.Config
	owner  fds.OwnerKey
	root   fds.Root
	script func(p *peer)
	wrap   func(net.Conn) net.Conn // around the client's end

	mu    sync.Mutex
	dials []time.Time
	peers sync.WaitGroup
}

// newScripted runs script for each connection, after the TLS handshake. The
// connection is closed when the script returns.
func newScripted(t *testing.T, script func(p *peer)) *scripted {
	t.Helper()
	ca := realtest.NewCA(t)
	owner, root := newOwner()
	s := &scripted{t: t, ca: ca, owner: owner, root: root, script: script}
	s.server = tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{ca.IssueCertificate("broker.test", realtest.CertificateOptions{Hosts: []string{"broker.test", "other.test"}}).TLS},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.Pool(),
	}
	t.Cleanup(s.peers.Wait)
	return s
}

func (s *scripted) config() push.Config {
	certificate := s.ca.IssueCertificate(s.root.ClientID(), realtest.CertificateOptions{}).TLS
	return push.Config{
		Issuer: s.owner.Issuer, Root: s.root, BrokerURL: "mqtts://broker.test", Roots: realtest.Trusting(s.ca.Pool()),
		Certificate: func(context.Context) (*tls.Certificate, error) { return &certificate, nil },
		Dial:        s.dial,
	}
}

func (s *scripted) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" || address != "broker.test:8883" {
		return nil, errors.New("dialled " + network + " " + address)
	}
	s.mu.Lock()
	s.dials = append(s.dials, time.Now())
	n := len(s.dials)
	s.mu.Unlock()
	client, server := net.Pipe()
	s.peers.Go(func() {
		conn := tls.Server(server, &s.server)
		defer server.Close()
		if conn.Handshake() == nil {
			s.script(&peer{t: s.t, conn: conn, raw: server, n: n, root: s.root})
		}
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = conn.Close()
	})
	if s.wrap != nil {
		return s.wrap(client), nil
	}
	return client, nil
}

// dialled returns when the broker was dialled.
func (s *scripted) dialled() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dials)
}

// peer is the broker's side of one connection.
type peer struct {
	t    *testing.T
	conn *tls.Conn
	raw  net.Conn
	n    int // which connection this is, from 1
	root fds.Root
}

// fatal fails the test and ends the script.
func (p *peer) fatal(format string, args ...any) {
	p.t.Errorf("connection %d: "+format, append([]any{p.n}, args...)...)
	runtime.Goexit()
}

// next returns the next packet, or nil when the client has closed.
func (p *peer) next() *packets.ControlPacket {
	packet, err := packets.ReadPacket(p.conn)
	if err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) {
			p.fatal("read: %v", err)
		}
		return nil
	}
	return packet
}

// expect returns the next packet, which must be of that type.
func (p *peer) expect(kind byte) *packets.ControlPacket {
	p.t.Helper()
	packet := p.next()
	if packet == nil && kind == packets.CONNECT {
		runtime.Goexit() // the test ended while the client was connecting
	}
	if packet == nil || packet.Type != kind {
		p.fatal("got %v, want packet type %d", packet, kind)
	}
	return packet
}

func (p *peer) send(packet interface {
	WriteTo(io.Writer) (int64, error)
}) {
	if _, err := packet.WriteTo(p.conn); err != nil {
		p.t.Logf("connection %d: send: %v", p.n, err)
		runtime.Goexit()
	}
}

// sendRaw sends bytes as they are; that the client does not take them all is no
// failure.
func (p *peer) sendRaw(raw ...byte) { _, _ = p.conn.Write(raw) }

// connack answers a CONNECT.
func (p *peer) connack(present bool, properties packets.Properties) *packets.Connect {
	p.t.Helper()
	connect := p.expect(packets.CONNECT).Content.(*packets.Connect)
	p.send(&packets.Connack{SessionPresent: present, Properties: &properties})
	return connect
}

// suback answers a SUBSCRIBE; without codes it grants what is asked for.
func (p *peer) suback(codes ...byte) *packets.Subscribe {
	p.t.Helper()
	subscribe := p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe)
	if codes == nil {
		for _, s := range subscribe.Subscriptions {
			codes = append(codes, s.QoS)
		}
	}
	p.send(&packets.Suback{PacketID: subscribe.PacketID, Reasons: codes, Properties: &packets.Properties{}})
	return subscribe
}

// accept lets the client in and grants its filters.
func (p *peer) accept(present bool) {
	p.t.Helper()
	p.connack(present, packets.Properties{})
	p.suback()
}

// publish sends a message of quality of service 1, or 0 for id 0.
func (p *peer) publish(id uint16, duplicate bool, below, payload string) {
	m := &packets.Publish{Topic: p.root.String() + below, Payload: []byte(payload), PacketID: id, QoS: 1, Duplicate: duplicate, Properties: &packets.Properties{}}
	if id == 0 {
		m.QoS = 0
	}
	p.send(m)
}

// puback expects the acknowledgement of a message.
func (p *peer) puback(id uint16) {
	p.t.Helper()
	if got := p.expect(packets.PUBACK).Content.(*packets.Puback); got.PacketID != id || got.ReasonCode != 0 {
		p.fatal("got %v, want the acknowledgement of %d", got, id)
	}
}

// stay answers pings until the client disconnects, and returns its DISCONNECT, or
// nil when it closed without. Any other packet fails the test.
func (p *peer) stay() *packets.Disconnect {
	p.t.Helper()
	for {
		packet := p.next()
		switch {
		case packet == nil:
			return nil
		case packet.Type == packets.PINGREQ:
			p.send(packets.NewControlPacket(packets.PINGRESP))
		case packet.Type == packets.DISCONNECT:
			return packet.Content.(*packets.Disconnect)
		default:
			p.fatal("got %v", packet)
		}
	}
}

// discard handles no message, because there must be none.
func discard(t *testing.T) delivery.Handler {
	return func(_ context.Context, m delivery.Message) error {
		t.Errorf("unexpected: %v", m)
		return nil
	}
}
