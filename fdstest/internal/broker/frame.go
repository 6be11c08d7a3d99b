package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

const (
	maxPacket                   = 1<<28 + 4   // the largest packet that MQTT can frame
	maxVariableByteInteger      = 268_435_455 // MQTT 5.0 section 1.5.5
	propSubscriptionID          = packets.PropSubscriptionIdentifier
	bitDUP                 byte = 1 << 3
	bitRETAIN              byte = 1
)

// A packetError is a packet that ends the connection, with the reason code
// that tells the client so. Its text holds nothing of the packet's content.
type packetError struct {
	code byte
	text string
}

func (e *packetError) Error() string { return fmt.Sprintf("reason code 0x%02X: %s", e.code, e.text) }

func malformed(format string, args ...any) error {
	return &packetError{packets.DisconnectMalformedPacket, fmt.Sprintf(format, args...)}
}

func protocolError(format string, args ...any) error {
	return &packetError{packets.DisconnectProtocolError, fmt.Sprintf(format, args...)}
}

// A frame is one packet as it came: the codec has not seen it yet.
type frame struct {
	kind  byte
	flags byte
	body  []byte
}

// A frameReader cuts a byte stream into frames of at most limit bytes. The
// codec's own reader is not used, because it takes a remaining length of any
// number of bytes at its word and allocates up to 4 GiB for it.
type frameReader struct {
	r      io.Reader
	limit  int
	header [5]byte
	small  [64]byte // acknowledgements and pings need no allocation
}

// next reads one frame; its body is valid until the next call.
func (f *frameReader) next() (frame, error) {
	// Every packet has at least two bytes; most have a length of one.
	if _, err := io.ReadFull(f.r, f.header[:2]); err != nil {
		return frame{}, err
	}
	length, n := int(f.header[1]&0x7f), 1
	for f.header[n]&0x80 != 0 {
		if n == 4 {
			return frame{}, malformed("remaining length of more than 4 bytes")
		}
		n++
		if _, err := io.ReadFull(f.r, f.header[n:n+1]); err != nil {
			return frame{}, err
		}
		length |= int(f.header[n]&0x7f) << (7 * (n - 1))
	}
	if n > 1 && f.header[n] == 0 {
		return frame{}, malformed("remaining length in more bytes than it needs")
	}
	if 1+n+length > f.limit {
		return frame{}, &packetError{packets.DisconnectPacketTooLarge, fmt.Sprintf("packet of %d bytes, the limit is %d", 1+n+length, f.limit)}
	}
	body, err := f.read(length)
	return frame{kind: f.header[0] >> 4, flags: f.header[0] & 0x0f, body: body}, err
}

// read allocates as the bytes arrive, so that a length alone costs no memory.
func (f *frameReader) read(length int) ([]byte, error) {
	if length <= len(f.small) {
		body := f.small[:length]
		_, err := io.ReadFull(f.r, body)
		return body, err
	}
	var body bytes.Buffer
	_, err := io.CopyN(&body, f.r, int64(length))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return body.Bytes(), err
}

// unpack decodes a frame and refuses what the codec lets pass: wrong flags,
// property lengths that lie, properties that occur twice, bytes left over.
func (f frame) unpack() (packets.Packet, error) {
	control := packets.NewControlPacket(f.kind)
	if control == nil {
		return nil, malformed("packet type %d does not exist", f.kind)
	}
	if f.kind == packets.PUBLISH {
		p := control.Content.(*packets.Publish)
		p.QoS, p.Duplicate, p.Retain = f.flags>>1&3, f.flags&bitDUP != 0, f.flags&bitRETAIN != 0
		if p.QoS == 3 || p.QoS == 0 && p.Duplicate {
			return nil, malformed("PUBLISH with flags %04b", f.flags)
		}
	} else if f.flags != control.Flags {
		return nil, malformed("%s with flags %04b", control.PacketType(), f.flags)
	}
	if err := f.checkProperties(); err != nil {
		return nil, err
	}
	if len(f.body) == 0 { // the codec takes no DISCONNECT without a reason code
		switch f.kind {
		case packets.DISCONNECT, packets.AUTH, packets.PINGREQ:
			return control.Content, nil
		}
	}
	if err := decode(control.Content, f.body); err != nil {
		return nil, err
	}
	switch f.kind {
	case packets.CONNECT, packets.SUBSCRIBE, packets.UNSUBSCRIBE:
		if packedSize(control.Content) != len(f.body) {
			return nil, malformed("%s repeats a property or holds bytes that belong to nothing", control.PacketType())
		}
	}
	if s, ok := control.Content.(*packets.Subscribe); ok {
		at := len(f.body)
		for _, option := range slices.Backward(s.Subscriptions) {
			if at--; f.body[at]&0xc0 != 0 {
				return nil, malformed("SUBSCRIBE with reserved option bits set")
			}
			at -= 2 + len(option.Topic)
		}
	}
	return control.Content, nil
}

