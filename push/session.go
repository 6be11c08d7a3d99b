package push

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// session is one connection from its dial to its end. (What MQTT calls a session
// outlives it.)
type session struct {
	connection *Connection
	line       *line
	wire       *wire
	client     *paho.Client // nil until CONNACK

	to          server
	certificate *tls.Certificate // with its Leaf
	present     bool             // the broker had kept the session
	granted     granted
	up          chan struct{} // closed: subscribed, and OnState and BeforeMessages were told
	over        chan struct{} // closed: up will not come any more
	foreign     error         // the first foreign topic; under the connection's lock, since paho's goroutine and the reader find them
}

// granted is what the broker said in its CONNACK and SUBACK.
type granted struct {
	keepAlive, expiry time.Duration
	subscriptions     []Subscription
}

// refused gives an error when the broker refused some filters; all says whether
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

// open dials, connects and subscribes. On an error nothing is left behind.
func (c *Connection) open(ctx context.Context, to server, l *line) (*session, error) {
	s := &session{connection: c, to: to, line: l, up: make(chan struct{}), over: make(chan struct{})}
	err := s.connect(ctx, connectPacket(&c.settings))
	if err == nil {
		err = s.subscribe(ctx)
	}
	if err != nil {
		s.close(err)
		return nil, err
	}
	return s, nil
}

// connectPacket is the CONNECT of an owner's connection.
func connectPacket(s *settings) *paho.Connect {
	var (
		expiry         = seconds(s.SessionExpiry)
		receiveMaximum = s.ReceiveMaximum
		packetSize     = uint32(s.MaxPacketSize)
		noAliases      uint16
	)
	return &paho.Connect{
		ClientID:  s.Root.ClientID(),
		KeepAlive: uint16(seconds(s.KeepAlive)),
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &expiry,
			ReceiveMaximum:        &receiveMaximum, // paho sizes a channel by it, so it is never left out
			MaximumPacketSize:     &packetSize,
			TopicAliasMaximum:     &noAliases,
			RequestProblemInfo:    true,
		},
	}
}

// seconds rounds up, so that a short time does not become none.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// connect dials and exchanges CONNECT and CONNACK, all within ConnectTimeout.
func (s *session) connect(ctx context.Context, packet *paho.Connect) error {
	settings := &s.connection.settings
	if settings.Limiter != nil {
		if err := settings.Limiter.Wait(ctx); err != nil {
			return fmt.Errorf("push: wait for the connect limiter: %w", err)
		}
	}
	certificate, err := settings.usableCertificate(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settings.ConnectTimeout)
	defer cancel()
	conn, raw, err := settings.dial(ctx, s.to, certificate)
	if err != nil {
		return err
	}
	w := newWire(conn, raw, settings)
	w.atMostOnce = s.receivedAtMostOnce
	w.acknowledged = func(packetID uint16) { s.line.acknowledged(s, packetID) }
	s.wire, s.certificate = w, certificate
	defer context.AfterFunc(ctx, func() { w.fail(fmt.Errorf("push: no CONNACK: %w", ctx.Err())) })()

	client := paho.NewClient(paho.ClientConfig{
		Conn:          w,
		AuthHandler:   noAuth{},
		PingHandler:   noPinger{},
		PacketTimeout: 2 * settings.ConnectTimeout, // ours ends first, and knows why
		Session:       newSurplus(s.received),
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			s.received(p.Packet)
			return true, nil
		}},
	})
	ack, err := client.Connect(context.WithoutCancel(ctx), packet)
	if err != nil {
		w.fail(err)
		return settings.unreachable(ctx, s.to, w.why())
	}
	s.client = client
	s.present = ack.SessionPresent
	s.granted.keepAlive, s.granted.expiry = settings.KeepAlive, settings.SessionExpiry
	if p := ack.Properties; p != nil {
		if p.AssignedClientID != "" {
			return fmt.Errorf("push: connect to %s: %w: it assigned a client ID though one was given; FDS demands the subscription ID (M4)", s.to.address, ErrProtocol)
		}
		if p.SessionExpiryInterval != nil {
			s.granted.expiry = time.Duration(*p.SessionExpiryInterval) * time.Second
		}
		if p.ServerKeepAlive != nil && *p.ServerKeepAlive > 0 { // 0: the broker does not watch; we still do
			s.granted.keepAlive = time.Duration(*p.ServerKeepAlive) * time.Second
		}
	}
	w.keepAlive(s.granted.keepAlive)
	if s.line != nil && !s.present {
		s.line.sessionLost()
	}
	return nil
}

