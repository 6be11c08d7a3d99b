package push_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// refused has a broker that let the client in send a packet, and returns the state that
// follows within a second and the reason code of the client's DISCONNECT. Nothing may
// be handed over, and nothing acknowledged.
func refused(t *testing.T, packet func(p *peer) []byte, change func(*push.Config)) (s push.State, code byte) {
	t.Helper()
	codes := make(chan byte, 1)
	b := newScripted(t, func(p *peer) {
		p.accept(false)
		if p.n > 1 {
			p.stay()
			return
		}
		time.Sleep(time.Second)
		go p.sendRaw(packet(p)...)
		if d := p.stay(); d != nil {
			codes <- d.ReasonCode
		}
	})
	cfg := b.config()
	if change != nil {
		change(&cfg)
	}
	r := start(t, cfg, discard(t))
	r.waitPhase(push.Connected)
	time.Sleep(2 * time.Second)
	synctest.Wait()
	r.stop()
	close(r.states)
	for s = range r.states {
		if s.Err != nil {
			break
		}
	}
	select {
	case code = <-codes:
	default:
	}
	return s, code
}

// TestAttackATopicAliasThatWasNotOfferedIsRefused: an alias stands for whatever topic
// the broker says it does.
func TestAttackATopicAliasThatWasNotOfferedIsRefused(t *testing.T) {
	alias := func(n uint16) *packets.Properties { return &packets.Properties{TopicAlias: &n} }
	for name, message := range map[string]packets.Publish{
		"one that is set":                   {Topic: "events", Properties: alias(1)},
		"one that is set, acknowledged":     {Topic: "events", QoS: 1, PacketID: 1, Properties: alias(1)},
		"one that is set, released":         {Topic: "events", QoS: 2, PacketID: 1, Properties: alias(1)},
		"one that was never set":            {Properties: alias(1)},
		"one without a topic, and retained": {QoS: 1, PacketID: 1, Retain: true, Properties: alias(65535)},
		"0":                                 {Topic: "events", Properties: alias(0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, code := refused(t, func(p *peer) []byte {
					m := message
					if m.Topic != "" {
						m.Topic = p.root.String() + m.Topic
					}
					m.Payload = []byte("{}")
					var b strings.Builder
					if _, err := m.WriteTo(&b); err != nil {
						p.fatal("%v", err)
					}
					return []byte(b.String())
				}, nil)
				if !errors.Is(s.Err, fds.ErrProtocol) || !strings.Contains(s.Err.Error(), "alias") {
					t.Errorf("error %v", s.Err)
				}
				if code != packets.DisconnectTopicAliasInvalid {
					t.Errorf("DISCONNECT 0x%02X", code)
				}
			})
		})
	}
}

// announced is the beginning of a packet of total bytes, of which no more comes.
func announced(first byte, total int) []byte {
	for header := 2; ; header++ {
		rest := total - header
		length := []byte{byte(rest) & 0x7F}
		for rest >>= 7; rest > 0; rest >>= 7 {
			length[len(length)-1] |= 0x80
			length = append(length, byte(rest)&0x7F)
		}
		if 1+len(length) == header {
			return append([]byte{first}, length...)
		}
	}
}

// TestAttackAPacketOverItsLimitIsRefusedBeforeItComes: else a broker fills the memory,
// or has the client wait for what it never sends.
func TestAttackAPacketOverItsLimitIsRefusedBeforeItComes(t *testing.T) {
	const publish, suback, disconnect, pubrel, without = 0x32, 0x90, 0xE0, 0x62, 64 << 10
	for name, c := range map[string]struct {
		first      byte
		max, limit int
	}{
		"a message":                         {publish, 0, 1 << 20},
		"a message, the least limit":        {publish, 1 << 10, 1 << 10},
		"a message, a large limit":          {publish, 16 << 20, 16 << 20},
		"a SUBACK":                          {suback, 0, without},
		"a SUBACK, the least limit":         {suback, 1 << 10, 1 << 10},
		"a SUBACK, a large limit":           {suback, 16 << 20, without},
		"a DISCONNECT":                      {disconnect, 0, without},
		"a DISCONNECT, a large limit":       {disconnect, 256 << 20, without},
		"a PUBREL, full of user properties": {pubrel, 256 << 20, without},
	} {
		t.Run(name, func(t *testing.T) {
			for over := range 2 {
				synctest.Test(t, func(t *testing.T) {
					s, code := refused(t, func(*peer) []byte { return announced(c.first, c.limit+over) }, func(cfg *push.Config) { cfg.MaxPacketSize = c.max })
					switch {
					case over == 0 && (s.Err != nil || code != packets.DisconnectNormalDisconnection):
						t.Errorf("at the limit: DISCONNECT 0x%02X, error %v", code, s.Err)
					case over > 0 && (!errors.Is(s.Err, fds.ErrPacketTooLarge) || code != packets.DisconnectPacketTooLarge):
						t.Errorf("one byte over the limit: DISCONNECT 0x%02X, error %v", code, s.Err)
					}
				})
			}
		})
	}
	t.Run("a CONNACK", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newScripted(t, func(p *peer) {
				p.expect(packets.CONNECT)
				p.sendRaw(announced(0x20, without+1)...)
				p.stay()
			})
			s := start(t, b.config(), discard(t)).waitState(func(s push.State) bool { return s.Err != nil })
			if !errors.Is(s.Err, fds.ErrPacketTooLarge) {
				t.Errorf("error %v", s.Err)
			}
		})
	})
}

