package push_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// raw makes the bytes of a packet from its first byte and its body.
func raw(first byte, body ...byte) []byte { return append([]byte{first, byte(len(body))}, body...) }

func TestAttackHostilePacketsEndTheConnectionAndNothingElse(t *testing.T) {
	topic := func(p *peer) []byte {
		name := p.root.String() + "x"
		return append([]byte{0, byte(len(name))}, name...)
	}
	fixed := func(bytes ...byte) func(p *peer) []byte { return func(*peer) []byte { return bytes } }
	for name, c := range map[string]struct {
		send   func(p *peer) []byte
		code   byte // of our DISCONNECT
		accept bool // the client is let in first
		class  error
	}{
		"a PUBLISH of 100 MB":                     {fixed(0x32, 0x80, 0xC2, 0xD7, 0x2F), 0x95, true, fds.ErrPacketTooLarge},
		"a PUBLISH just over the limit":           {fixed(0x32, 0xFD, 0xFF, 0x3F), 0x95, true, fds.ErrPacketTooLarge},
		"a CONNACK of 256 MB":                     {fixed(0x20, 0xFF, 0xFF, 0xFF, 0x7F), 0x95, false, fds.ErrPacketTooLarge},
		"a CONNACK just over its limit":           {fixed(0x20, 0xFD, 0xFF, 0x03), 0x95, false, fds.ErrPacketTooLarge},
		"a SUBACK just over its limit":            {fixed(0x90, 0xFD, 0xFF, 0x03), 0x95, true, fds.ErrPacketTooLarge},
		"a DISCONNECT just over its limit":        {fixed(0xE0, 0xFD, 0xFF, 0x03), 0x95, true, fds.ErrPacketTooLarge},
		"a length of five bytes":                  {fixed(0x30, 0x80, 0x80, 0x80, 0x80, 0x01), 0x81, true, fds.ErrProtocol},
		"a length without end":                    {fixed([]byte("\x30" + strings.Repeat("\xff", 4000))...), 0x81, true, fds.ErrProtocol},
		"packet type 0":                           {fixed(raw(0x00)...), 0x82, true, fds.ErrProtocol},
		"an AUTH before CONNACK":                  {fixed(raw(0xF0, 0x18, 0x00)...), 0x82, false, fds.ErrProtocol},
		"an AUTH":                                 {fixed(raw(0xF0, 0x19, 0x00)...), 0x82, true, fds.ErrProtocol},
		"a PUBLISH before CONNACK":                {fixed(raw(0x30, 0, 1, 'x', 0)...), 0x82, false, fds.ErrProtocol},
		"a second CONNACK":                        {fixed(raw(0x20, 0, 0, 0)...), 0x82, true, fds.ErrProtocol},
		"a CONNACK with a reason code of success": {fixed(raw(0x20, 0, 1, 0)...), 0x82, false, fds.ErrProtocol},
		"a CONNACK cut in its properties":         {fixed(raw(0x20, 0, 0, 5, 0x21)...), 0x81, false, fds.ErrProtocol},
		"an empty CONNACK":                        {fixed(raw(0x20)...), 0x81, false, fds.ErrProtocol},
		"a CONNECT":                               {fixed(raw(0x10, 0)...), 0x82, true, fds.ErrProtocol},
		"a SUBSCRIBE":                             {fixed(raw(0x82, 0, 1, 0)...), 0x81, true, fds.ErrProtocol},
		"a PUBACK":                                {fixed(raw(0x40, 0, 1)...), 0x82, true, fds.ErrProtocol},
		"a PUBREC":                                {fixed(raw(0x50, 0, 1)...), 0x82, true, fds.ErrProtocol},
		"a PUBCOMP":                               {fixed(raw(0x70, 0, 1)...), 0x82, true, fds.ErrProtocol},
		"a PUBREL with packet identifier 0":       {fixed(raw(0x62, 0, 0)...), 0x82, true, fds.ErrProtocol},
		"a PINGREQ":                               {fixed(raw(0xC0)...), 0x82, true, fds.ErrProtocol},
		"a PINGRESP with flags":                   {fixed(raw(0xD1)...), 0x81, true, fds.ErrProtocol},
		"an empty SUBACK":                         {fixed(raw(0x90)...), 0x81, true, fds.ErrProtocol},
		"a DISCONNECT cut in its properties":      {fixed(raw(0xE0, 0, 3, 0x1F, 0)...), 0x81, true, fds.ErrProtocol},
		"an empty DISCONNECT, which is allowed":   {fixed(raw(0xE0)...), 0, true, nil},
		"an empty PUBLISH":                        {fixed(raw(0x30)...), 0x81, true, fds.ErrProtocol},
		"a PUBLISH whose topic is cut":            {fixed(raw(0x30, 0xFF, 0xFF, 'x')...), 0x81, true, fds.ErrProtocol},
		"quality of service 3":                    {func(p *peer) []byte { return raw(0x36, append(topic(p), 0, 1, 0)...) }, 0x81, true, fds.ErrProtocol},
		"packet identifier 0":                     {func(p *peer) []byte { return raw(0x32, append(topic(p), 0, 0, 0)...) }, 0x82, true, fds.ErrProtocol},
		"no packet identifier":                    {func(p *peer) []byte { return raw(0x32, topic(p)...) }, 0x81, true, fds.ErrProtocol},
		"no properties":                           {func(p *peer) []byte { return raw(0x32, append(topic(p), 0, 1)...) }, 0x81, true, fds.ErrProtocol},
		"properties beyond the packet":            {func(p *peer) []byte { return raw(0x32, append(topic(p), 0, 1, 9, 1)...) }, 0x81, true, fds.ErrProtocol},
		"a property length of five bytes":         {func(p *peer) []byte { return raw(0x30, append(topic(p), 0xFF, 0xFF, 0xFF, 0xFF, 0x0F)...) }, 0x81, true, fds.ErrProtocol},
		"a length of five bytes that is 0":        {func(p *peer) []byte { return raw(0x30, append(topic(p), 0x80, 0x80, 0x80, 0x80, 0)...) }, 0x81, true, fds.ErrProtocol},
		"a PUBREL cut in its properties":          {fixed(raw(0x62, 0, 1, 0, 5, 0x1F)...), 0x81, true, fds.ErrProtocol},
		"a PUBREL with a property of no PUBREL":   {fixed(raw(0x62, 0, 1, 0, 2, 0x01, 0)...), 0x81, true, fds.ErrProtocol},
		"a PUBREL with something behind":          {fixed(raw(0x62, 0, 1, 0, 0, 0)...), 0x81, true, fds.ErrProtocol},
		"half a PUBREL":                           {fixed(raw(0x62, 0)...), 0x81, true, fds.ErrProtocol},
		"a SUBACK that nobody waits for":          {fixed(raw(0x90, 0, 2, 0, 1)...), 0x82, true, fds.ErrProtocol},
		"an UNSUBACK that nobody waits for":       {fixed(raw(0xB0, 0, 1, 0, 0)...), 0x82, true, fds.ErrProtocol},
		"a property that is none, at once":        {func(p *peer) []byte { return raw(0x30, append(topic(p), 1, 0x7E)...) }, 0x81, true, fds.ErrProtocol},
		"a property that is none":                 {func(p *peer) []byte { return raw(0x32, append(topic(p), 0, 1, 1, 0x7E)...) }, 0x81, true, fds.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				codes := make(chan byte, 1)
				b := newScripted(t, func(p *peer) {
					if p.n > 1 {
						p.accept(false)
						p.stay()
						return
					}
					if c.accept {
						p.accept(false)
						time.Sleep(time.Second)
					} else {
						p.expect(packets.CONNECT)
					}
					go p.sendRaw(c.send(p)...)
					code := byte(0)
					for packet := p.next(); packet != nil; packet = p.next() {
						if d, ok := packet.Content.(*packets.Disconnect); ok {
							code = d.ReasonCode
						}
					}
					codes <- code
				})
				r := start(t, b.config(), discard(t))
				s := r.waitPhase(push.BackingOff)
				var refused *push.ReasonError
				switch {
				case c.class != nil && !errors.Is(s.Err, c.class):
					t.Errorf("error %v", s.Err)
				case c.class == nil && (!errors.As(s.Err, &refused) || refused.Code != 0):
					t.Errorf("error %v", s.Err)
				}
				if code := <-codes; code != c.code {
					t.Errorf("DISCONNECT 0x%02X, want 0x%02X", code, c.code)
				}
				r.waitPhase(push.Connected)
			})
		})
	}
}

