package push

import (
	"bytes"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// memory is a connection that returns the bytes it holds and keeps what is written.
type memory struct {
	*bytes.Reader
	written bytes.Buffer
}

func (m *memory) Write(p []byte) (int, error)      { return m.written.Write(p) }
func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return nil }
func (m *memory) RemoteAddr() net.Addr             { return nil }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

func memoryWire(input []byte) (*wire, *memory) {
	m := &memory{Reader: bytes.NewReader(input)}
	w := newWire(m, m, &settings{Config: Config{Settings: Settings{MaxPacketSize: 1 << 16, ReceiveMaximum: 65535, WriteTimeout: time.Second}}})
	w.received = func(*packets.Publish, time.Time) bool { return false }
	return w, m
}

func TestTheWireRefusesToPublish(t *testing.T) {
	w, m := memoryWire(nil)
	if err := w.write(&packets.Publish{Topic: "x", Properties: &packets.Properties{}}); err == nil || m.written.Len() > 0 {
		t.Errorf("error %v, %d bytes written (M7)", err, m.written.Len())
	}
}

func TestAfterTheEndNothingIsWritten(t *testing.T) {
	w, m := memoryWire(nil)
	if !w.finish(errFinished, &packets.Disconnect{Properties: &packets.Properties{}}) || m.written.Len() == 0 {
		t.Error("the end is not told")
	}
	m.written.Reset()
	if err := w.acknowledge(receipt{1, 1}); err == nil || m.written.Len() > 0 {
		t.Errorf("an acknowledgement: error %v, %d bytes written", err, m.written.Len())
	}
	if w.finish(errFinished, &packets.Disconnect{Properties: &packets.Properties{}}) || m.written.Len() > 0 {
		t.Errorf("a second DISCONNECT: %d bytes written", m.written.Len())
	}
}

func TestAConnectionThatTheBrokerClosedIsKnownOnEverySystem(t *testing.T) {
	for name, err := range map[string]error{
		"closed": io.EOF, "closed within a packet": io.ErrUnexpectedEOF,
		"reset": syscall.ECONNRESET, "reset before": syscall.EPIPE,
		"reset, Windows": syscall.Errno(10054), "aborted, Windows": syscall.Errno(10053),
	} {
		if err := lost(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("recv", err)}); !isBare(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"a time-out": lost(os.ErrDeadlineExceeded), "a reason": reasonError("DISCONNECT", 0x8B, nil),
		"no connection": &net.OpError{Op: "dial", Err: syscall.ECONNRESET},
	} {
		if isBare(err) {
			t.Errorf("%s counts as closed without a reason", name)
		}
	}
}

// withProperties makes a packet whose properties are one, repeated up to about size
// bytes.
func withProperties(size int, first byte, head, property, payload []byte) []byte {
	length := func(n int) (b []byte) {
		for ; n > 0x7F; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		return append(b, byte(n))
	}
	properties := bytes.Repeat(property, size/len(property))
	body := slices.Concat(head, length(len(properties)), properties, payload)
	return slices.Concat([]byte{first}, length(len(body)), body)
}

func TestAttackManyPropertiesTakeLittleMemory(t *testing.T) {
	for name, input := range map[string][]byte{
		"of a PUBLISH": withProperties(1<<20, 0x30, []byte{0, 1, 'x'}, []byte{packets.PropUser, 0, 0, 0, 0}, []byte("{}")),
		"of a PUBREL":  withProperties(60_000, 0x62, []byte{0, 1, 0}, []byte{packets.PropUser, 0, 0, 0, 0}, nil),
	} {
		w, _ := memoryWire(input)
		w.maxPacket, w.connected = 2<<20, true
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w.read(nil)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 4*uint64(len(input)) || !isBare(w.why()) {
			t.Errorf("%s: %d bytes were taken for %d; the end: %v", name, took, len(input), w.why())
		}
	}
}

func TestAPayloadDoesNotKeepItsProperties(t *testing.T) {
	const messages = 32
	one := withProperties(1<<20, 0x30, []byte{0, 1, 'x'}, append([]byte{packets.PropCorrelationData, 0xFF, 0xFF}, make([]byte, 0xFFFF)...), []byte("{}"))
	w, m := memoryWire(nil)
	w.maxPacket, w.connected = 2<<20, true
	var payloads [][]byte
	w.received = func(p *packets.Publish, _ time.Time) bool {
		payloads = append(payloads, p.Payload)
		if len(payloads) < messages {
			m.Reset(one)
		}
		return false
	}
	m.Reset(one)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w.read(nil)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); len(payloads) != messages || kept > 4<<20 {
		t.Errorf("%d payloads of 2 bytes keep %d bytes", len(payloads), kept)
	}
	runtime.KeepAlive(payloads)
}

