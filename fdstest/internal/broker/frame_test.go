package broker

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

func TestAPacketThatBreaksTheProtocolEndsOnlyItsConnection(t *testing.T) {
	f := start(t, nil)
	id, bystander := newID(), newID()
	other := f.subscriber(bystander, nil)
	root := "fds/v2/" + id + "/"
	packed := func(p packets.Packet) string { return string(appendPacket(nil, p)) }
	none := &packets.Properties{}
	publish := func(change func(*packets.Publish)) string {
		p := &packets.Publish{Topic: root + "x", QoS: 1, PacketID: 1, Properties: &packets.Properties{}}
		change(p)
		return packed(p)
	}
	for _, test := range []struct {
		name  string
		bytes string
		code  byte
	}{
		{"a second CONNECT", packed(connectPacket(id, nil)), 0x82},
		{"AUTH", packed(&packets.Auth{Properties: none}), 0x82},
		{"CONNACK", packed(&packets.Connack{Properties: none}), 0x82},
		{"SUBACK", packed(&packets.Suback{Properties: none}), 0x82},
		{"PUBREC", packed(&packets.Pubrec{Properties: none}), 0x82},
		{"PUBREL", packed(&packets.Pubrel{Properties: none}), 0x82},
		{"PUBCOMP", packed(&packets.Pubcomp{Properties: none}), 0x82},
		{"PINGRESP", packed(&packets.Pingresp{}), 0x82},
		{"packet type 0", "\x00\x00", 0x82},
		{"PINGREQ with flags", "\xc1\x00", 0x81},
		{"PINGREQ with a body", "\xc0\x01x", 0x81},
		{"PUBACK with flags", "\x42\x02\x00\x01", 0x81},
		{"PUBACK without packet ID", "\x40\x00", 0x81},
		{"PUBACK with a lying property length", "\x40\x05\x00\x01\x00\x20\x00", 0x81},
		{"DISCONNECT with a lying property length", "\xe0\x03\x00\x20\x00", 0x81},
		{"SUBSCRIBE with wrong flags", "\x80\x08\x00\x01\x00\x00\x02ab\x00", 0x81},
		{"SUBSCRIBE with packet ID 0", packed(&packets.Subscribe{Properties: none, Subscriptions: []packets.SubOptions{{Topic: root + "#"}}}), 0x82},
		{"SUBSCRIBE without a filter", packed(&packets.Subscribe{PacketID: 1, Properties: none}), 0x82},
		{"SUBSCRIBE at QoS 3", packed(&packets.Subscribe{PacketID: 1, Properties: none, Subscriptions: []packets.SubOptions{{Topic: root + "#", QoS: 3}}}), 0x82},
		{"SUBSCRIBE with retain handling 3", packed(&packets.Subscribe{PacketID: 1, Properties: none, Subscriptions: []packets.SubOptions{{Topic: root + "#", RetainHandling: 3}}}), 0x82},
		{"SUBSCRIBE with reserved options", "\x82\x08\x00\x01\x00\x00\x02ab\xc0", 0x81},
		{"SUBSCRIBE with a filter that is not UTF-8", packed(&packets.Subscribe{PacketID: 1, Properties: none, Subscriptions: []packets.SubOptions{{Topic: root + "\xff"}}}), 0x81},
		{"SUBSCRIBE with NUL in a filter", packed(&packets.Subscribe{PacketID: 1, Properties: none, Subscriptions: []packets.SubOptions{{Topic: root + "\x00"}}}), 0x81},
		{"SUBSCRIBE with subscription identifier 0", packed(&packets.Subscribe{PacketID: 1, Properties: &packets.Properties{SubscriptionIdentifier: new(0)}, Subscriptions: []packets.SubOptions{{Topic: root + "#"}}}), 0x82},
		{"SUBSCRIBE with two identifiers", "\x82\x0c\x00\x01\x04\x0b\x01\x0b\x02\x00\x02ab\x00", 0x81},
		{"SUBSCRIBE cut short", "\x82\x06\x00\x01\x00\x00\x09a", 0x81},
		{"UNSUBSCRIBE without a filter", packed(&packets.Unsubscribe{PacketID: 1, Properties: none}), 0x82},
		{"UNSUBSCRIBE with packet ID 0", packed(&packets.Unsubscribe{Properties: none, Topics: []string{"x"}}), 0x82},
		{"UNSUBSCRIBE whose filter is cut", "\xa2\x0a\x00\x01\x00\x00\x01a\x00\x09ab", 0x81},
		{"PUBLISH at QoS 2", publish(func(p *packets.Publish) { p.QoS = 2 }), 0x9b},
		{"PUBLISH at QoS 3", publish(func(p *packets.Publish) { p.QoS = 3 }), 0x81},
		{"PUBLISH at QoS 0 with DUP", publish(func(p *packets.Publish) { p.QoS, p.Duplicate = 0, true }), 0x81},
		{"PUBLISH with packet ID 0", publish(func(p *packets.Publish) { p.PacketID = 0 }), 0x82},
		{"PUBLISH with a topic alias", publish(func(p *packets.Publish) { p.Properties.TopicAlias = new(uint16(1)) }), 0x94},
		{"PUBLISH with a subscription identifier", publish(func(p *packets.Publish) { p.Properties.SubscriptionIdentifier = new(1) }), 0x82},
		{"PUBLISH with a lying property length", "\x30\x04\x00\x01a\x20", 0x81},
		{"PUBLISH with a property length of five bytes", "\x30\x08\x00\x01a\xff\xff\xff\xff\x01", 0x81},
		{"PUBLISH with an unknown property", "\x30\x06\x00\x01a\x02\x7f\x00", 0x81},
		{"PUBLISH without a topic", "\x30\x00", 0x81},
		{"a packet over the limit", "\x30\x80\x80\x10", 0x95},
		{"a remaining length of five bytes", "\x30\xff\xff\xff\xff\x01", 0x81},
		{"a remaining length with a superfluous byte", "\xc0\x80\x00", 0x81},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := f.dial(id)
			w.connect(id, nil)
			w.sendBytes([]byte(test.bytes))
			w.tb = t
			w.receiveDisconnect(test.code)
		})
	}
	other.roundTrip()
	if s := f.Client(id); !s.Session || s.Connected {
		t.Errorf("after its faults the client has %+v", s)
	}
}

