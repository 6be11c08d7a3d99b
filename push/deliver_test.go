package push_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
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

func TestAFailedMessageIsNeverAcknowledged(t *testing.T) {
	for name, end := range map[string]func(r *running, p chan string){
		"when the run ends":        func(r *running, _ chan string) { r.cancel() },
		"when the connection ends": func(_ *running, p chan string) { p <- "drop" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				order := make(chan string)
				b := newScripted(t, func(p *peer) {
					if p.n > 1 {
						p.connack(true, packets.Properties{})
						p.suback()
						p.stay()
						return
					}
					p.accept(false)
					p.publish(1, false, "events", `"x"`)
					p.publish(2, false, "events", `"y"`)
					go func() {
						<-order
						_ = p.conn.CloseWrite() // what is still under way shows in stay
					}()
					p.stay() // which fails on a PUBACK
				})
				failing := newCollector()
				failing.fail = func(delivery.Message, int) error { return errNotNow }
				r := start(t, b.config(), failing.handle)
				r.waitPhase(push.Connected)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				end(r, order)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				select {
				case order <- "":
				default:
				}
				if len(failing.all()) != 0 || failing.calls < 2 {
					t.Errorf("handled %v in %d calls", failing.all(), failing.calls)
				}
				if err := r.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestARedeliveryJoinsTheFirstDelivery(t *testing.T) {
	for _, name := range []string{"that still runs", "that ended between the connections"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				finish, lost := make(chan struct{}), make(chan struct{})
				b := newScripted(t, func(p *peer) {
					if p.n == 1 {
						p.accept(false)
						p.publish(1, false, "events", `"slow"`)
						p.publish(2, false, "events", `"next"`)
						time.Sleep(time.Second)
						return
					}
					if name == "that ended between the connections" {
						close(finish)
						time.Sleep(time.Second)
					}
					p.connack(true, packets.Properties{})
					p.suback()
					p.publish(1, true, "events", `"slow"`)
					p.publish(2, true, "events", `"next"`)
					close(lost)
					p.puback(1)
					p.puback(2)
					p.stay()
				})
				var mu sync.Mutex
				var calls []string
				running := 0
				r := start(t, b.config(), func(_ context.Context, m delivery.Message) error {
					mu.Lock()
					calls = append(calls, fmt.Sprintf("%s %v", m.Payload, m.Duplicate))
					if running++; running > 1 {
						t.Error("two messages of one owner at once")
					}
					mu.Unlock()
					if string(m.Payload) == `"slow"` {
						<-finish
					}
					mu.Lock()
					running--
					mu.Unlock()
					return nil
				})
				r.waitState(func(s push.State) bool { return s.Connects == 2 }) // though the handler still blocks
				<-lost
				synctest.Wait()
				if name == "that still runs" {
					close(finish)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if want := []string{`"slow" false`, `"next" true`}; !slices.Equal(calls, want) {
					t.Errorf("the handler was given %q, want %q", calls, want)
				}
			})
		})
	}
}

func TestAMessageInHandOutlivesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n == 1 {
				p.publish(1, false, "events", `"old"`)
				time.Sleep(time.Second)
				return
			}
			p.publish(1, true, "events", `"old"`) // another message of a new session, though it looks the same
			p.puback(1)
			p.stay()
		})
		got := newCollector()
		r := start(t, b.config(), func(ctx context.Context, m delivery.Message) error {
			<-finish
			return got.handle(ctx, m)
		})
		r.waitState(func(s push.State) bool { return s.Connects == 2 })
		synctest.Wait()
		close(finish)
		if messages := got.wait(t, 2); len(messages) != 2 {
			t.Errorf("handled %v", messages)
		}
	})
}

func TestAHandlerThatIgnoresTheDrainTimeIsWaitedForButNotByTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var goodbye time.Time
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", `"x"`)
			if d := p.stay(); d == nil || d.ReasonCode != 0 || d.Properties.SessionExpiryInterval != nil {
				t.Errorf("DISCONNECT %v", d)
			}
			goodbye = time.Now()
		})
		cfg := b.config()
		cfg.DrainTimeout = 3 * time.Second
		var told, cancelled time.Time
		atWork := make(chan struct{})
		r := start(t, cfg, func(ctx context.Context, _ delivery.Message) error {
			close(atWork)
			<-ctx.Done()
			cancelled = time.Now()
			time.Sleep(20 * time.Second)
			return nil
		})
		<-atWork
		told = time.Now()
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		ended := time.Now()
		if d := cancelled.Sub(told); d != cfg.DrainTimeout {
			t.Errorf("the handler's context ended after %v, want %v", d, cfg.DrainTimeout)
		}
		if d := goodbye.Sub(told); d < cfg.DrainTimeout || d > cfg.DrainTimeout+time.Second {
			t.Errorf("DISCONNECT after %v", d)
		}
		if d := ended.Sub(cancelled); d < 20*time.Second {
			t.Errorf("Run returned %v after the handler's context ended, before the handler", d)
		}
	})
}