func TestPropertiesAreReadAsTheCodecReadsThem(t *testing.T) {
	one, four, two, number := byte(1), uint32(4), uint16(2), 100
	for kind, properties := range map[byte]*packets.Properties{
		packets.PUBLISH: {
			PayloadFormat: &one, MessageExpiry: &four, ContentType: "application/json", ResponseTopic: "x",
			CorrelationData: []byte{1, 2}, TopicAlias: &two, SubscriptionIdentifier: &number, User: []packets.User{{Key: "k", Value: "v"}, {}},
		},
		packets.PUBREL: {ReasonString: "why", User: []packets.User{{Key: "k", Value: "v"}, {}}},
	} {
		packed := properties.Pack(kind)
		for n := range len(packed) + 1 {
			p := packed[:n]
			var known packets.Properties
			err := known.Unpack(bytes.NewBuffer(append([]byte{byte(n)}, p...)), kind)
			if n > 0 && p[n-1] == packets.PropSubscriptionIdentifier {
				err = io.ErrUnexpectedEOF // which the codec takes for 0
			}
			if aliased, ok := walk(p, kind); ok != (err == nil) || ok && aliased != (known.TopicAlias != nil) {
				t.Errorf("packet type %d, %x: alias %v, ok %v; the codec says %v", kind, p, aliased, ok, err)
			}
		}
		for id := range 0x80 {
			_, ok := walk([]byte{byte(id), 0, 0, 0, 0}, kind)
			var unknown packets.Properties
			if err := unknown.Unpack(bytes.NewBuffer([]byte{5, byte(id), 0, 0, 0, 0}), kind); ok != (err == nil) {
				t.Errorf("packet type %d, property %d: ok %v; the codec says %v", kind, id, ok, err)
			}
		}
	}
}

// FuzzWhatABrokerSends has the wire read whatever comes: nothing may panic, hang
// or be handed over that is not for a subscriber.
func FuzzWhatABrokerSends(f *testing.F) {
	var all bytes.Buffer
	for _, packet := range []packets.Packet{
		&packets.Connack{Properties: &packets.Properties{AuthMethod: "x", ReasonString: "y", User: []packets.User{{Key: "k", Value: "v"}}}},
		&packets.Suback{PacketID: 1, Reasons: []byte{1}, Properties: &packets.Properties{}},
		&packets.Unsuback{PacketID: 2, Reasons: []byte{0}, Properties: &packets.Properties{}},
		&packets.Publish{Topic: "fds/v2/x", PacketID: 1, QoS: 1, Payload: []byte("{}"), Properties: &packets.Properties{ContentType: "application/json"}},
		&packets.Publish{Topic: "fds/v2/x", Payload: []byte("{}"), Properties: &packets.Properties{}},
		&packets.Pubrel{PacketID: 1, Properties: &packets.Properties{}},
		&packets.Pingresp{},
		&packets.Disconnect{ReasonCode: 0x8E, Properties: &packets.Properties{ServerReference: "z"}},
	} {
		if _, err := packet.WriteTo(&all); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(all.Bytes()))
	}
	connack := []byte{0x20, 3, 0, 0, 0}
	f.Add(append(bytes.Clone(connack), 0x30, 0xFF, 0xFF, 0xFF, 0x7F))
	f.Add(append(bytes.Clone(connack), 0x32, 9, 0, 1, 'x', 0, 1, 0xFF, 0xFF, 0xFF, 0xFF))
	f.Fuzz(func(t *testing.T, input []byte) {
		for _, stream := range [][]byte{input, append(bytes.Clone(connack), input...)} {
			w, _ := memoryWire(stream)
			answer := make(chan packets.Packet, 1)
			w.awaited, w.answer = packets.CONNACK, answer
			w.received = func(p *packets.Publish, _ time.Time) bool {
				if p.QoS > 2 || (p.QoS > 0) != (p.PacketID > 0) || len(p.Topic)+len(p.Payload) > len(stream) {
					t.Fatalf("a message came that cannot be: %v", p)
				}
				return false
			}
			w.read(nil)
			packet, answered := <-answer // which is closed at the end
			if _, ok := packet.(*packets.Connack); answered && (!ok || !w.connected) {
				t.Fatalf("CONNECT was answered by %v", packet)
			}
			if w.connected && !answered {
				t.Fatal("connected without a CONNACK")
			}
			if w.why() == nil {
				t.Fatal("the end has no cause")
			}
		}
	})
}
