package push

import (
	"bytes"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// violation is a rule that the broker broke: the reason code of our DISCONNECT
// and our own error.
type violation struct {
	code byte
	err  error
}

func (v *violation) Error() string { return v.err.Error() }

// protocolError makes a violation out of a text of ours; nothing that the broker
// sent goes into it.
func protocolError(code byte, format string, args ...any) *violation {
	return &violation{code, &lostError{fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))}}
}

// inspect decides what becomes of a packet: handed to paho (w.in), kept from it,
// or the end of the connection. paho decodes again what it is handed; here it
// is made sure that this cannot panic, block or take more memory than the
// packet has.
func (w *wire) inspect(packet []byte, header int) error {
	kind, flags := packet[0]>>4, packet[0]&0x0F
	w.mu.Lock()
	connected := w.connack != nil
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
	if kind == packets.DISCONNECT && len(packet) == header { // short for reason code 0, which the codec does not know
		w.fail(reasonError("DISCONNECT", 0, nil))
		return nil
	}
	content, err := decode(packet)
	if err != nil {
		return protocolError(0x81, "packet type %d cannot be read", kind)
	}
	switch p := content.(type) {
	case *packets.Connack:
		w.mu.Lock()
		w.connack = p
		w.mu.Unlock()
		switch {
		case p.ReasonCode >= 0x80:
			w.end(reasonError("CONNACK", p.ReasonCode, p.Properties))
		case p.ReasonCode != 0:
			return protocolError(0x82, "CONNACK has reason code %d", p.ReasonCode)
		}
	case *packets.Disconnect:
		w.fail(reasonError("DISCONNECT", p.ReasonCode, p.Properties))
		return nil
	}
	w.in = packet
	return nil
}

// inspectPublish checks what of a PUBLISH could harm, hands messages of quality
// of service 0 to w.atMostOnce and the others to paho. When far too many
// of them are unacknowledged, it waits; see surplus.
func (w *wire) inspectPublish(packet []byte, header int) error {
	qos, rest := packet[0]>>1&3, packet[header:]
	if qos == 3 {
		return protocolError(0x81, "a message has quality of service 3")
	}
	if len(rest) < 2 {
		return protocolError(0x81, "a message has no topic")
	}
	topic := int(rest[0])<<8 | int(rest[1])
	if rest = rest[2:]; len(rest) < topic {
		return protocolError(0x81, "a message's topic is cut")
	}
	rest = rest[topic:]
	var id uint16
	if qos > 0 {
		if len(rest) < 2 {
			return protocolError(0x81, "a message has no packet identifier")
		}
		id, rest = uint16(rest[0])<<8|uint16(rest[1]), rest[2:]
		if id == 0 {
			return protocolError(0x82, "a message has packet identifier 0")
		}
	}
	properties, n := variableInt(rest)
	if n == 0 || len(rest)-n < properties {
		return protocolError(0x81, "a message's properties are cut")
	}
	if qos == 0 {
		content, err := decode(packet)
		if err != nil {
			return protocolError(0x81, "a message cannot be read")
		}
		w.atMostOnce(content.(*packets.Publish))
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.unacked[id]; known {
		return protocolError(0x82, "a packet identifier is used twice")
	}
	for len(w.unacked) >= allowance(w.receiveMaximum) && w.cause == nil {
		w.paused = true
		w.room.Wait()
	}
	if w.paused {
		w.paused = false
		w.lastReceived.Store(int64(time.Since(w.began)))
	}
	w.unacked[id] = time.Now()
	w.in = packet
	return nil
}

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