type discards struct {
	mu     sync.Mutex
	errors []error
	calls  int
	failed int
}

func (d *discards) OnDiscarded(_ fds.OwnerKey, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errors = append(d.errors, err)
}

func (d *discards) OnHandled(_ fds.OwnerKey, _ time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if err != nil {
		d.failed++
	}
}

func TestASlowHandlerLosesTheOldestOfQualityOfServiceZeroAndBlocksNoReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent, kept = 300, 256
		atWork, finish := make(chan struct{}), make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for i := range sent {
				p.publish(0, false, "events", fmt.Sprintf(`{"n":%d}`, i))
				<-atWork
			}
			p.expect(packets.PINGREQ) // the reader is free
			p.send(packets.NewControlPacket(packets.PINGRESP))
			p.stay()
		})
		cfg := b.config()
		hooks := &discards{}
		cfg.Hooks = []any{hooks}
		got := newCollector()
		begun := sync.OnceFunc(func() { close(atWork) })
		r := start(t, cfg, func(ctx context.Context, m delivery.Message) error {
			begun()
			<-finish
			return got.handle(ctx, m)
		})
		r.waitPhase(push.Connected)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := r.State(); s.Dropped != sent-1-kept || s.Phase != push.Connected {
			t.Errorf("dropped %d, want %d; %+v", s.Dropped, sent-1-kept, s)
		}
		close(finish)
		messages := payloads(got.wait(t, kept+1))
		if want := append(numbered(0, 1), numbered(sent-kept, sent)...); !slices.Equal(messages, want) {
			t.Errorf("handled %v", messages)
		}
		hooks.mu.Lock()
		defer hooks.mu.Unlock()
		if len(hooks.errors) != sent-1-kept || !errors.Is(hooks.errors[0], fds.ErrQueueFull) {
			t.Errorf("the hook was told of %d drops", len(hooks.errors))
		}
	})
}

func TestAttackTheBytesOfWaitingMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		atWork, finish := make(chan struct{}), make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for i := range 20 {
				p.publish(0, false, "events", fmt.Sprint(i)+strings.Repeat(" ", size-100))
				<-atWork
			}
			p.stay()
		})
		defer close(finish)
		begun := sync.OnceFunc(func() { close(atWork) })
		r := start(t, b.config(), func(context.Context, delivery.Message) error { begun(); <-finish; return nil })
		r.waitPhase(push.Connected)
		time.Sleep(time.Second)
		if s := r.State(); s.Dropped != 20-1-4 {
			t.Errorf("dropped %d of 20 messages of 1 MiB while the handler was busy with one; want all but 4 MiB", s.Dropped)
		}
	})
}

func TestAttackAnotherOwnersMessageIsNeverHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		foreign := fds.NewSubscriptionID().Root().String() + "events"
		topics := []string{foreign, "fds/v2/", "other", "", "$SYS/x"}
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for i, topic := range topics {
				id := uint16(i + 1)
				p.send(&packets.Publish{Topic: topic, PacketID: id, QoS: 1, Payload: []byte(`"secret"`), Properties: &packets.Properties{}})
				p.puback(id) // or it would come again for ever
				p.send(&packets.Publish{Topic: topic, Payload: []byte(`"secret"`), Properties: &packets.Properties{}})
			}
			p.publish(100, false, "events", `"own"`)
			p.puback(100)
			p.stay()
		})
		var logged bytes.Buffer
		cfg := b.config()
		hooks := &discards{}
		cfg.Hooks, cfg.Logger = []any{hooks}, slog.New(slog.NewTextHandler(&logged, nil))
		got := newCollector()
		r := start(t, cfg, got.handle)
		s := r.waitState(func(s push.State) bool { return s.Foreign > 0 && s.Phase == push.Connected })
		if !errors.Is(s.Err, fds.ErrForeignTopic) {
			t.Errorf("state %+v", s)
		}
		if messages := got.wait(t, 1); len(messages) != 1 || string(messages[0].Payload) != `"own"` {
			t.Errorf("handled %v", messages)
		}
		if s := r.State(); s.Foreign != uint64(2*len(topics)) || len(hooks.errors) != 2*len(topics) {
			t.Errorf("counted %d, the hook was told of %d, sent %d", s.Foreign, len(hooks.errors), 2*len(topics))
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(logged.String(), "secret") || strings.Count(logged.String(), "foreign message") != 1 {
			t.Errorf("log: %s", &logged)
		}
	})
}

