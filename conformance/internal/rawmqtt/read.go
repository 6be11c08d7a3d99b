package rawmqtt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/eclipse/paho.golang/packets"
)

// What a broker may send.
const (
	// MaxPacket bounds a packet, in bytes. CONNECT says so.
	MaxPacket = 1 << 20
	// maxWithoutMessage bounds those that carry no message: the codec takes far more memory for
	// their properties than they have on the network.
	maxWithoutMessage = 64 << 10
	// maxBytes bounds all packets of a connection together.
	maxBytes = 64 << 20
	// maxReason bounds what is kept of the broker's words, in bytes.
	maxReason = 256
)

// ErrBroken is the class of errors about what is no MQTT 5.0, or beyond the bounds.
var ErrBroken = errors.New("the broker breaks the rules of MQTT 5.0")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

// Message is a message that the broker delivered.
type Message struct {
	Topic    string
	Payload  []byte // valid during the call that is told it
	QoS      byte
	Retained bool // it was published before the subscription

	packetID uint16
}

// reader takes packets from a stream.
type reader struct {
	from io.Reader
	left int64 // bytes that may still come
}

// next reads a packet: a *Message, or one of the codec's. Its length is believed no further than
// its bytes have come.
func (r *reader) next() (any, error) {
	var head [5]byte
	if _, err := io.ReadFull(r.from, head[:2]); err != nil {
		return nil, err
	}
	length, size := int(head[1]&0x7f), 2
	for head[size-1]&0x80 != 0 {
		if size == len(head) {
			return nil, broken("the length of a packet has more than 4 bytes")
		}
		if _, err := io.ReadFull(r.from, head[size:size+1]); err != nil {
			return nil, cutShort(err)
		}
		length |= int(head[size]&0x7f) << (7 * (size - 1))
		size++
	}
	kind, flags := head[0]>>4, head[0]&0x0f
	switch {
	case size+length > MaxPacket:
		return nil, broken("a packet of %d bytes, when CONNECT allowed %d", size+length, MaxPacket)
	case length > maxWithoutMessage && kind != packets.PUBLISH:
		return nil, broken("a packet of type %d and %d bytes, which carries no message", kind, size+length)
	}
	if r.left -= int64(size + length); r.left < 0 {
		return nil, broken("more than %d MiB on one connection", maxBytes>>20)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r.from, int64(length)); err != nil {
		return nil, cutShort(err)
	}
	if kind != packets.PUBLISH {
		return decode(kind, &body)
	}
	m, err := readMessage(flags, body.Bytes())
	if err != nil {
		return nil, err
	}
	return m, nil
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readMessage takes a PUBLISH apart (MQTT 5.0 section 3.3). Its properties are passed over.
func readMessage(flags byte, body []byte) (*Message, error) {
	m := &Message{QoS: flags >> 1 & 3, Retained: flags&1 != 0}
	if m.QoS == 3 || len(body) < 2 {
		return nil, broken("a PUBLISH cannot be read")
	}
	n := int(binary.BigEndian.Uint16(body))
	if body = body[2:]; len(body) < n {
		return nil, broken("the topic of a PUBLISH is cut")
	}
	m.Topic, body = string(body[:n]), body[n:]
	if m.QoS > 0 {
		if len(body) < 2 {
			return nil, broken("a PUBLISH has no packet identifier")
		}
		m.packetID, body = binary.BigEndian.Uint16(body), body[2:]
	}
	properties, n := binary.Uvarint(body)
	if n <= 0 || n > 4 || uint64(len(body)-n) < properties {
		return nil, broken("the properties of a PUBLISH are cut")
	}
	m.Payload = body[n+int(properties):]
	return m, nil
}

// decode reads any other packet with the codec, which may panic at hostile bytes.
func decode(kind byte, body *bytes.Buffer) (packet any, err error) {
	defer func() {
		if recover() != nil {
			packet, err = nil, broken("a packet of type %d cannot be read", kind)
		}
	}()
	control := packets.NewControlPacket(kind)
	if control == nil {
		return nil, broken("a packet of type %d", kind)
	}
	switch {
	case kind == packets.CONNACK && body.Len() == 2: // of MQTT 3.1.1, which has no properties
		if code := body.Bytes()[1]; code != 0 {
			return nil, &Refusal{Packet: connack311, Code: code}
		}
		return nil, broken("it answers in MQTT 3.1.1")
	case body.Len() == 0 && (kind == packets.DISCONNECT || kind == packets.PINGRESP): // which the codec does not take
		return control.Content, nil
	}
	if err := control.Content.Unpack(body); err != nil {
		return nil, broken("a packet of type %d cannot be read", kind)
	}
	return control.Content, nil
}