// TestAttackAnAnswerToAnotherRequestIsNotTaken: a broker that says yes to what was not
// asked would have the client believe that it is subscribed.
func TestAttackAnAnswerToAnotherRequestIsNotTaken(t *testing.T) {
	for name, answer := range map[string]func(p *peer, s *packets.Subscribe){
		"another identifier": func(p *peer, s *packets.Subscribe) {
			p.send(&packets.Suback{PacketID: s.PacketID + 1, Reasons: []byte{1}, Properties: &packets.Properties{}})
		},
		"no identifier": func(p *peer, _ *packets.Subscribe) {
			p.send(&packets.Suback{Reasons: []byte{1}, Properties: &packets.Properties{}})
		},
		"an UNSUBACK": func(p *peer, s *packets.Subscribe) {
			p.send(&packets.Unsuback{PacketID: s.PacketID, Reasons: []byte{0}, Properties: &packets.Properties{}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.connack(false, packets.Properties{})
					answer(p, p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe))
					p.stay()
				})
				s := start(t, b.config(), discard(t)).waitState(func(s push.State) bool { return s.Err != nil || s.Phase == push.Connected })
				if !errors.Is(s.Err, fds.ErrProtocol) || !strings.Contains(s.Err.Error(), "answers nothing") {
					t.Errorf("phase %q, error %v", s.Phase, s.Err)
				}
			})
		})
	}
}

// TestAttackManySmallMessagesBeforeTheSUBACKTakeBoundedMemory: each takes far more than
// its bytes on the network.
func TestAttackManySmallMessagesBeforeTheSUBACKTakeBoundedMemory(t *testing.T) {
	const sent, most = 20_000, 8192 + 10 // at half a KiB each
	synctest.Test(t, func(t *testing.T) {
		var taken atomic.Int64
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			p.expect(packets.SUBSCRIBE)
			if p.n > 1 {
				return
			}
			go func() {
				for i := range uint16(sent) {
					p.publish(i+1, false, "a", "")
					taken.Add(1)
				}
			}()
			for packet := p.next(); packet != nil; packet = p.next() {
			}
		})
		cfg := b.config()
		cfg.ReceiveMaximum = 1
		s := start(t, cfg, discard(t)).waitState(func(s push.State) bool { return s.Err != nil })
		if !errors.Is(s.Err, fds.ErrProtocol) || !strings.Contains(s.Err.Error(), "receive maximum") {
			t.Errorf("error %v", s.Err)
		}
		if n := taken.Load(); n > most {
			t.Errorf("%d messages were kept", n)
		}
	})
}

// deafConn is a network on which, once TLS 1.2 is shaken hands on, nothing can be
// written, and nothing comes.
type deafConn struct{ net.Conn }

func (c deafConn) Write(p []byte) (int, error) {
	const applicationData = 23 // RFC 5246 section 6.2.1
	if len(p) > 0 && p[0] == applicationData {
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(p)
}

// TestAttackAServerThatTakesNoCONNECTAndSaysNothingIsLeftSoon: its alert is not waited
// for as long as for a CONNACK.
func TestAttackAServerThatTakesNoCONNECTAndSaysNothingIsLeftSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.next() })
		b.wrap = func(c net.Conn) net.Conn { return deafConn{c} }
		cfg := b.config()
		cfg.ExactlyTLS12, cfg.ConnectTimeout = true, time.Hour
		began := time.Now()
		s := start(t, cfg, discard(t)).waitState(func(s push.State) bool { return s.Err != nil })
		if took := s.Since.Sub(began); took > 2*time.Second {
			t.Errorf("left after %v: %v", took, s.Err)
		}
	})
}

// TestAttackASessionOfOtherTopicsBringsNothingElse: an earlier run subscribed to more, and
// what it remembered is gone.
func TestAttackASessionOfOtherTopicsBringsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acknowledged := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(true)
			p.publish(1, false, "devices/a/status", "unwanted")
			p.publish(2, false, "devices/a/events", "wanted")
			p.publish(3, false, "events", "unwanted")
			for range 3 {
				p.expect(packets.PUBACK) // also of those, or they come again for ever
			}
			close(acknowledged)
			p.stay()
		})
		cfg := b.config()
		cfg.Topics = []string{"devices/+/events"}
		var mu sync.Mutex
		var got []string
		discarded := &discardCount{}
		cfg.Hooks = []any{discarded}
		start(t, cfg, func(_ context.Context, m delivery.Message) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(m.Payload))
			return nil
		})
		<-acknowledged
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 1 || got[0] != "wanted" {
			t.Errorf("handed over: %q", got)
		}
		if n := discarded.n.Load(); n != 2 {
			t.Errorf("the hook was told of %d", n)
		}
	})
}

type discardCount struct{ n atomic.Int64 }

func (d *discardCount) OnDiscarded(fds.OwnerKey, error) { d.n.Add(1) }
