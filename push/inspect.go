package push

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/fds-sdk/fds-go/fds"
)

// violation is a rule that the broker broke: the reason code of our DISCONNECT
// and our own error.
type violation struct {
	code byte
	err  error
}

func (v *violation) Error() string { return v.err.Error() }

// broken makes a violation of a rule out of a text of ours; no text that the broker
// sent goes into it.
func broken(code byte, rule error, format string, args ...any) *violation {
	return &violation{code, &lostError{fmt.Errorf("%w: %s", rule, fmt.Sprintf(format, args...))}}
}

func protocolError(code byte, format string, args ...any) *violation {
	return broken(code, fds.ErrProtocol, format, args...)
}

// inspect decides what becomes of a packet: handed to whom it is for, or the end
// of the connection.
func (w *wire) inspect(packet []byte, header int) error {
	kind, flags := packet[0]>>4, packet[0]&0x0F
	w.mu.Lock()
	connected := w.connected
	w.mu.Unlock()
	if connected == (kind == packets.CONNACK) && kind != packets.AUTH && kind != packets.DISCONNECT {
		return protocolError(0x82, "packet type %d is out of place", kind)
	}
	if kind == packets.PUBLISH {
		return w.inspectPublish(packet, header)
	}
	want := byte(0)
	if kind == packets.PUBREL {
		want = 2
	}
	if flags != want {
		return protocolError(0x81, "packet type %d has flags %d", kind, flags)
	}
	switch kind {
	case packets.CONNACK, packets.SUBACK, packets.UNSUBACK, packets.PUBREL, packets.PINGRESP, packets.DISCONNECT:
	case packets.AUTH:
		return protocolError(0x82, "it asks for an enhanced authentication that was not offered; FDS demands client certificates (M2)")
	default: // we never publish, so none of these is an answer to us
		return protocolError(0x82, "packet type %d is not for a subscriber", kind)
	}
	if kind == packets.PUBREL {
		return w.inspectPubrel(packet[header:])
	}
	if kind == packets.DISCONNECT && len(packet) == header { // short for reason code 0, which the codec does not know
		w.fail(reasonError("DISCONNECT", 0, nil))
		return nil
	}
	if old := packet[header:]; kind == packets.CONNACK && len(old) == 2 {
		w.fail(oldMQTT(old))
		return nil
	}
	content, err := decode(packet)
	if err != nil {
		return protocolError(0x81, "packet type %d cannot be read", kind)
	}
	switch p := content.(type) {
	case *packets.Connack:
		switch {
		case p.ReasonCode >= 0x80:
			w.fail(reasonError("CONNACK", p.ReasonCode, p.Properties))
			return nil
		case p.ReasonCode != 0:
			return protocolError(0x82, "CONNACK has reason code %d", p.ReasonCode)
		}
		w.mu.Lock()
		w.connected = true
		w.mu.Unlock()
		w.greeted = true
		return w.answered(kind, 0, p)
	case *packets.Suback:
		if !slices.Contains(p.Reasons, packets.SubackPacketIdentifierinuse) { // which is asked for again
			w.settled()
		}
		return w.answered(kind, p.PacketID, p)
	case *packets.Unsuback:
		return w.answered(kind, p.PacketID, p)
	case *packets.Disconnect:
		w.fail(reasonError("DISCONNECT", p.ReasonCode, p.Properties))
	}
	return nil
}

// settled notes that messages are handled from now on: the last SUBACK has come.
func (w *wire) settled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subscribed = true
}

// isSettled reports whether messages are handled.
func (w *wire) isSettled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.subscribed
}

// oldRefusals are the reason codes of what a broker refuses with that speaks MQTT
// 3.1.1 alone, and answers without properties: its codes from 1 on (MQTT 3.1.1
// section 3.2.2.3).
var oldRefusals = [...]byte{0x84, 0x85, 0x88, 0x86, 0x87}

