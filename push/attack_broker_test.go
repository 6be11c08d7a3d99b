package push_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// isSafe reports whether a text is one line of bounded length that no terminal obeys.
func isSafe(text string) bool {
	return len(text) <= 1500 && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// TestAttackTheBrokersWordsForgeNoLineAndFloodNone: whatever packet they come in.
func TestAttackTheBrokersWordsForgeNoLineAndFloodNone(t *testing.T) {
	const bound = 256
	words := strings.Repeat("line\nforged \x1b[31m\u009b\u202e", 1000)
	said := &packets.Properties{ReasonString: words, ServerReference: words}
	for name, c := range map[string]struct {
		packet string
		script func(p *peer)
	}{
		"CONNACK": {"CONNACK", func(p *peer) {
			p.expect(packets.CONNECT)
			p.send(&packets.Connack{ReasonCode: packets.ConnackServerMoved, Properties: said})
		}},
		"SUBACK, all refused": {"SUBACK", func(p *peer) {
			p.connack(false, packets.Properties{})
			p.send(&packets.Suback{PacketID: p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe).PacketID, Reasons: []byte{0x87, 0x87}, Properties: &packets.Properties{ReasonString: words}})
			p.stay()
		}},
		"SUBACK, one refused": {"SUBACK", func(p *peer) {
			p.connack(false, packets.Properties{})
			p.send(&packets.Suback{PacketID: p.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe).PacketID, Reasons: []byte{1, 0x87}, Properties: &packets.Properties{ReasonString: words}})
			p.stay()
		}},
		"DISCONNECT": {"DISCONNECT", func(p *peer) {
			p.accept(false)
			time.Sleep(time.Second)
			p.send(&packets.Disconnect{ReasonCode: packets.DisconnectUseAnotherServer, Properties: said})
		}},
		"UNSUBACK": {"UNSUBACK", func(p *peer) {
			p.connack(true, packets.Properties{})
			p.send(&packets.Unsuback{PacketID: p.expect(packets.UNSUBSCRIBE).Content.(*packets.Unsubscribe).PacketID, Reasons: []byte{0x87}, Properties: &packets.Properties{ReasonString: words}})
			p.suback()
			p.stay()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, c.script)
				cfg := b.config()
				cfg.Topics = []string{"a", "odd\n\x1b[31m\u202e" + strings.Repeat("x", 100)} // a name that a person chose
				if c.packet == "UNSUBACK" {
					cfg.Subscribed = []string{b.root.String() + "old"}
				}
				var log bytes.Buffer
				cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil))
				r := start(t, cfg, discard(t))
				if c.packet != "UNSUBACK" {
					s := r.waitState(func(s push.State) bool { return s.Err != nil })
					var refused *push.ReasonError
					if !errors.As(s.Err, &refused) || refused.Packet != c.packet || !isSafe(s.Err.Error()) {
						t.Fatalf("error %.1000q", s.Err)
					}
					if len(refused.Text) > bound || len(refused.ServerReference) > bound {
						t.Errorf("the error keeps %d and %d bytes of the broker's words", len(refused.Text), len(refused.ServerReference))
					}
				}
				time.Sleep(2 * time.Second)
				r.stop()
				told := 0
				for line := range strings.Lines(log.String()) {
					var record struct {
						Error string `json:"error"`
					}
					if err := json.Unmarshal([]byte(line), &record); err != nil || !isSafe(record.Error) {
						t.Errorf("%v in the log: %.1000q", err, line)
					}
					if strings.Contains(record.Error, c.packet) {
						told++
					}
				}
				if told == 0 {
					t.Errorf("nothing of it in the log: %s", log.String())
				}
			})
		})
	}
}

// TestAttackASUBACKThatSaysNeitherYesNorNoIsNoYes: MQTT 5.0 section 3.9.3 knows 0 to 2.
func TestAttackASUBACKThatSaysNeitherYesNorNoIsNoYes(t *testing.T) {
	for _, code := range []byte{0x03, 0x04, 0x10, 0x7F} {
		t.Run(fmt.Sprintf("0x%02X", code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.connack(false, packets.Properties{})
					p.suback(code)
					p.stay()
				})
				s := start(t, b.config(), discard(t)).waitState(func(s push.State) bool { return s.Err != nil || s.Phase == push.Connected })
				var refused *push.ReasonError
				if !errors.As(s.Err, &refused) || refused.Code != code || s.Phase != push.BackingOff {
					t.Errorf("phase %q, error %v", s.Phase, s.Err)
				}
			})
		})
	}
}

// TestAttackABrokerThatWatchesNobodyIsWatched: it says so by a keep-alive of 0, and then
// is gone.
func TestAttackABrokerThatWatchesNobodyIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			none := uint16(0)
			p.connack(false, packets.Properties{ServerKeepAlive: &none})
			p.suback()
			_, _ = io.Copy(io.Discard, p.conn)
		})
		cfg := b.config()
		cfg.KeepAlive = 20 * time.Second
		r := start(t, cfg, discard(t))
		up := r.waitPhase(push.Connected)
		if s := r.waitPhase(push.BackingOff); s.Since.Sub(up.Since) > 30*time.Second || !errors.Is(s.Err, fds.ErrUnresponsive) {
			t.Errorf("found after %v: %v", s.Since.Sub(up.Since), s.Err)
		}
	})
}