func TestAPayloadThatIsNotJSONArrivesAsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payload := "\x00\xff{" + strings.Repeat("x", 70_000)
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", payload)
			p.puback(1)
			p.publish(2, false, "events", "")
			p.puback(2)
			p.stay()
		})
		got := newCollector()
		start(t, b.config(), got.handle)
		messages := got.wait(t, 2)
		if string(messages[0].Payload) != payload || len(messages[1].Payload) != 0 {
			t.Errorf("got %v", messages)
		}
		if _, err := messages[0].Item(); !errors.Is(err, fds.ErrItem) {
			t.Errorf("Item: %v", err)
		}
	})
}

func TestABrokerThatSendsFarAheadLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent, receiveMaximum = 200, 10
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			go func() { // the client stops reading after a while
				for i := range uint16(sent) {
					p.publish(i+1, false, "events", fmt.Sprintf(`{"n":%d}`, i))
				}
			}()
			for acked := 0; acked < sent; {
				switch packet := p.next(); {
				case packet != nil && packet.Type == packets.PINGREQ:
				case packet != nil && packet.Type == packets.PUBACK:
					acked++
				default:
					p.fatal("got %v", packet)
				}
			}
		})
		cfg := b.config()
		cfg.ReceiveMaximum = receiveMaximum
		cfg.KeepAlive = 10 * time.Second
		finish := make(chan struct{})
		got := newCollector()
		r := start(t, cfg, func(ctx context.Context, m delivery.Message) error {
			<-finish
			return got.handle(ctx, m)
		})
		r.waitPhase(push.Connected)
		time.Sleep(10 * time.Minute) // many keep-alive times
		if s := r.State(); s.Phase != push.Connected || s.Connects != 1 {
			t.Errorf("state %+v", s)
		}
		close(finish)
		if messages := payloads(got.wait(t, sent)); !slices.Equal(messages, numbered(0, sent)) {
			t.Errorf("got %v", messages)
		}
	})
}

func TestQualityOfServiceTwoOfAnOldSessionIsHandledToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(true)
			p.send(&packets.Publish{Topic: p.root.String() + "events", PacketID: 9, QoS: 2, Payload: []byte(`"x"`), Properties: &packets.Properties{}})
			p.expect(packets.PUBREC)
			p.send(&packets.Pubrel{PacketID: 9, Properties: &packets.Properties{}})
			p.expect(packets.PUBCOMP)
			p.stay()
		})
		got := newCollector()
		r := start(t, b.config(), got.handle)
		if m := got.wait(t, 1)[0]; m.QoS != 2 {
			t.Errorf("got %+v", m)
		}
		synctest.Wait()
		if s := r.State(); s.Phase != push.Connected {
			t.Errorf("state %+v", s)
		}
	})
}

func TestAPanicHarmsItsOwnerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", `"x"`)
			p.stay()
		}
		wrong := newScripted(t, script)
		right := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", `"x"`)
			p.puback(1)
			p.stay()
		})
		var logged bytes.Buffer
		cfg := wrong.config()
		hooks := &discards{}
		cfg.Hooks, cfg.Logger = []any{hooks}, slog.New(slog.NewTextHandler(&logged, nil))
		a := start(t, cfg, func(context.Context, delivery.Message) error { panic("a defect") })
		got := newCollector()
		start(t, right.config(), got.handle)
		got.wait(t, 1)
		time.Sleep(10 * time.Second)
		if s := a.State(); s.Phase != push.Connected {
			t.Errorf("state %+v", s)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		if hooks.failed < 2 || hooks.failed != hooks.calls || !strings.Contains(logged.String(), "a defect") || !strings.Contains(logged.String(), "deliver_test.go") {
			t.Errorf("%d of %d calls failed; log: %s", hooks.failed, hooks.calls, &logged)
		}
	})
}

// The topics below the root are the provider's own.
func TestEveryTopicBelowTheRootIsHandedOver(t *testing.T) {
	for _, below := range []string{"devices/S1/", "devices//status", "devices/$state", "", "/"} {
		t.Run(strings.ReplaceAll(below, "/", "|"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.accept(false)
					p.publish(1, false, below, `"x"`)
					p.puback(1)
					p.stay()
				})
				got := newCollector()
				r := start(t, b.config(), got.handle)
				messages := got.wait(t, 1)
				if m := messages[0]; strings.Join(m.Levels, "/") != below {
					t.Errorf("levels %q", m.Levels)
				}
				r.stop()
			})
		})
	}
}
