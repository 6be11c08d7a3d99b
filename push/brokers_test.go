package push_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func small(b *realtest.SmallBroker) broker {
	return broker{
		url: b.URL, roots: b.RootCAs,
		issue: func(clientID string) *tls.Certificate { c := b.OwnerCertificate(clientID); return &c.TLS },
		publish: func(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
			return b.PublishPacket(ctx, publishPacket(topic, payload, qos, retain))
		},
	}
}

// Brokers differ in how they number, what they check and what they keep. On each a session with
// messages in flight is taken up again: mochi takes the packet identifier of a SUBSCRIBE
// for that of such a message, ejabberd keeps a session for five minutes whatever is asked.
func TestASessionWithMessagesInFlightIsTakenUpOnEveryBroker(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) broker{
		"fdstest":   box,
		"mosquitto": mosquitto,
		"mochi":     func(t *testing.T) broker { return small(realtest.Mochi(t)) },
		"ejabberd":  func(t *testing.T) broker { return small(realtest.Ejabberd(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			owner, root := newOwner()
			cfg := b.config(owner, root)
			cfg.DrainTimeout = 10 * time.Millisecond
			var out bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&out, nil))
			began := make(chan struct{}, 1)
			first := start(t, cfg, func(ctx context.Context, _ delivery.Message) error {
				select {
				case began <- struct{}{}:
				default:
				}
				<-ctx.Done()
				return ctx.Err()
			})
			first.waitPhase(push.Connected)
			const messages = 8
			for i := range messages {
				b.mustPublish(t, root, "events", fmt.Sprintf(`{"n":%d}`, i))
			}
			<-began
			if err := first.stop(); err != nil {
				t.Fatal(err)
			}
			cfg.Subscribed = []string{root.String() + "#", root.String() + "unwanted"} // which is asked to be forgotten too
			got := newCollector()
			second := start(t, cfg, got.handle)
			s := second.waitState(func(s push.State) bool { return s.Phase != push.Connecting })
			if s.Phase != push.Connected || !s.SessionPresent || s.Err != nil {
				t.Fatalf("%+v", s)
			}
			handled := payloads(got.wait(t, messages))
			if name == "mochi" { // sends what was in flight in any order
				slices.Sort(handled)
			}
			if !slices.Equal(handled, numbered(0, messages)) {
				t.Errorf("handled %v", handled)
			}
			b.mustPublish(t, root, "events", `"live"`)
			if handled := got.wait(t, messages+1); string(handled[messages].Payload) != `"live"` {
				t.Errorf("handled %v", payloads(handled))
			}
			second.stop()
			lowered := strings.Contains(out.String(), "kept_for=5m0s asked_for=24h0m0s")
			if lowered != (name == "ejabberd") || (s.SessionExpiry == 24*time.Hour) == lowered {
				t.Errorf("the session is kept for %v; logged:\n%s", s.SessionExpiry, out.String())
			}
		})
	}
}