func TestAttackAPacketIdentifierInUseIsNotTakenForAnotherMessage(t *testing.T) {
	for name, again := range map[string]*packets.Publish{
		"that is not marked as a redelivery": {Topic: "events", Payload: []byte(`"x"`), QoS: 1},
		"with another payload":               {Topic: "events", Payload: []byte(`"y"`), QoS: 1, Duplicate: true},
		"with another topic":                 {Topic: "event", Payload: []byte(`s"x"`), QoS: 1, Duplicate: true},
		"of another quality of service":      {Topic: "events", Payload: []byte(`"x"`), QoS: 2, Duplicate: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				finish := make(chan struct{})
				b := newScripted(t, func(p *peer) {
					p.accept(false)
					if p.n > 1 {
						p.stay()
						return
					}
					p.publish(1, false, "events", `"x"`)
					p.send(&packets.Publish{Topic: p.root.String() + again.Topic, Payload: again.Payload, PacketID: 1, QoS: again.QoS, Duplicate: again.Duplicate, Properties: &packets.Properties{}})
					p.stay()
				})
				r := start(t, b.config(), func(context.Context, delivery.Message) error { <-finish; return nil })
				if s := r.waitPhase(push.BackingOff); !errors.Is(s.Err, fds.ErrProtocol) {
					t.Errorf("error %v", s.Err)
				}
				r.waitPhase(push.Connected)
				close(finish)
				r.stop()
			})
		})
	}
}

