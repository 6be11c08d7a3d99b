package push

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// session is one connection from its dial to its end. (What MQTT calls a session
// outlives it.)
type session struct {
	connection *Connection
	run        *run // nil: it is only to end what the broker keeps
	line       *line
	wire       *wire
	connected  bool // CONNACK has come

	to          server
	certificate *tls.Certificate // with its Leaf
	present     bool             // the broker had kept the session
	granted     granted
	lastID      uint16    // packet identifier of our last request
	since       time.Time // when it was subscribed; zero: it was not
	watch       *certificateWatch
	sawForeign  bool // there was one; the reader's alone
	sawUnwanted bool // a message was not wanted; the reader's alone

	mu    sync.Mutex // guards what follows
	flow  flow
	known chan struct{} // closed when flow is; nil: nobody waits for that
	// whenEnded ends BeforeMessages with the connection; nil: it has not begun.
	whenEnded context.CancelFunc
}

// ended is told that the wire has.
func (s *session) ended() {
	s.mu.Lock()
	end := s.whenEnded
	s.mu.Unlock()
	if end != nil {
		end()
	}
	s.run.signal(signalEnded)
}

// flow is whether messages may be handed over.
type flow uint8

const (
	flowUnknown flow = iota
	flowOpen         // subscribed, and OnState and BeforeMessages were told
	flowNever
)

// flows settles whether messages may be handed over.
func (s *session) flows(f flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flow = f
	if s.known != nil {
		close(s.known)
		s.known = nil
	}
}

func newSession(c *Connection, to server, l *line) *session {
	return &session{connection: c, to: to, line: l}
}

// granted is what the broker said in its CONNACK and SUBACK.
type granted struct {
	keepAlive, expiry time.Duration
	packetSize        uint32 // that it accepts; 0: any
	subscriptions     []Subscription
}

// refused returns an error when the broker refused some filters; all reports whether
// it refused every one.
func (g *granted) refused() (err error, all bool) {
	all = true
	for _, s := range g.subscriptions {
		if s.Err == nil {
			all = false
		} else if err == nil || actionOf(s.Err) > actionOf(err) {
			err = s.Err
		}
	}
	return err, all && err != nil
}

// atMostOnce reports whether a filter has quality of service 0, of which the broker keeps
// nothing for a client that is away.
func (g *granted) atMostOnce() bool {
	return slices.ContainsFunc(g.subscriptions, func(s Subscription) bool { return s.Err == nil && s.QoS == 0 })
}

// open does all that comes before the first message, once there is a certificate and a turn.
func (s *session) open(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	return s.subscribe(ctx)
}

// findCertificate asks for the client certificate.
func (s *session) findCertificate(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.connection.settings.ConnectTimeout)
	defer cancel()
	s.certificate, err = s.connection.settings.usableCertificate(ctx, nil)
	return err
}

// connectPacket is the CONNECT of an owner's connection.
func (s *session) connectPacket() *packets.Connect {
	settings := &s.connection.settings
	var (
		expiry         = seconds(settings.SessionExpiry)
		receiveMaximum = settings.ReceiveMaximum
		packetSize     = uint32(settings.MaxPacketSize)
	)
	switch {
	case s.line == nil: // only to end the session
		expiry = 0
	case s.connection.cautious:
		// What is in flight in a kept session comes before the SUBACK, and reading that waits for
		// the budget does not see that.
		receiveMaximum = 1
	default:
		receiveMaximum = s.line.receiveMaximum(receiveMaximum)
	}
	return &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5,
		ClientID:   settings.Root.ClientID(),
		CleanStart: s.line == nil,
		KeepAlive:  uint16(seconds(settings.KeepAlive)),
		Properties: &packets.Properties{ // no topic aliases, which is the default
			SessionExpiryInterval: &expiry,
			ReceiveMaximum:        &receiveMaximum,
			MaximumPacketSize:     &packetSize,
			// Who connects, as HTTP's User-Agent says. The length of the name is the byte 10,
			// a line feed: a web server that waits for the end of a line answers at once.
			User: []packets.User{{Key: "user-agent", Value: "fds-go"}},
		},
	}
}