// noAuth is there because paho dereferences the handler when a CONNACK names an
// authentication method. The wire lets no AUTH packet through.
type noAuth struct{}

func (noAuth) Authenticate(*paho.Auth) *paho.Auth { return &paho.Auth{} }
func (noAuth) Authenticated()                     {}

// subscribe brings the broker's filters to what is wanted. SaveSubscribed is
// told before and after, so that a crash between forgets no filter.
func (s *session) subscribe(ctx context.Context) error {
	c, settings := s.connection, &s.connection.settings
	ctx, cancel := context.WithTimeout(ctx, settings.ConnectTimeout)
	defer cancel()
	go func() { // a lost connection ends the exchange; paho would wait for its time-out
		select {
		case <-s.wire.ended:
			cancel()
		case <-ctx.Done():
		}
	}()

	if err := c.remember(ctx, appendNew(slices.Clone(c.known), settings.filters...)); err != nil {
		return err
	}
	unwanted := slices.DeleteFunc(slices.Clone(c.known), func(f string) bool { return slices.Contains(settings.filters, f) })
	gone := unwanted
	if len(unwanted) > 0 && s.present {
		ack, err := s.client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: unwanted})
		if ack == nil {
			return s.unanswered("unsubscribe", err)
		}
		if len(ack.Reasons) != len(unwanted) {
			return fmt.Errorf("push: unsubscribe: %w: its UNSUBACK answers %d of %d filters", ErrProtocol, len(ack.Reasons), len(unwanted))
		}
		gone = nil
		for i, code := range ack.Reasons {
			if code < 0x80 {
				gone = append(gone, unwanted[i])
			} else { // remembered, and tried again on the next connection
				c.warn("push: a filter of an earlier run stays subscribed", &ReasonError{Packet: "UNSUBACK", Code: code, Text: cut(ack.Properties.ReasonString), Filter: unwanted[i]})
			}
		}
	}

	request := &paho.Subscribe{}
	for _, filter := range settings.filters {
		options := paho.SubscribeOptions{Topic: filter, QoS: 1, RetainHandling: 1} // retained messages once, when the subscription is new
		if settings.AtMostOnce {
			options.QoS = 0
		}
		request.Subscriptions = append(request.Subscriptions, options)
	}
	ack, err := s.client.Subscribe(ctx, request)
	switch {
	case errors.Is(err, paho.ErrInvalidArguments): // CONNACK ruled wildcards out
		return &ReasonError{Packet: "CONNACK", Code: packets.SubackWildcardsubscriptionsnotsupported}
	case ack == nil:
		return s.unanswered("subscribe", err)
	case len(ack.Reasons) != len(settings.filters):
		return fmt.Errorf("push: subscribe: %w: its SUBACK answers %d of %d filters", ErrProtocol, len(ack.Reasons), len(settings.filters))
	}
	for i, code := range ack.Reasons {
		subscription := Subscription{Filter: settings.filters[i], QoS: code}
		if code > 2 {
			subscription = Subscription{Filter: settings.filters[i], Err: &ReasonError{Packet: "SUBACK", Code: code, Text: cut(ack.Properties.ReasonString), Filter: settings.filters[i]}}
		}
		s.granted.subscriptions = append(s.granted.subscriptions, subscription)
	}
	if err, all := s.granted.refused(); all {
		return err
	}
	return c.remember(ctx, slices.DeleteFunc(slices.Clone(c.known), func(f string) bool { return slices.Contains(gone, f) }))
}

