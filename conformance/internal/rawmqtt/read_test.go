package rawmqtt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

func encoded(t testing.TB, packet packets.Packet) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := packet.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAMessageIsReadAsItWasWritten(t *testing.T) {
	expiry, id := uint32(7), 3
	packet := &packets.Publish{Topic: "fds/v2/x/events", Payload: []byte("payload"), QoS: 1, PacketID: 77, Retain: true, Properties: &packets.Properties{
		MessageExpiry: &expiry, SubscriptionIdentifier: &id, User: []packets.User{{Key: strings.Repeat("k", 300), Value: "v"}},
	}}
	r := &reader{from: bytes.NewReader(append(encoded(t, packet), encoded(t, &packets.Pingresp{})...)), left: maxBytes}
	got, err := r.next()
	m, ok := got.(*Message)
	if err != nil || !ok || m.Topic != packet.Topic || string(m.Payload) != "payload" || m.QoS != 1 || !m.Retained || m.packetID != 77 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := r.next(); err != nil {
		t.Fatalf("the next: %T, %v", got, err)
	} else if _, ok := got.(*packets.Pingresp); !ok {
		t.Fatalf("the next: %T", got)
	}
	if _, err := r.next(); err != io.EOF {
		t.Fatalf("the end: %v", err)
	}
}

func TestAttackALengthIsBelievedOnlyAsItsBytesCome(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		for _, begin := range []string{"\x30\xff\xff\xff\x7f", "\x30\xfb\xff\x3f", "\x90\xff\xff\x03", "\x20\xff\xff\xff\xff\x01"} {
			r := &reader{from: strings.NewReader(begin + strings.Repeat("x", 100)), left: maxBytes}
			if got, err := r.next(); err == nil {
				t.Fatalf("%q: %T", begin, got)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 10<<20 {
		t.Errorf("400 packets that are announced and do not come took %d bytes", took)
	}
}

func TestAttackAConnectionIsReadOnlySoFar(t *testing.T) {
	packet := encoded(t, &packets.Publish{Topic: "t", Payload: make([]byte, MaxPacket/2), Properties: &packets.Properties{}})
	r := &reader{from: endless{packet: packet, at: new(int)}, left: maxBytes}
	for n := 1; ; n++ {
		if _, err := r.next(); errors.Is(err, ErrBroken) {
			break
		} else if err != nil || n*len(packet) > 2*maxBytes {
			t.Fatalf("after %d bytes: %v", n*len(packet), err)
		}
	}
}

// endless repeats a packet.
type endless struct {
	packet []byte
	at     *int
}

func (e endless) Read(p []byte) (int, error) {
	n := copy(p, e.packet[*e.at:])
	*e.at = (*e.at + n) % len(e.packet)
	return n, nil
}

func TestABrokerOfMQTT311IsNamed(t *testing.T) {
	for answer, says := range map[string]string{"\x20\x02\x00\x00": "in MQTT 3.1.1", "\x20\x02\x00\x05": "CONNACK of MQTT 3.1.1 0x05"} {
		_, err := (&reader{from: strings.NewReader(answer), left: maxBytes}).next()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%x: %v", answer, err)
		}
	}
}

func TestAReasonCodeHasItsName(t *testing.T) {
	for code, want := range map[byte]string{0x00: "0x00", 0x87: "0x87 (not authorized)", 0x8e: "0x8E (session taken over)", 0x8f: "0x8F (topic filter invalid)", 0xff: "0xFF"} {
		if got := CodeName(code); got != want {
			t.Errorf("%x: %q, want %q", code, got, want)
		}
	}
}

// FuzzWhatABrokerSaysEndsInAnError feeds the reader until it refuses.
func FuzzWhatABrokerSaysEndsInAnError(f *testing.F) {
	for _, packet := range []packets.Packet{
		&packets.Connack{Properties: &packets.Properties{ReasonString: "no", AssignedClientID: "x"}, ReasonCode: 0x87},
		&packets.Suback{PacketID: 1, Reasons: []byte{0, 0x87}, Properties: &packets.Properties{ReasonString: "no"}},
		&packets.Unsuback{PacketID: 1, Reasons: []byte{0x11}, Properties: &packets.Properties{}},
		&packets.Puback{PacketID: 1, ReasonCode: 0x87, Properties: &packets.Properties{ReasonString: "no"}},
		&packets.Publish{Topic: "fds/v2/x/events", Payload: []byte("x"), QoS: 1, PacketID: 1, Properties: &packets.Properties{ContentType: "json"}},
		&packets.Disconnect{ReasonCode: 0x8e, Properties: &packets.Properties{ServerReference: "elsewhere"}},
		&packets.Pingresp{},
	} {
		f.Add(encoded(f, packet))
	}
	f.Add([]byte{0x20, 3, 0, 0, 0, 0x30, 4, 0, 1, 'x', 0})
	f.Add([]byte("\x20\x02\x00\x00"))
	f.Add([]byte("\xe0\x00"))
	f.Add([]byte("\x30\n0000000000"))
	f.Add([]byte("\x20\x05\x00\x00\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		from := bytes.NewReader(stream)
		r := &reader{from: from, left: maxBytes}
		for {
			left := from.Len()
			packet, err := r.next()
			if err != nil {
				if packet != nil {
					t.Fatalf("a packet and an error: %T, %v", packet, err)
				}
				return
			}
			read := stream[len(stream)-left : len(stream)-from.Len()]
			if m, ok := packet.(*Message); ok {
				if len(m.Topic)+len(m.Payload) > len(read) || m.QoS > 2 {
					t.Fatalf("%d bytes of %d", len(m.Topic)+len(m.Payload), len(read))
				}
				if n := 2 + int(binary.BigEndian.Uint16(read[headerOf(read):])); string(read[headerOf(read):][2:n]) != m.Topic {
					t.Fatalf("topic %q", m.Topic)
				}
			}
		}
	})
}

func headerOf(packet []byte) int {
	n := 1
	for packet[n]&0x80 != 0 {
		n++
	}
	return n + 1
}
