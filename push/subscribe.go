package push

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/eclipse/paho.golang/packets"
	"github.com/fds-sdk/fds-go/fds"
)

// firstID is where the packet identifiers of our requests begin. Brokers number their
// messages from 1 on, and some, mochi for one, mistake a request for a message that is in
// flight under the same identifier, though the two directions have nothing to do with each
// other (MQTT 5.0 section 2.2.1).
const firstID = 1 << 15

// requestTries is how often a request is sent, each time under another identifier, that
// the broker answers with 0x91, packet identifier in use.
const requestTries = 4

// nextID returns a packet identifier for a request: in the upper half, and drawn at random
// for the first of a connection.
func (s *session) nextID() uint16 {
	if s.lastID == 0 {
		s.lastID = firstID + uint16(rand.N(firstID))
	} else if s.lastID++; s.lastID == 0 {
		s.lastID = firstID
	}
	return s.lastID
}

// subscribe brings the broker's filters to what is wanted. SaveSubscribed is
// told before and after, so that a crash between forgets no filter.
func (s *session) subscribe(ctx context.Context) error {
	c, settings := s.connection, &s.connection.settings
	ctx, cancel := context.WithTimeout(ctx, settings.ConnectTimeout)
	defer cancel()
	if err := c.remember(ctx, appendNew(slices.Clone(settings.Subscribed), settings.filters...)); err != nil {
		return err
	}
	unwanted := slices.DeleteFunc(slices.Clone(settings.Subscribed), func(f string) bool { return slices.Contains(settings.filters, f) })
	gone := unwanted
	if len(unwanted) > 0 && s.present {
		codes, text, err := s.request(ctx, "unsubscribe", "UNSUBACK", len(unwanted), func(id uint16) (packets.Packet, byte) {
			return &packets.Unsubscribe{PacketID: id, Topics: unwanted, Properties: &packets.Properties{}}, packets.UNSUBACK
		})
		if err != nil {
			return err
		}
		gone = nil
		for i, code := range codes {
			if code < 0x80 {
				gone = append(gone, unwanted[i])
			} else { // remembered, and tried again on the next connection
				c.warn("push: a filter of an earlier run stays subscribed", &ReasonError{Packet: "UNSUBACK", Code: code, Text: text, Filter: unwanted[i]})
			}
		}
	}

	codes, text, err := s.request(ctx, "subscribe", "SUBACK", len(settings.filters), func(id uint16) (packets.Packet, byte) {
		request := &packets.Subscribe{PacketID: id, Properties: &packets.Properties{}}
		for _, filter := range settings.filters {
			options := packets.SubOptions{Topic: filter, QoS: 1, RetainHandling: 1} // retained messages once, when the subscription is new
			if settings.AtMostOnce {
				options.QoS = 0
			}
			request.Subscriptions = append(request.Subscriptions, options)
		}
		return request, packets.SUBACK
	})
	if err != nil {
		return err
	}
	s.wire.settled()
	for i, code := range codes {
		subscription := Subscription{Filter: settings.filters[i], QoS: code}
		if code > 2 {
			subscription = Subscription{Filter: settings.filters[i], Err: &ReasonError{Packet: "SUBACK", Code: code, Text: text, Filter: settings.filters[i]}}
		}
		s.granted.subscriptions = append(s.granted.subscriptions, subscription)
	}
	if err, all := s.granted.refused(); all {
		return err
	}
	return c.remember(ctx, slices.DeleteFunc(slices.Clone(settings.Subscribed), func(f string) bool { return slices.Contains(gone, f) }))
}

// request has build make a request under a packet identifier, with the type of its answer,
// and returns that answer's codes, one for each of n filters, and the broker's words. Where
// an identifier is in use it sends all again under another one, a few times: what was
// granted is granted again.
func (s *session) request(ctx context.Context, what, answer string, n int, build func(id uint16) (packets.Packet, byte)) (codes []byte, text string, err error) {
	for try := 1; ; try++ {
		id := s.nextID()
		request, kind := build(id)
		packet, err := s.ask(ctx, what, request, kind, id)
		if err != nil {
			return nil, "", err
		}
		switch ack := packet.(type) {
		case *packets.Suback:
			codes, text = ack.Reasons, cut(ack.Properties.ReasonString)
		case *packets.Unsuback:
			codes, text = ack.Reasons, cut(ack.Properties.ReasonString)
		}
		if len(codes) != n {
			return nil, "", fmt.Errorf("push: %s: %w: its %s answers %d of %d filters", what, fds.ErrProtocol, answer, len(codes), n)
		}
		if try == requestTries || !slices.Contains(codes, packets.SubackPacketIdentifierinuse) {
			return codes, text, nil
		}
	}
}

// ask exchanges a request and its answer on a connection that is there.
func (s *session) ask(ctx context.Context, what string, request packets.Packet, answer byte, id uint16) (packets.Packet, error) {
	if limit := s.granted.packetSize; limit > 0 && len(encode(request)) > int(limit) {
		return nil, &ReasonError{Packet: "CONNACK", Code: packets.DisconnectPacketTooLarge}
	}
	packet, err := s.wire.exchange(ctx, request, answer, id)
	switch {
	case err == nil:
		return packet, nil
	case s.wire.hasEnded():
		return nil, s.wire.why()
	}
	if s.wire.isPaused() {
		s.connection.cautious = true
		return nil, fmt.Errorf("push: %s: its answer was not read: messages in flight come before it, and those that wait for handlers take up push.Settings.Budget: %w", what, err)
	}
	return nil, fmt.Errorf("push: %s: %w: %w", what, fds.ErrUnresponsive, err)
}
