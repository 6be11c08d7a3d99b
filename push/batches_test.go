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
	"github.com/fds-sdk/fds-go/push"
)

// batcher is a handler of several messages that notes its calls.
type batcher struct {
	began time.Time
	do    func(batch []string) error // nil: all are done with

	mu    sync.Mutex
	calls []string // when since began, and the payloads
}

func newBatcher(do func([]string) error) *batcher { return &batcher{began: time.Now(), do: do} }

func (b *batcher) handle(_ context.Context, batch []delivery.Message) error {
	var texts []string
	for _, m := range batch {
		texts = append(texts, string(m.Payload))
	}
	b.mu.Lock()
	b.calls = append(b.calls, fmt.Sprintf("%.fs %s", time.Since(b.began).Seconds(), strings.Join(texts, " ")))
	b.mu.Unlock()
	if b.do == nil {
		return nil
	}
	return b.do(texts)
}

func (b *batcher) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// want fails the test if the calls were others.
func (b *batcher) want(t *testing.T, calls ...string) {
	t.Helper()
	if got := b.said(); !slices.Equal(got, calls) {
		t.Errorf("calls %q, want %q", got, calls)
	}
}

// verdicts returns one for each of a batch.
func verdicts(batch []string, of map[string]error) error {
	v := make(delivery.Verdicts, len(batch))
	for i, text := range batch {
		v[i] = of[text]
	}
	return v
}

// patient is a configuration without pings, for scripts that wait.
func (s *scripted) patient() push.Config {
	cfg := s.config()
	cfg.KeepAlive = 12 * time.Hour
	return cfg
}

// publishAll sends messages of quality of service 1, whose payloads are their numbers.
func (p *peer) publishAll(duplicate bool, from, to int) {
	for n := from; n <= to; n++ {
		p.publish(uint16(n), duplicate, "events", fmt.Sprint(n))
	}
}

// pubacks expects the acknowledgements of messages, in one record.
func (p *peer) pubacks(from, to int) {
	p.t.Helper()
	got := make([]byte, 16<<10)
	n, err := p.conn.Read(got)
	var want []byte
	for id := from; id <= to; id++ {
		want = append(want, packets.PUBACK<<4, 2, byte(id>>8), byte(id))
	}
	if err != nil || !slices.Equal(got[:n], want) {
		p.fatal("got %v, %v, want the acknowledgements of %d to %d in one record", got[:n], err, from, to)
	}
}

func TestABatchIsHandedOverWhenItIsFullOrTheFirstHasWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			if most := *p.connack(false, packets.Properties{}).Properties.ReceiveMaximum; most != 40 {
				t.Errorf("the receive maximum is %d", most)
			}
			p.suback()
			p.publishAll(false, 1, 23)
			p.pubacks(1, 20)
			p.pubacks(21, 23)
			close(over)
			p.stay()
		})
		h := newBatcher(nil)
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 20, Wait: 5 * time.Second})
		<-over
		h.want(t, "0s 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", "5s 21 22 23")
		if s := r.State(); s.Waiting != 0 || s.Failing != nil {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// What is done with waits for what came before; newer messages do not wait to be handed over.
func TestAcknowledgementsAreInOrderAndStopAtTheFirstThatIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 4)
			p.pubacks(1, 1)
			time.Sleep(10 * time.Second)
			p.publishAll(false, 5, 8)
			p.pubacks(2, 8)
			close(over)
			p.stay()
		})
		failed := 0
		h := newBatcher(func(batch []string) error {
			if slices.Contains(batch, "2") {
				if failed++; failed == 1 {
					return verdicts(batch, map[string]error{"2": delivery.RetryAfter(time.Minute, errNotNow)})
				}
			}
			return nil
		})
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 4, Wait: time.Second})
		time.Sleep(20 * time.Second)
		if s := r.State(); s.Failing == nil || s.Failing.Attempts != 1 || string(s.Failing.Message.Payload) != "2" || s.Waiting != 1 {
			t.Errorf("%+v", s)
		}
		<-over
		h.want(t, "0s 1 2 3 4", "10s 5 6 7 8", "60s 2")
		r.stop()
	})
}

func TestWhatIsDoneBehindAnUndoneOneIsNotHandedOverAgainAfterAReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			if p.n == 1 {
				p.accept(false)
				p.publishAll(false, 1, 5)
				time.Sleep(10 * time.Second)
				p.publishAll(false, 6, 6) // and never handed over
				return
			}
			p.accept(true)
			p.publishAll(true, 1, 6)
			if p.n == 2 {
				time.Sleep(10 * time.Second)
				return
			}
			p.pubacks(1, 6)
			p.publish(3, true, "events", "3") // which is another one now, though it be the same
			p.pubacks(3, 3)
			close(over)
			p.stay()
		})
		failed := 0
		h := newBatcher(func(batch []string) error {
			if slices.Contains(batch, "2") {
				if failed++; failed == 1 {
					return verdicts(batch, map[string]error{"1": delivery.RetryAfter(time.Minute, errNotNow), "2": errNotNow})
				}
			}
			return nil
		})
		cfg := b.patient()
		cfg.Backoff = push.Backoff{Initial: time.Second, StableAfter: time.Second}
		cfg.HandlerBackoff = push.Backoff{Initial: time.Nanosecond * 1e6}
		r := startBatches(t, cfg, &delivery.Batching{Handler: h.handle, Most: 5, Wait: 5 * time.Second})
		<-over
		calls := h.said()
		if len(calls) != 5 || calls[0] != "0s 1 2 3 4 5" || calls[1] != "0s 2" || !strings.HasSuffix(calls[2], " 6") || calls[3] != "60s 1" || !strings.HasSuffix(calls[4], " 3") {
			t.Errorf("calls %q", calls)
		}
		r.stop()
	})
}

