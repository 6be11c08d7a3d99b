package push_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

// While a message fails, the broker may send until the window is full: then nothing waits for more.
func TestAFullWindowIsHandedOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 4)
			time.Sleep(5 * time.Second)
			p.publishAll(false, 5, 7)
			time.Sleep(15 * time.Second)
			p.publishAll(false, 8, 8)
			p.pubacks(1, 8)
			close(over)
			p.stay()
		})
		cfg := b.patient()
		cfg.ReceiveMaximum = 1
		failed := false
		h := newBatcher(func(batch []string) error {
			if !failed {
				failed = true
				return verdicts(batch, map[string]error{"1": delivery.RetryAfter(time.Minute, errNotNow)})
			}
			return nil
		})
		r := startBatches(t, cfg, &delivery.Batching{Handler: h.handle, Most: 4, Wait: 10 * time.Second})
		<-over
		h.want(t, "0s 1 2 3 4", "15s 5 6 7", "20s 8", "60s 1")
		r.stop()
	})
}

func TestTheWindowOfABrokerThatSendsFewerAheadIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for n := 1; n < 20; n += 3 {
				p.publishAll(false, n, n+2)
				p.pubacks(n, n+2)
			}
			time.Sleep(40 * time.Second)
			p.publishAll(false, 31, 34) // more, at once
			p.pubacks(31, 33)
			p.pubacks(34, 34)
			time.Sleep(time.Second)
			p.publishAll(false, 35, 37)
			p.pubacks(35, 37)
			close(over)
			p.stay()
		})
		h := newBatcher(nil)
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: func(ctx context.Context, batch []delivery.Message) error {
			if string(batch[0].Payload) == "31" {
				time.Sleep(time.Second)
			}
			return h.handle(ctx, batch)
		}, Most: 100, Wait: 10 * time.Second})
		<-over
		h.want(t, "10s 1 2 3", "20s 4 5 6", "20s 7 8 9", "20s 10 11 12", "20s 13 14 15", "20s 16 17 18", "20s 19 20 21",
			"61s 31 32 33", "70s 34", "81s 35 36 37")
		r.stop()
	})
}

func TestMessagesOfQualityOfService0AreHandedOverInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(0, false, "events", `"a"`)
			p.publish(1, false, "events", "1")
			p.publish(0, false, "events", `"b"`)
			p.publish(2, false, "events", "2")
			p.pubacks(1, 2)
			close(over)
			p.stay()
		})
		failed := false
		h := newBatcher(func(batch []string) error {
			if !failed {
				failed = true
				return verdicts(batch, map[string]error{`"b"`: delivery.RetryAfter(time.Minute, errNotNow)})
			}
			return nil
		})
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 4})
		<-over
		time.Sleep(2 * time.Minute)
		h.want(t, `0s "a" 1 "b" 2`, `60s "b"`)
		if s := r.State(); s.Dropped != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

func TestOfTooManyMessagesOfQualityOfService0TheOldestAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for n := range 300 {
				p.publish(0, false, "events", fmt.Sprint(n))
			}
			time.Sleep(5 * time.Second)
			for n := range 300 { // never too many at once
				time.Sleep(100 * time.Millisecond)
				p.publish(0, false, "events", fmt.Sprint(n))
			}
			p.stay()
		})
		h := newBatcher(nil)
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 1000, Wait: time.Second})
		time.Sleep(2 * time.Second)
		if calls := h.said(); r.State().Dropped != 44 || len(calls) != 1 || !strings.HasPrefix(calls[0], "1s 44 45 ") || !strings.HasSuffix(calls[0], " 299") {
			t.Errorf("dropped %d, calls %.30q", r.State().Dropped, calls)
		}
		time.Sleep(time.Minute)
		if s := r.State(); s.Dropped != 44 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

func TestADroppedMessageIsNoLongerFailedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(0, false, "events", `"bad"`)
			time.Sleep(5 * time.Second)
			for n := range 300 {
				p.publish(0, false, "events", fmt.Sprint(n))
			}
			p.stay()
		})
		h := newBatcher(func(batch []string) error {
			return verdicts(batch, map[string]error{`"bad"`: delivery.RetryAfter(time.Hour, errNotNow)})
		})
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 1000, Wait: time.Second})
		time.Sleep(3 * time.Second)
		if s := r.State(); s.Failing == nil {
			t.Error("nothing fails")
		}
		time.Sleep(time.Minute)
		if s := r.State(); s.Failing != nil || s.Dropped != 45 {
			t.Errorf("dropped %d, but %+v", s.Dropped, s.Failing)
		}
		r.stop()
	})
}

// The budget bounds a batch too: when nothing more is read, nothing more is waited for.
func TestABatchIsHandedOverWhenTheBudgetIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each, messages = 40 << 10, 20
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			go func() {
				for n := range messages {
					p.publish(uint16(n+1), false, "events", strings.Repeat("x", each))
				}
			}()
			for n := range messages {
				p.puback(uint16(n + 1))
			}
			close(over)
			p.stay()
		})
		cfg := b.patient()
		cfg.Budget = push.NewBudget(5 * each)
		h := newBatcher(nil)
		r := startBatches(t, cfg, &delivery.Batching{Handler: h.handle, Most: 100, Wait: 10 * time.Second})
		<-over
		if took := time.Since(h.began); took > 11*time.Second {
			t.Errorf("took %v, in %d calls", took, len(h.said()))
		}
		r.stop()
		if used := push.Used(cfg.Budget); used != 0 {
			t.Errorf("%d bytes of the budget are never given back", used)
		}
	})
}

func TestTheBudgetIsGivenBackOfWhatIsDoneWithOnConnectionsThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			if p.n == 1 {
				p.publishAll(false, 1, 5)
				time.Sleep(10 * time.Second)
				return
			}
			p.stay()
		})
		cfg := b.patient()
		cfg.Budget = push.NewBudget(1 << 20)
		h := newBatcher(func(batch []string) error {
			return verdicts(batch, map[string]error{"1": delivery.RetryAfter(time.Hour, errNotNow)})
		})
		r := startBatches(t, cfg, &delivery.Batching{Handler: h.handle, Most: 5})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		before := push.Used(cfg.Budget)
		r.waitState(func(s push.State) bool { return s.Connects == 2 })
		if after := push.Used(cfg.Budget); after == 0 || after*4 > before {
			t.Errorf("%d bytes before, %d after", before, after)
		}
		r.stop()
		if used := push.Used(cfg.Budget); used != 0 {
			t.Errorf("%d bytes are never given back", used)
		}
	})
}

func TestAReceiveMaximumThatIsLargerStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			if most := *p.connack(false, packets.Properties{}).Properties.ReceiveMaximum; most != 32 {
				t.Errorf("the receive maximum is %d", most)
			}
			p.suback()
			p.stay()
		})
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: newBatcher(nil).handle, Most: 4})
		r.waitPhase(push.Connected)
		r.stop()
	})
}