// TestAttackReconnectsWhileTheHandlerHangsTakeNoMemory: each time all that waits comes
// again.
func TestAttackReconnectsWhileTheHandlerHangsTakeNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connects, messages, size = 100, 16, 64 << 10
		payload := strings.Repeat("x", size)
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			for id := range uint16(messages) {
				p.publish(id+1, p.n > 1, "events", payload)
			}
			if p.n < connects {
				time.Sleep(time.Second)
				p.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerBusy, Properties: &packets.Properties{}})
			}
			for packet := p.next(); packet != nil && packet.Type != packets.DISCONNECT; packet = p.next() {
				if packet.Type == packets.PINGREQ {
					p.send(packets.NewControlPacket(packets.PINGRESP))
				}
			}
		})
		cfg := b.config()
		cfg.Backoff.Max = 10 * time.Second
		finish := make(chan struct{})
		defer close(finish)
		r := start(t, cfg, func(context.Context, delivery.Message) error { <-finish; return nil })
		r.waitPhase(push.Connected)
		heap := func() int64 {
			var now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&now)
			return int64(now.HeapAlloc)
		}
		before := heap()
		for r.State().Connects < connects {
			time.Sleep(10 * time.Second)
		}
		time.Sleep(2 * time.Second)
		if took := heap() - before; took > 8*messages*size {
			t.Errorf("%d connections take %d MiB", connects, took>>20)
		}
	})
}

// TestAttackAWebSocketThatIsReadNoMoreIsLeftWithinTheWriteTimeout: also by a client that
// hardly ever pings.
func TestAttackAWebSocketThatIsReadNoMoreIsLeftWithinTheWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			reader := acceptWebSocket(p)
			frame := func(packet packets.Packet) {
				var b bytes.Buffer
				_, _ = packet.WriteTo(&b)
				p.sendRaw(append([]byte{0x82, byte(b.Len())}, b.Bytes()...)...) // short, and not masked (RFC 6455 section 5.2)
			}
			next := func() []byte { // the client's are short as well, and masked
				header := make([]byte, 2)
				if _, err := io.ReadFull(reader, header); err != nil {
					p.fatal("%v", err)
				}
				length := int(header[1] & 0x7F)
				if length == 126 {
					more := make([]byte, 2)
					if _, err := io.ReadFull(reader, more); err != nil {
						p.fatal("%v", err)
					}
					length = int(more[0])<<8 | int(more[1])
				}
				masked := make([]byte, 4+length)
				if _, err := io.ReadFull(reader, masked); err != nil {
					p.fatal("%v", err)
				}
				for i := range length {
					masked[4+i] ^= masked[i%4]
				}
				return masked[4:]
			}
			next()
			frame(&packets.Connack{Properties: &packets.Properties{}})
			subscribe := next()
			frame(&packets.Suback{PacketID: uint16(subscribe[2])<<8 | uint16(subscribe[3]), Reasons: []byte{1}, Properties: &packets.Properties{}})
			frame(&packets.Publish{Topic: p.root.String() + "a", PacketID: 1, QoS: 1, Properties: &packets.Properties{}})
			time.Sleep(24 * time.Hour)
		})
		cfg := b.config()
		cfg.BrokerURL, cfg.KeepAlive, cfg.WriteTimeout = "wss://broker.test:8883", 10*time.Hour, 5*time.Second
		r := start(t, cfg, func(context.Context, delivery.Message) error { return nil })
		up := r.waitPhase(push.Connected)
		s := r.waitState(func(s push.State) bool { return s.Err != nil })
		if took := s.Since.Sub(up.Since); took > 7*time.Second {
			t.Errorf("left after %v: %v", took, s.Err)
		}
	})
}

// TestAttackASourceThatPanicsOverACertificateForgesNoLine: a panic of a parser may quote
// the file, and only the log tells of it while the connection is up.
func TestAttackASourceThatPanicsOverACertificateForgesNoLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		cfg := b.config()
		good, asked := cfg.Certificate, 0
		cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
			if asked++; asked > 1 {
				panic(strings.Repeat("line\nforged \x1b[31m\u009b\u202e", 1000))
			}
			return good(ctx)
		}
		var log bytes.Buffer
		cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		r := start(t, cfg, discard(t))
		time.Sleep(24 * time.Hour)
		if s := r.State(); s.Phase != push.Connected || s.Connects != 1 {
			t.Errorf("state %+v", s)
		}
		r.stop()
		told := 0
		for line := range strings.Lines(log.String()) {
			var record struct {
				Error string `json:"error"`
			}
			if err := json.Unmarshal([]byte(line), &record); err != nil || !isSafe(record.Error) {
				t.Errorf("%v in the log: %.1000q", err, line)
			}
			if strings.Contains(record.Error, "panicked") {
				told++
			}
		}
		if told != 1 { // once, however often it is asked
			t.Errorf("told %d times: %.1000s", told, log.String())
		}
	})
}