// In a new session a packet identifier is another message's. What failed before is not forgotten
// for that: no broker has it any more.
func TestANewSessionForgetsWhatWasDoneAndNotWhatWasNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n == 1 {
				p.publishAll(false, 1, 3)
				time.Sleep(10 * time.Second)
				return
			}
			p.publishAll(true, 1, 3)
			p.pubacks(1, 3)
			time.Sleep(5 * time.Minute)
			close(over)
			p.stay()
		})
		failed := 0
		h := newBatcher(func(batch []string) error {
			if failed++; failed == 1 {
				return verdicts(batch, map[string]error{"1": delivery.RetryAfter(time.Minute, errNotNow)})
			}
			return nil
		})
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 3, Wait: 5 * time.Second})
		<-over
		calls := h.said()
		if len(calls) != 3 || calls[0] != "0s 1 2 3" || !strings.HasSuffix(calls[1], " 1 2 3") || calls[2] != "60s 1" {
			t.Errorf("calls %q", calls)
		}
		r.stop()
	})
}

// A handler that is not there has the owner wait, newer messages too.
func TestAnOwnerWhoseHandlerIsUnavailableWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 3)
			time.Sleep(10 * time.Second)
			p.publishAll(false, 4, 5)
			p.pubacks(1, 3)
			p.pubacks(4, 5)
			close(over)
			p.stay()
		})
		away := true
		h := newBatcher(func([]string) error {
			if away {
				away = false
				return &delivery.VerdictError{Verdict: delivery.Unavailable, After: time.Minute, Err: errNotNow}
			}
			return nil
		})
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 3})
		<-over
		h.want(t, "0s 1 2 3", "60s 1 2 3", "60s 4 5")
		r.stop()
	})
}

// A message at work when its connection ends goes on, and its redelivery is it.
func TestARedeliveryJoinsABatchAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish, over := make(chan struct{}), make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			p.publishAll(p.n > 1, 1, 3)
			if p.n == 1 {
				time.Sleep(10 * time.Second)
				return
			}
			time.AfterFunc(time.Second, func() { close(finish) })
			p.pubacks(1, 3)
			p.publish(2, true, "events", "2") // which is another one now, though it be the same
			p.pubacks(2, 2)
			close(over)
			p.stay()
		})
		h := newBatcher(func([]string) error { <-finish; return nil })
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 3})
		<-over
		calls := h.said()
		if len(calls) != 2 || calls[0] != "0s 1 2 3" || !strings.HasSuffix(calls[1], " 2") {
			t.Errorf("calls %q", calls)
		}
		r.stop()
	})
}

func TestTheOneMessageOfABatchThatFailsGoesToTheDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 64)
			p.pubacks(1, 36)
			p.pubacks(37, 64)
			close(over)
			p.stay()
		})
		alone := 0
		h := newBatcher(func(batch []string) error {
			if !slices.Contains(batch, "37") {
				return nil
			}
			if len(batch) == 1 {
				alone++
			}
			return errNotNow
		})
		var dead []string
		cfg := b.patient()
		cfg.MaxAttempts = 3
		cfg.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
			dead = append(dead, string(m.Payload))
			return nil
		}
		r := startBatches(t, cfg, &delivery.Batching{Handler: h.handle, Most: 64})
		<-over
		if !slices.Equal(dead, []string{"37"}) || alone != 3 {
			t.Errorf("dead letters %v after %d attempts", dead, alone)
		}
		r.stop()
	})
}

func TestABatchWaitsUntilMessagesMayBeHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(true)
			p.publishAll(p.n > 1, 1, 3)
			if p.n == 1 {
				time.Sleep(3 * time.Second)
				return
			}
			p.pubacks(1, 3)
			close(over)
			p.stay()
		})
		cfg := b.patient()
		may := false
		cfg.BeforeMessages = func(ctx context.Context, _ push.Subscribed) error {
			select {
			case <-time.After(5 * time.Second):
				may = true
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		h := newBatcher(func([]string) error {
			if !may {
				t.Error("too early")
			}
			return nil
		})
		r := startBatches(t, cfg, &delivery.Batching{Handler: h.handle, Most: 3})
		<-over
		if calls := h.said(); len(calls) != 1 {
			t.Errorf("calls %q", calls)
		}
		r.stop()
	})
}

func TestForeignMessagesAmongABatchAreAcknowledgedInTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", "1")
			p.send(&packets.Publish{Topic: "foreign", Payload: []byte("x"), PacketID: 2, QoS: 1, Properties: &packets.Properties{}})
			p.publish(3, false, "events", "3")
			p.pubacks(1, 3)
			p.send(&packets.Publish{Topic: "foreign", Payload: []byte("x"), PacketID: 4, QoS: 1, Properties: &packets.Properties{}})
			p.pubacks(4, 4)
			close(over)
			p.stay()
		})
		var told []string
		cfg := b.patient()
		cfg.OnAcknowledged = func(m delivery.Message) { told = append(told, string(m.Payload)) }
		h := newBatcher(nil)
		r := startBatches(t, cfg, &delivery.Batching{Handler: h.handle, Most: 2})
		<-over
		synctest.Wait()
		h.want(t, "0s 1 3")
		if !slices.Equal(told, []string{"1", "3"}) {
			t.Errorf("told of %q", told)
		}
		r.stop()
	})
}