// answered hands a packet to the exchange that waits for it.
func (w *wire) answered(kind byte, id uint16, packet packets.Packet) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awaited != kind || w.awaitedID != id {
		return protocolError(0x82, "packet type %d answers nothing", kind)
	}
	w.answer <- packet // there is room
	w.awaited, w.answer = 0, nil
	return nil
}

// inspectPublish checks a PUBLISH and hands it to w.received. When far too many
// messages are unacknowledged, it waits first; see allowance.
func (w *wire) inspectPublish(packet []byte, header int) error {
	message := &packets.Publish{QoS: packet[0] >> 1 & 3, Duplicate: packet[0]&8 != 0, Retain: packet[0]&1 != 0}
	rest := packet[header:]
	if message.QoS == 3 {
		return protocolError(0x81, "a message has quality of service 3")
	}
	if len(rest) < 2 {
		return protocolError(0x81, "a message has no topic")
	}
	topic := int(rest[0])<<8 | int(rest[1])
	if rest = rest[2:]; len(rest) < topic {
		return protocolError(0x81, "a message's topic is cut")
	}
	message.Topic, rest = string(rest[:topic]), rest[topic:]
	if message.QoS > 0 {
		if len(rest) < 2 {
			return protocolError(0x81, "a message has no packet identifier")
		}
		message.PacketID, rest = uint16(rest[0])<<8|uint16(rest[1]), rest[2:]
		if message.PacketID == 0 {
			return protocolError(0x82, "a message has packet identifier 0")
		}
	}
	properties, n := variableInt(rest)
	if n == 0 || len(rest)-n < properties {
		return protocolError(0x81, "a message's properties are cut")
	}
	switch aliased, ok := walk(rest[n:n+properties], packets.PUBLISH); {
	case !ok:
		return protocolError(0x81, "a message cannot be read")
	case aliased:
		return protocolError(0x94, "a message has a topic alias, which this client does not allow")
	}
	message.Payload = rest[n+properties:]
	kept := len(packet)
	if kept > 2*len(message.Payload)+messageBytes { // what keeps the payload must not keep much more
		message.Payload = bytes.Clone(message.Payload)
		kept = len(message.Payload)
	}
	arrived := time.Now()
	if !w.charge(kept + len(message.Topic) + messageBytes + levelBytes*(1+strings.Count(message.Topic, "/"))) {
		return errEnded
	}
	if message.QoS > 0 {
		if repeated, err := w.expect(message, len(packet)); err != nil || repeated {
			return err
		}
	}
	w.toServe = w.received(message, arrived)
	return nil
}

// inspectPubrel checks a PUBREL and answers it. What PUBREC has acknowledged is not
// remembered, so any identifier may be completed.
func (w *wire) inspectPubrel(rest []byte) error {
	ok := len(rest) >= 2
	if len(rest) > 3 {
		properties, n := variableInt(rest[3:])
		if ok = n > 0 && len(rest)-3-n == properties; ok {
			_, ok = walk(rest[3+n:], packets.PUBREL)
		}
	}
	if !ok {
		return protocolError(0x81, "a PUBREL cannot be read")
	}
	id := uint16(rest[0])<<8 | uint16(rest[1])
	if id == 0 {
		return protocolError(0x82, "a PUBREL has packet identifier 0")
	}
	_ = w.write(&packets.Pubcomp{PacketID: id, Properties: &packets.Properties{}})
	return nil
}

