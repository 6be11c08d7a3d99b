package push_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// TestAttackAnotherMessageThatPassesForARedeliveryIsHandedOver: one that joined the
// message at work would be acknowledged, and never handled.
func TestAttackAnotherMessageThatPassesForARedeliveryIsHandedOver(t *testing.T) {
	for name, c := range map[string]struct {
		second packets.Publish
		calls  []string
	}{
		"the redelivery itself":   {packets.Publish{Duplicate: true, PacketID: 1, QoS: 1, Topic: "events", Payload: []byte("x")}, []string{"events x"}},
		"another payload":         {packets.Publish{Duplicate: true, PacketID: 1, QoS: 1, Topic: "events", Payload: []byte("y")}, []string{"events x", "events y"}},
		"another topic":           {packets.Publish{Duplicate: true, PacketID: 1, QoS: 1, Topic: "alarms", Payload: []byte("x")}, []string{"events x", "alarms x"}},
		"another identifier":      {packets.Publish{Duplicate: true, PacketID: 2, QoS: 1, Topic: "events", Payload: []byte("x")}, []string{"events x", "events x"}},
		"another quality":         {packets.Publish{Duplicate: true, PacketID: 1, QoS: 2, Topic: "events", Payload: []byte("x")}, []string{"events x", "events x"}},
		"not marked as duplicate": {packets.Publish{PacketID: 1, QoS: 1, Topic: "events", Payload: []byte("x")}, []string{"events x", "events x"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				finish := make(chan struct{})
				b := newScripted(t, func(p *peer) {
					if p.n == 1 {
						p.accept(false)
						p.publish(1, false, "events", "x")
						time.Sleep(time.Second)
						return
					}
					p.accept(true)
					second := c.second
					second.Topic, second.Properties = p.root.String()+second.Topic, &packets.Properties{}
					p.send(&second)
					time.AfterFunc(time.Second, func() { close(finish) })
					p.expect([]byte{1: packets.PUBACK, 2: packets.PUBREC}[second.QoS])
					p.stay()
				})
				var mu sync.Mutex
				var calls []string
				start(t, b.config(), func(_ context.Context, m delivery.Message) error {
					mu.Lock()
					calls = append(calls, m.Levels[0]+" "+string(m.Payload))
					mu.Unlock()
					<-finish
					return nil
				})
				time.Sleep(testTimeout)
				mu.Lock()
				defer mu.Unlock()
				if !slices.Equal(calls, c.calls) {
					t.Errorf("the handler was given %q, want %q", calls, c.calls)
				}
			})
		})
	}
}

// handled keeps the errors of a handler.
type handled struct {
	mu   sync.Mutex
	errs []error
}

func (h *handled) OnHandled(_ fds.OwnerKey, _ time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

// TestAttackAPanicThatQuotesAMessageForgesNoLine: a handler's panic may hold what the
// broker sent.
func TestAttackAPanicThatQuotesAMessageForgesNoLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", "line\nforged \x1b[31m\u009b\u202e"+strings.Repeat("x", 100_000))
			p.puback(1)
			p.stay()
		})
		hook := new(handled)
		cfg := b.config()
		cfg.Hooks = []any{hook}
		calls := 0
		start(t, cfg, func(_ context.Context, m delivery.Message) error {
			if calls++; calls == 1 {
				panic(fmt.Sprintf("what is %s?", m.Payload))
			}
			return nil
		})
		time.Sleep(testTimeout)
		hook.mu.Lock()
		defer hook.mu.Unlock()
		if len(hook.errs) != 2 || hook.errs[0] == nil {
			t.Fatalf("told %v", hook.errs)
		}
		if text := hook.errs[0].Error(); len(text) > 1000 || strings.ContainsAny(text, "\n\x1b\u009b\u202e") || !strings.Contains(text, `line\nforged`) {
			t.Errorf("error %.500q", text)
		}
	})
}

// TestAttackLongTopicsThatWaitForTheHandlerAreBoundedInBytes: their payloads are empty.
func TestAttackLongTopicsThatWaitForTheHandlerAreBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent, size, kept = 250, 65_000, 4 << 20
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for range sent {
				p.publish(0, false, strings.Repeat("a", size), "")
			}
			p.stay()
		})
		finish := make(chan struct{})
		defer close(finish)
		r := start(t, b.config(), func(context.Context, delivery.Message) error { <-finish; return nil })
		r.waitPhase(push.Connected)
		time.Sleep(time.Second) // until another goroutine reads
		synctest.Wait()
		if dropped, most := r.State().Dropped, kept/size+2; dropped < uint64(sent-most) {
			t.Errorf("%d of %d messages were dropped, though %d of them take %d bytes", dropped, sent, most, kept)
		}
	})
}

// TestAttackAHandlerThatChangesThePayloadNeverGetsItChanged: it would have, the next time,
// something that nobody has sent.
func TestAttackAHandlerThatChangesThePayloadNeverGetsItChanged(t *testing.T) {
	for size, connections := range map[int]int{10: 1, 100 << 10: 3} {
		synctest.Test(t, func(t *testing.T) {
			sent := strings.Repeat("x", size)
			acknowledged := make(chan int, 1)
			b := newScripted(t, func(p *peer) {
				p.accept(p.n > 1)
				p.publish(1, p.n > 1, "events", sent)
				if packet := p.next(); packet != nil && packet.Type == packets.PUBACK { // or it has ended
					acknowledged <- p.n
					p.stay()
				}
			})
			cfg := b.config()
			cfg.MaxPacketSize = 1 << 20
			var mu sync.Mutex
			var got []string
			start(t, cfg, func(_ context.Context, m delivery.Message) error {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(m.Payload))
				clear(m.Payload)
				if len(got) < 3 {
					return errNotNow
				}
				return nil
			})
			if n := <-acknowledged; n != connections {
				t.Errorf("%d bytes: acknowledged on connection %d, want %d", size, n, connections)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(got) != 3 || got[0] != sent || got[1] != sent || got[2] != sent {
				t.Errorf("%d bytes: it had %d messages that are not all as sent", size, len(got))
			}
		})
	}
}