func TestAPacketMayEndWithoutReasonCodeAndProperties(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	for _, form := range []string{"\x40\x02\x00", "\x40\x03\x00", "\x40\x04\x00"} {
		f.publish(id, "x", "", 1)
		p := receive[*packets.Publish](w)
		w.sendBytes(append([]byte(form), append([]byte{byte(p.PacketID)}, make([]byte, form[1]-2)...)...))
	}
	w.roundTrip()
	if s := f.Client(id); s.Acknowledged != 3 || s.Unacknowledged != 0 {
		t.Errorf("%+v", s)
	}
	w.sendBytes([]byte("\xe0\x00")) // DISCONNECT, normal
	w.receiveEnd()
}

func TestALengthAloneCostsNoMemory(t *testing.T) {
	r := frameReader{r: io.MultiReader(strings.NewReader("\x30\xff\xff\xff\x7f"), strings.NewReader("abc")), limit: maxPacket}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := r.next()
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("allocated %d bytes for a packet of which three arrived", grown)
	}
}

// A faultyPacket stands for a codec that panics on what it reads.
type faultyPacket struct{ packets.Packet }

func (faultyPacket) Unpack(*bytes.Buffer) error {
	panic("index out of range\n" + strings.Repeat("x", 1000))
}

func TestAPanicOfTheCodecIsAnError(t *testing.T) {
	err := decode(faultyPacket{}, nil)
	var panicked *codecPanic
	if !errors.As(err, &panicked) {
		t.Fatalf("error %v", err)
	}
	if text := panicked.describe(); !strings.HasPrefix(text, "index out of range") || len(text) > 100 {
		t.Errorf("described as %q", text)
	}
}