func TestAttackACONNACKThatNamesAnAuthenticationMethodIsHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(false, packets.Properties{AuthMethod: "SCRAM-SHA-256", AuthData: []byte("x")})
			p.suback()
			p.stay()
		})
		start(t, b.config(), discard(t)).waitPhase(push.Connected)
	})
}

func TestAPacketMayBeAsLargeAsItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			const rest = 64<<10 - (4 + 2 + 3 + 1 + 2 + 1 + 2) // without what frames the one property's value
			p.connack(false, packets.Properties{User: []packets.User{{Key: "x", Value: strings.Repeat("x", rest)}}})
			p.suback()
			p.stay()
		})
		start(t, b.config(), discard(t)).waitPhase(push.Connected)
	})
}

func TestAttackAnAnnouncedLengthTakesNoMemory(t *testing.T) {
	const announced = 64 << 20
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.sendRaw(0x32, 0x80, 0x80, 0x80, 0x20, 0, 1, 'x') // 64 MiB, within the limit, of which little comes
			p.stay()
		})
		cfg := b.config()
		cfg.MaxPacketSize = 2 * announced
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		synctest.Wait()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > announced/16 {
			t.Errorf("%d bytes were taken for a packet of which 8 bytes came", got)
		}
	})
}

func TestAttackAMessageThatIsTooLargeForEverIsReportedAndRetriedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			p.suback()
			p.publish(1, true, "events", strings.Repeat("x", 1<<20))
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		time.Sleep(24 * time.Hour)
		s := r.State()
		if !errors.Is(s.Err, fds.ErrPacketTooLarge) || !strings.Contains(s.Err.Error(), "MaxPacketSize") {
			t.Errorf("error %v", s.Err)
		}
		if n := len(b.dialled()); n < 24*12 || n > 24*24+4 {
			t.Errorf("%d dials in a day, want one every 2.5 to 5 minutes", n)
		}
	})
}

func TestAttackABrokerMakesNoRoomForItselfByAPUBREL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n > 1 {
				p.stay()
				return
			}
			p.publish(1, false, "events", `"x"`)
			p.send(&packets.Pubrel{PacketID: 1, Properties: &packets.Properties{}})
			p.expect(packets.PUBCOMP)
			p.publish(1, false, "events", `"y"`) // for ever, each kept in memory
			p.stay()
		})
		r := start(t, b.config(), func(context.Context, delivery.Message) error { <-finish; return nil })
		defer close(finish)
		if s := r.waitPhase(push.BackingOff); !errors.Is(s.Err, fds.ErrProtocol) || !strings.Contains(s.Err.Error(), "identifier") {
			t.Errorf("error %v", s.Err)
		}
	})
}