// A codecPanic is a panic of the codec, kept from ending the test process.
type codecPanic struct{ cause any }

func (p *codecPanic) Error() string { return "the codec panicked" }

// decode runs the codec over a body and demands that it uses all of it.
func decode(p packets.Packet, body []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &codecPanic{cause}
		}
	}()
	rest := bytes.NewBuffer(body)
	if err := p.Unpack(rest); err != nil {
		return malformed("%v", err)
	}
	if rest.Len() > 0 {
		return malformed("%d bytes left over", rest.Len())
	}
	return nil
}

func packedSize(p packets.Packet) int {
	n := 0
	for _, b := range p.Buffers() {
		n += len(b)
	}
	return n
}

// checkProperties checks that the property length is well formed and lies
// within the packet: the codec takes what is there for what was promised.
func (f frame) checkProperties() error {
	var at int
	switch f.kind {
	case packets.CONNECT:
		at = 10
	case packets.SUBSCRIBE, packets.UNSUBSCRIBE:
		at = 2
	case packets.PUBACK:
		at = 3
	case packets.DISCONNECT, packets.AUTH:
		at = 1
	case packets.PUBLISH:
		if len(f.body) < 2 {
			return malformed("PUBLISH of %d bytes", len(f.body))
		}
		at = 2 + int(binary.BigEndian.Uint16(f.body))
		if f.flags>>1&3 > 0 {
			at += 2
		}
	default:
		return nil
	}
	if at >= len(f.body) {
		return nil // no properties here; the codec reports whether it misses them
	}
	length, n := binary.Uvarint(f.body[at:min(at+4, len(f.body))])
	if n <= 0 || n > 1 && f.body[at+n-1] == 0 {
		return malformed("property length")
	}
	if uint64(len(f.body)-at-n) < length {
		return malformed("property length of %d with %d bytes left", length, len(f.body)-at-n)
	}
	return nil
}

// appendPublish encodes a PUBLISH. The codec's own encoder cannot carry several
// subscription identifiers (MQTT 5.0 section 3.3.4) and copies more.
func appendPublish(dst []byte, d *delivery) []byte {
	first := packets.PUBLISH<<4 | d.qos<<1
	if d.dup {
		first |= bitDUP
	}
	if d.retain {
		first |= bitRETAIN
	}
	properties, remaining := publishSizes(d)
	dst = append(dst, first)
	dst = binary.AppendUvarint(dst, uint64(remaining))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(d.message.topic)))
	dst = append(dst, d.message.topic...)
	if d.qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, d.packetID)
	}
	dst = binary.AppendUvarint(dst, uint64(properties))
	dst = append(dst, d.message.properties...)
	if expires := d.message.expires; !expires.IsZero() { // without the time that it has waited here
		left := max(time.Until(expires)+time.Second-1, 0) / time.Second
		dst = binary.BigEndian.AppendUint32(append(dst, packets.PropMessageExpiry), uint32(left))
	}
	for _, id := range d.identifiers {
		dst = append(dst, propSubscriptionID)
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return append(dst, d.message.payload...)
}

// publishSize is the number of bytes that appendPublish appends.
func publishSize(d *delivery) int {
	_, remaining := publishSizes(d)
	return 1 + varintSize(remaining) + remaining
}

func publishSizes(d *delivery) (properties, remaining int) {
	properties = len(d.message.properties)
	if !d.message.expires.IsZero() {
		properties += 5
	}
	for _, id := range d.identifiers {
		properties += 1 + varintSize(id)
	}
	remaining = 2 + len(d.message.topic) + varintSize(properties) + properties + len(d.message.payload)
	if d.qos > 0 {
		remaining += 2
	}
	return properties, remaining
}

func varintSize(n int) int {
	size := 1
	for n >>= 7; n > 0; n >>= 7 {
		size++
	}
	return size
}

// appendPacket encodes any other packet.
func appendPacket(dst []byte, p packets.Packet) []byte {
	buf := bytes.NewBuffer(dst)
	_, _ = p.WriteTo(buf) // a bytes.Buffer takes everything
	return buf.Bytes()
}