func TestPublishIsEncodedAsTheCodecDecodesIt(t *testing.T) {
	for _, d := range []*delivery{
		{message: &message{topic: "a"}},
		{message: &message{topic: "a/b", payload: []byte("x")}, qos: 1, packetID: 0xfffe, dup: true, retain: true},
		{message: &message{topic: strings.Repeat("t", 65_535), payload: make([]byte, 300_000)}, qos: 1, packetID: 1, identifiers: []int{maxVariableByteInteger}},
		{message: &message{topic: "t", payload: make([]byte, 117), properties: (&packets.Properties{ContentType: strings.Repeat("c", 200)}).Pack(packets.PUBLISH)}, identifiers: []int{1}},
	} {
		b := appendPublish([]byte("before"), d)[len("before"):]
		if len(b) != publishSize(d) {
			t.Errorf("%d bytes, foretold were %d", len(b), publishSize(d))
		}
		r := bytes.NewReader(b)
		control, err := packets.ReadPacket(r)
		if err != nil {
			t.Fatal(err)
		}
		p := control.Content.(*packets.Publish)
		if p.Topic != d.message.topic || !bytes.Equal(p.Payload, d.message.payload) || p.QoS != d.qos || p.PacketID != d.packetID ||
			p.Duplicate != d.dup || p.Retain != d.retain || r.Len() != 0 {
			t.Errorf("decoded %d bytes to packet %d at QoS %d", len(b), p.PacketID, p.QoS)
		}
		if id := p.Properties.SubscriptionIdentifier; len(d.identifiers) > 0 && (id == nil || *id != d.identifiers[0]) {
			t.Errorf("subscription identifier %v", id)
		}
	}
}

// FuzzAConnectionSurvivesAnyBytes feeds bytes to a connection, first as they
// are and then after a good CONNECT, and demands that the broker serves a
// bystander afterwards and lets go of the connection.
func FuzzAConnectionSurvivesAnyBytes(f *testing.F) {
	id, bystander := newID(), newID()
	none := &packets.Properties{}
	for _, p := range []packets.Packet{
		connectPacket(id, nil),
		&packets.Subscribe{PacketID: 1, Properties: &packets.Properties{SubscriptionIdentifier: new(9)}, Subscriptions: []packets.SubOptions{{Topic: "fds/v2/" + id + "/#", QoS: 1}}},
		&packets.Unsubscribe{PacketID: 1, Properties: none, Topics: []string{"#"}},
		&packets.Publish{Topic: "x", QoS: 1, PacketID: 1, Properties: none},
		&packets.Puback{PacketID: 1, Properties: &packets.Properties{ReasonString: "x"}},
		&packets.Disconnect{Properties: &packets.Properties{SessionExpiryInterval: new(uint32(1))}},
		&packets.Auth{Properties: none}, &packets.Pingreq{}, &packets.Pubrel{Properties: none},
	} {
		f.Add(appendPacket(nil, p))
	}
	f.Add([]byte("\x30\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\x82\x09\x00\x01\xff\xff\xff\xff\xff\xff"))

	log := &logBuffer{}
	fixture := start(f, func(c *Config) {
		c.ConnectTimeout = timeout
		c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})) // panics only
	})
	watcher := fixture.subscriber(bystander, nil)
	leaf := fixture.ca.template(id)
	feed := func(t *testing.T, prefix, data []byte) {
		server, client := net.Pipe()
		c := fixture.track(server)
		if c == nil {
			t.Fatal("the broker is closed")
		}
		c.stream = server // as if the handshake were done
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if c.connect(leaf) {
				c.serve()
				return
			}
			c.kill()
			fixture.untrack(c)
		}()
		go io.Copy(io.Discard, client)
		client.SetWriteDeadline(time.Now().Add(timeout))
		_, _ = client.Write(prefix)
		_, _ = client.Write(data)
		client.Close()
		select {
		case <-ended:
		case <-time.After(timeout):
			t.Fatal("the connection does not end")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		feed(t, nil, data)
		feed(t, appendPacket(nil, connectPacket(id, nil)), data)
		watcher.SetDeadline(time.Now().Add(timeout))
		watcher.tb = t
		watcher.roundTrip()
		if text := log.String(); text != "" {
			t.Fatal(text)
		}
	})
}