// seconds rounds up, so that a short time does not become none.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// connect dials and exchanges CONNECT and CONNACK, all within ConnectTimeout.
func (s *session) connect(ctx context.Context) error {
	settings := &s.connection.settings
	if s.line != nil { // who only ends a session does not queue behind a fleet
		defer settings.Limit.Release()
		if err := s.line.fence(); err != nil { // a connect would take the session over
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, settings.ConnectTimeout)
	defer cancel()
	conn, raw, err := settings.dial(ctx, &s.to, s.certificate)
	if err != nil {
		return err
	}
	packet := s.connectPacket()
	w := newWire(conn, raw, settings)
	w.observe = settings.observer(s.to.address, conn)
	w.receiveMaximum, w.received = int(*packet.Properties.ReceiveMaximum), s.received
	if s.line != nil {
		w.account, w.onPause, w.work = s.connection.account, s.connection.budgetFull, s.line.work
		w.told = s.ended
	}
	s.wire = w
	// Whoever starts again soon would be taken over by a CONNECT that the broker reads late, so
	// that an attempt that was called off waits for the broker to be done with it.
	abandon := func(cause error) {
		if ctx.Err() == context.Canceled {
			w.finish(cause, &packets.Disconnect{Properties: &packets.Properties{}})
		} else {
			w.fail(cause)
		}
	}
	defer context.AfterFunc(ctx, func() { abandon(fmt.Errorf("%w: %w", errNoConnack, ctx.Err())) })()

	answer, err := w.exchange(ctx, packet, packets.CONNACK, 0)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", errNoConnack, ctx.Err())
		}
		abandon(err)
		return settings.unreachable(ctx, s.to, w.why())
	}
	ack := answer.(*packets.Connack)
	s.connected, s.present = true, ack.SessionPresent
	s.granted.keepAlive, s.granted.expiry = settings.KeepAlive, settings.SessionExpiry
	if p := ack.Properties; p != nil {
		if p.AssignedClientID != "" && p.AssignedClientID != packet.ClientID { // some repeat the one that was given
			return fmt.Errorf("push: connect to %s: %w: it assigned another client ID than the one that was given; FDS demands the subscription ID (M4)", s.to.address, fds.ErrProtocol)
		}
		if p.SessionExpiryInterval != nil {
			s.granted.expiry = time.Duration(*p.SessionExpiryInterval) * time.Second
		}
		if p.WildcardSubAvailable != nil && *p.WildcardSubAvailable == 0 && slices.ContainsFunc(settings.filters, hasWildcard) {
			return &ReasonError{Packet: "CONNACK", Code: packets.SubackWildcardsubscriptionsnotsupported}
		}
		if p.MaximumPacketSize != nil {
			s.granted.packetSize = *p.MaximumPacketSize
		}
		if p.ServerKeepAlive != nil && *p.ServerKeepAlive > 0 { // 0: the broker does not watch; we still do
			s.granted.keepAlive = time.Duration(*p.ServerKeepAlive) * time.Second
		}
	}
	w.keepAlive(min(s.granted.keepAlive, settings.KeepAlive)) // to ping more often is allowed (MQTT 5.0 section 3.1.2.10)
	if s.line != nil && !s.present {
		s.line.sessionLost()
	}
	return nil
}

// errNoConnack: TLS is up, and nothing follows.
var errNoConnack = errors.New("the server did not answer CONNECT in time")

func hasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// startDelivery lets messages flow once BeforeMessages has returned. On an error the
// session is closed, unless Run's context has ended, which drain sees to.
func (s *session) startDelivery(run context.Context, what Subscribed) error {
	if before := s.connection.settings.BeforeMessages; before != nil {
		ctx, cancel := context.WithCancel(run)
		defer cancel()
		s.mu.Lock()
		s.whenEnded = cancel
		s.mu.Unlock()
		if s.wire.hasEnded() {
			cancel()
		}
		err := before(ctx, what)
		s.mu.Lock()
		s.whenEnded = nil
		s.mu.Unlock()
		switch {
		case run.Err() != nil:
			return run.Err()
		case s.wire.hasEnded():
			err = s.wire.why()
			fallthrough
		case err != nil:
			s.close(err)
			return err
		}
	}
	s.flows(flowOpen)
	return nil
}

