package push_test

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/internal/tap"
	"github.com/fds-sdk/fds-go/push"
)

// observer keeps what it is told of packets.
type observer struct {
	mu      sync.Mutex
	packets []tap.Packet
}

func (o *observer) note(p tap.Packet) {
	p.Data = bytes.Clone(p.Data)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.packets = append(o.packets, p)
}

// kinds returns the direction and the type of each packet.
func (o *observer) kinds() (kinds []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.packets {
		sign := "< "
		if p.Sent {
			sign = "> "
		}
		kinds = append(kinds, sign+(&packets.ControlPacket{FixedHeader: packets.FixedHeader{Type: p.Data[0] >> 4}}).PacketType())
	}
	return kinds
}

func TestEachPacketIsObservedAsItIsOnTheNetwork(t *testing.T) {
	for name, make := range map[string]func(*testing.T) broker{
		"mqtts": box,
		"wss":   func(t *testing.T) broker { return behindWebSocket(t, box(t)).broker },
	} {
		t.Run(name, func(t *testing.T) {
			b, seen, got := make(t), new(observer), newCollector()
			owner, root := newOwner()
			cfg := b.config(owner, root)
			cfg.Hooks = []any{&tap.Tap{Packet: seen.note}}
			r := start(t, cfg, got.handle)
			r.waitPhase(push.Connected)
			const payload = `{"device_id":"d"}`
			b.mustPublish(t, root, "devices/d/status", payload)
			got.wait(t, 1)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			want := []string{"> CONNECT", "< CONNACK", "> SUBSCRIBE", "< SUBACK", "< PUBLISH", "> PUBACK", "> DISCONNECT"}
			if kinds := seen.kinds(); !slices.Equal(kinds, want) {
				t.Fatalf("packets %q, want %q", kinds, want)
			}
			for i, one := range seen.packets {
				if one.Owner != owner || !strings.HasSuffix(one.Broker, b.url[strings.LastIndex(b.url, ":"):]) && name == "mqtts" || one.Broker == "" {
					t.Errorf("packet %d is of %v at %q", i, one.Owner, one.Broker)
				}
				if first := i == 0; (one.TLS != nil) != first || first && len(one.TLS.PeerCertificates) == 0 {
					t.Errorf("packet %d has the state of TLS: %t", i, one.TLS != nil)
				}
				if _, err := packets.ReadPacket(bytes.NewReader(one.Data)); err != nil {
					t.Errorf("packet %d cannot be read: %v", i, err)
				}
			}
			if message := seen.packets[4].Data; !bytes.HasSuffix(message, []byte(payload)) {
				t.Errorf("the message is %q", message)
			}
		})
	}
}