// begin lets messages flow once BeforeMessages has returned. On an error the
// session is closed, unless Run's context has ended, which drain sees to.
func (s *session) begin(run context.Context, last error) error {
	if before := s.connection.settings.BeforeMessages; before != nil {
		ctx, cancel := context.WithCancel(run)
		defer cancel()
		go func() {
			select {
			case <-s.wire.ended:
				cancel()
			case <-ctx.Done():
			}
		}()
		err := before(ctx, Subscribed{SessionPresent: s.present, Last: last})
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
	close(s.up)
	return nil
}

// unanswered words an exchange that the broker did not answer.
func (s *session) unanswered(what string, err error) error {
	if s.wire.hasEnded() {
		return s.wire.why()
	}
	return fmt.Errorf("push: %s: %w: %w", what, ErrUnresponsive, err)
}

// received is called by paho, one at a time, for messages of quality of service 1 and 2. paho
// acknowledges when it returns, whatever it returns. So it returns when the
// handler has succeeded, or when the connection is over and the wire takes no
// acknowledgement any more.
func (s *session) received(p *paho.Publish) {
	if !s.waitUp(s.wire.ended) {
		return
	}
	m, ok := s.message(p.Topic, p.QoS, p.Retain, p.Duplicate(), p.Payload)
	if !ok {
		return // and acknowledged: it would come again for ever
	}
	if at := s.wire.arrival(p.PacketID); !at.IsZero() {
		m.ReceivedAt = at // it may have waited since
	}
	d := s.line.offer(&delivery{message: m, packetID: p.PacketID, session: s, handled: make(chan struct{}), acked: make(chan struct{})})
	select {
	case <-d.handled:
	case <-s.wire.ended:
		s.line.withdraw(d)
	}
}

// receivedAtMostOnce takes a message of quality of service 0 from the reader,
// which must not wait.
func (s *session) receivedAtMostOnce(p *packets.Publish) {
	if m, ok := s.message(p.Topic, 0, p.Retain, false, p.Payload); ok && s.line != nil {
		s.line.offerAtMostOnce(&delivery{message: m, session: s, handled: make(chan struct{})})
	}
}

// message makes a message of a PUBLISH; false: its topic is not the owner's.
func (s *session) message(topic string, qos byte, retained, duplicate bool, payload []byte) (Message, bool) {
	settings := &s.connection.settings
	levels, err := settings.Root.Levels(topic)
	if err != nil {
		s.connection.discardForeign(s, err)
		return Message{}, false
	}
	return Message{
		Owner: settings.Owner, Topic: topic, Levels: levels, QoS: qos, Retained: retained, Duplicate: duplicate,
		Source: FromPush, ReceivedAt: time.Now(), Payload: payload,
	}, true
}

// waitUp waits until messages may be handed over; false: they may not, ever, or
// not before giveUp was closed.
func (s *session) waitUp(giveUp <-chan struct{}) bool {
	select {
	case <-s.up:
		return true
	default:
	}
	select {
	case <-s.up:
		return true
	case <-s.over:
	case <-giveUp:
	}
	return false
}

var errFinished = errors.New("push: disconnected")

// finish disconnects from the broker, which keeps the session for its expiry
// time; with expire, it forgets it at once. It says whether the broker was told.
func (s *session) finish(expire bool) bool {
	goodbye := &packets.Disconnect{Properties: &packets.Properties{}}
	if expire {
		goodbye.Properties.SessionExpiryInterval = new(uint32)
	}
	told := s.wire.finish(errFinished, goodbye)
	s.wait()
	return told
}

// close ends what open could not complete.
func (s *session) close(cause error) {
	close(s.over)
	switch {
	case s.wire == nil:
	case s.client == nil:
		s.wire.fail(cause)
	default:
		s.wire.finish(cause, &packets.Disconnect{Properties: &packets.Properties{}})
	}
	s.wait()
}

// wait returns when paho's goroutines are gone, which they are soon after the
// wire has ended.
func (s *session) wait() {
	if s.wire == nil {
		return
	}
	if s.client != nil {
		<-s.client.Done()
	}
	s.wire.awaitReader() // paho may have left its reader of CONNACK behind
}