// received takes a message from the reader, which must not wait, but must have the
// line served if it says so. The line acknowledges it when the handler has
// succeeded; one that is not the owner's too, in its turn, since it would come again
// for ever.
func (s *session) received(p *packets.Publish, at time.Time) (serve bool) {
	if s.line == nil {
		return false
	}
	d := &inbound{session: s, packetID: p.PacketID}
	levels, err := s.connection.settings.Root.Levels(p.Topic)
	if unwanted := err == nil && !s.connection.settings.wants(p.Topic); err != nil || unwanted {
		if unwanted {
			s.connection.discardUnwanted(s, p.Topic)
		} else {
			s.connection.discardForeign(s, err)
		}
		if p.QoS == 0 {
			return false
		}
		d.handled = true
		d.message.QoS = p.QoS
	} else {
		d.account, d.cost = s.connection.account, s.wire.passCost()
		d.message = delivery.Message{
			Owner: s.connection.settings.owner(), Topic: p.Topic, Levels: levels, QoS: p.QoS, Retained: p.Retain, Duplicate: p.Duplicate && p.QoS > 0,
			Source: delivery.FromPush, ReceivedAt: at, Payload: p.Payload,
		}.In(s.connection.settings.Dialect)
	}
	if p.QoS == 0 {
		return s.line.offerAtMostOnce(d)
	}
	return s.line.offer(d)
}

// wants reports whether Topics name a topic of the owner. A session that the broker kept may
// have filters of which nobody knows here any more.
func (s *settings) wants(topic string) bool {
	return s.everything || slices.ContainsFunc(s.filters, func(filter string) bool { return s.Root.Matches(filter, topic) })
}

// isUp reports whether messages may be handed over already.
func (s *session) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flow == flowOpen
}

// waitUp calls waits and then waits until messages may be handed over, if they may not
// already; false: they may not, ever, or not before giveUp was closed.
func (s *session) waitUp(giveUp <-chan struct{}, waits func()) bool {
	for {
		s.mu.Lock()
		f := s.flow
		if f == flowUnknown && s.known == nil {
			s.known = make(chan struct{})
		}
		known := s.known
		s.mu.Unlock()
		if f != flowUnknown {
			return f == flowOpen
		}
		waits()
		select {
		case <-known:
		case <-giveUp:
			return false
		}
	}
}

var errFinished = errors.New("push: disconnected")

// finish disconnects from the broker for that cause; it keeps the session for its expiry
// time; with expire, it forgets it at once. It reports whether the broker was told:
// whether it closed its side then, as it must (MQTT 5.0 section 4.13.2); what was
// written to a network that is dead arrives nowhere.
func (s *session) finish(cause error, expire bool) bool {
	goodbye := &packets.Disconnect{Properties: &packets.Properties{}}
	if expire {
		goodbye.Properties.SessionExpiryInterval = new(uint32)
	}
	told := s.wire.finish(cause, goodbye)
	s.wait()
	return told && s.wire.peerClosed
}

// close ends what open could not complete.
func (s *session) close(cause error) {
	s.flows(flowNever)
	switch {
	case s.wire == nil:
	case !s.connected:
		s.wire.fail(cause)
	default:
		s.wire.finish(cause, &packets.Disconnect{Properties: &packets.Properties{}})
	}
	s.wait()
}

// wait returns when the reader is gone, which it is soon after the wire has ended,
// and what the handler has not begun with is out of the line: it comes again.
func (s *session) wait() {
	if s.watch != nil {
		s.watch.stop()
	}
	if s.wire == nil {
		return
	}
	<-s.wire.untilDone()
	if s.line != nil {
		s.line.withdraw(s)
	}
}