// walk reports whether the properties of a PUBLISH or a PUBREL can be read, and
// whether they hold a topic alias. They come as often as the broker likes, and
// the codec takes 270 times the memory that they have on the network.
func walk(p []byte, kind byte) (aliased, ok bool) {
	for len(p) > 0 {
		id := p[0]
		p = p[1:]
		n := 0
		switch {
		case id == packets.PropUser:
			if n = field(p); n <= len(p) {
				n += field(p[n:])
			}
		case kind == packets.PUBREL:
			if id != packets.PropReasonString {
				return false, false
			}
			n = field(p)
		default:
			switch id {
			case packets.PropPayloadFormat:
				n = 1
			case packets.PropMessageExpiry:
				n = 4
			case packets.PropTopicAlias:
				n, aliased = 2, true
			case packets.PropSubscriptionIdentifier:
				if _, n = variableInt(p); n == 0 {
					return false, false
				}
			case packets.PropContentType, packets.PropResponseTopic, packets.PropCorrelationData:
				n = field(p)
			default:
				return false, false
			}
		}
		if n > len(p) {
			return false, false
		}
		p = p[n:]
	}
	return aliased, true
}

// field returns how long a string or binary data at the beginning of p is; longer
// than p when it is cut (MQTT 5.0 section 1.5.4).
func field(p []byte) int {
	if len(p) < 2 {
		return 2
	}
	return 2 + int(p[0])<<8 + int(p[1])
}

// expect notes that a message, of a packet of that size, awaits its acknowledgement.
// repeated reports that it does already: some brokers, EMQX for one, send again on the same
// connection what was not acknowledged for a while, though MQTT 5.0 section 4.4 forbids it.
// Such a message is the one that waits or is in hand, and is acknowledged once, with that.
func (w *wire) expect(message *packets.Publish, size int) (repeated bool, err error) {
	print := fingerprint(message)
	w.mu.Lock()
	defer w.mu.Unlock()
	if before, known := w.unacked[message.PacketID]; known {
		if message.Duplicate && print == before {
			return true, nil
		}
		return false, protocolError(0x82, "a packet identifier is used for two messages at once")
	}
	for len(w.unacked) >= allowance(w.receiveMaximum) && w.cause == nil {
		if !w.subscribed { // nothing is handled before the SUBACK, which comes behind
			if w.early += size + messageBytes + levelBytes*strings.Count(message.Topic, "/"); w.early > earlyBytes {
				return false, protocolError(0x93, "far more messages than the receive maximum came before the SUBACK")
			}
			break
		}
		w.paused = true
		w.readable.Wait()
	}
	if w.paused {
		w.paused = false
		w.lastReceived.Store(int64(time.Since(w.began)))
	}
	if w.unacked == nil {
		w.unacked = make(map[uint16]uint64)
	}
	w.unacked[message.PacketID] = print
	return false, nil
}

// seed is of this process, so that no broker can find two messages with one fingerprint.
var seed = maphash.MakeSeed()

// fingerprint tells a message of quality of service 1 or 2 from others.
func fingerprint(message *packets.Publish) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_ = h.WriteByte(message.QoS)
	_, _ = h.WriteString(message.Topic)
	_ = h.WriteByte(0) // which no topic holds
	_, _ = h.Write(message.Payload)
	return h.Sum64()
}

// Of the messages beyond the allowance that come before the SUBACK, this much is
// kept.
const (
	earlyBytes   = 4 << 20
	messageBytes = 512 // what one takes besides its packet
)

// allowance returns how many unacknowledged messages are read. Brokers do exceed the
// receive maximum: Mosquitto 2.0.11 by two or three when acknowledgements and new
// messages cross, and at once by all that was in flight when the client was last
// connected, with a larger one. Twice as many are taken; beyond, reading pauses
// until the handler has caught up, and only until then a dead connection goes
// unnoticed.
func allowance(receiveMaximum int) int { return receiveMaximum + max(receiveMaximum, 8) }

// decode reads a packet with paho's codec, which must not be trusted with
// hostile bytes: a panic is an error.
func decode(packet []byte) (content packets.Packet, err error) {
	defer func() {
		if p := recover(); p != nil {
			content, err = nil, fmt.Errorf("push: the codec panicked")
		}
	}()
	p, err := packets.ReadPacket(bytes.NewReader(packet))
	if err != nil {
		return nil, err
	}
	return p.Content, nil
}