func TestAttackMessagesThatABrokerNeverReleasesDoNotStopTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent = 100
		b := newScripted(t, func(p *peer) {
			p.accept(true)
			for id := range uint16(sent) {
				p.send(&packets.Publish{Topic: p.root.String() + "events", PacketID: id + 1, QoS: 2, Payload: []byte(`"x"`), Properties: &packets.Properties{}})
				p.expect(packets.PUBREC)
			}
			p.stay() // answers pings
		})
		cfg := b.config()
		cfg.ReceiveMaximum = 4
		got := newCollector()
		r := start(t, cfg, got.handle)
		got.wait(t, sent)
		time.Sleep(time.Hour)
		if s := r.State(); s.Phase != push.Connected || s.Connects != 1 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestAttackMoreMessagesThanAllowedBeforeTheSUBACKDoNotHideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent = 100
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			id := p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe).PacketID
			go func() {
				for i := range uint16(sent) {
					p.publish(i+1, false, "events", numbered(int(i), int(i)+1)[0])
				}
				p.send(&packets.Suback{PacketID: id, Reasons: []byte{1}, Properties: &packets.Properties{}})
			}()
			for id := range uint16(sent) {
				p.puback(id + 1)
			}
			p.stay()
		})
		cfg := b.config()
		cfg.ReceiveMaximum = 4
		got := newCollector()
		r := start(t, cfg, got.handle)
		if s := r.waitState(func(s push.State) bool { return s.Phase != push.Connecting }); s.Phase != push.Connected {
			t.Fatalf("state %+v", s)
		}
		if messages := payloads(got.wait(t, sent)); !slices.Equal(messages, numbered(0, sent)) {
			t.Errorf("got %v", messages)
		}
	})
}

func TestAttackMessagesBeforeTheSUBACKTakeBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codes := make(chan byte, 1)
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			p.expect(packets.SUBSCRIBE)
			if p.n > 1 {
				return
			}
			go func() {
				payload := strings.Repeat("x", 1<<19)
				for i := range uint16(100) {
					p.publish(i+1, false, "events", payload)
				}
			}()
			for packet := p.next(); packet != nil; packet = p.next() {
				if d, ok := packet.Content.(*packets.Disconnect); ok {
					codes <- d.ReasonCode
				}
			}
		})
		cfg := b.config()
		cfg.ReceiveMaximum = 1
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.BackingOff); !errors.Is(s.Err, fds.ErrProtocol) || !strings.Contains(s.Err.Error(), "receive maximum") {
			t.Errorf("error %v", s.Err)
		}
		if code := <-codes; code != packets.DisconnectReceiveMaximumExceeded {
			t.Errorf("DISCONNECT 0x%02X", code)
		}
	})
}

// acceptWebSocket has the connection become a WebSocket, of which it returns what comes.
func acceptWebSocket(p *peer) *bufio.Reader {
	reader := bufio.NewReader(p.conn)
	request, err := http.ReadRequest(reader)
	if err != nil {
		p.fatal("%v", err)
	}
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 section 1.3
	p.sendRaw([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")...)
	return reader
}

func TestAttackABrokerThatBreaksTheProtocolAndThenReadsNoMoreIsLeftSoon(t *testing.T) {
	for url, script := range map[string]func(p *peer){
		"mqtts://broker.test": func(p *peer) {
			p.expect(packets.CONNECT)
			p.sendRaw(raw(0x00)...)
			p.expect(packets.DISCONNECT) // and not the end of TLS
		},
		"wss://broker.test:8883": func(p *peer) {
			reader := acceptWebSocket(p)
			if _, err := reader.Peek(60); err != nil { // most of the CONNECT
				p.fatal("%v", err)
			}
			p.sendRaw(append([]byte{0x82, 2}, raw(0x00)...)...)
		},
	} {
		t.Run(url, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				b := newScripted(t, func(p *peer) {
					if p.n == 1 {
						script(p)
						time.Sleep(time.Hour)
					}
				})
				cfg := b.config()
				cfg.BrokerURL, cfg.WriteTimeout = url, 10*time.Minute
				s := start(t, cfg, discard(t)).waitPhase(push.BackingOff)
				if took := s.Since.Sub(began); took > 2*time.Second || !errors.Is(s.Err, fds.ErrProtocol) {
					t.Errorf("left after %v: %v", took, s.Err)
				}
			})
		})
	}
}

func TestAttackTheLevelsOfEarlyMessagesTakeBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			p.expect(packets.SUBSCRIBE)
			if p.n > 1 {
				return
			}
			go func() {
				below := strings.Repeat("a/", 32000) + "a" // 64 KB, and eight times that as levels
				for i := range uint16(30) {
					p.publish(i+1, false, below, "")
				}
			}()
			for packet := p.next(); packet != nil; packet = p.next() {
			}
		})
		cfg := b.config()
		cfg.ReceiveMaximum = 1
		r := start(t, cfg, discard(t))
		if s := r.waitState(func(s push.State) bool { return s.Err != nil }); !errors.Is(s.Err, fds.ErrProtocol) || !strings.Contains(s.Err.Error(), "receive maximum") {
			t.Errorf("error %v", s.Err)
		}
		r.stop()
	})
}
