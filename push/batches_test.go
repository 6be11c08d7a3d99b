package push_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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

func TestABatchAtWorkIsFinishedAndAcknowledgedAtTheEndOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 3)
			time.Sleep(time.Second)
			p.publishAll(false, 4, 5)
			p.pubacks(1, 2)
			if p.expect(packets.DISCONNECT) != nil {
				close(over)
			}
		})
		began := make(chan struct{})
		h := newBatcher(func(batch []string) error {
			close(began)
			time.Sleep(5 * time.Second)
			return verdicts(batch, map[string]error{"3": errNotNow})
		})
		r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 3})
		<-began
		time.Sleep(2 * time.Second)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		<-over
		h.want(t, "0s 1 2 3")
	})
}

func TestAHandlerOfABatchThatDoesNotEndIsWaitedForUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 3)
			p.stay() // which fails on a PUBACK
		})
		began := make(chan struct{})
		r := startBatches(t, b.patient(), &delivery.Batching{Most: 3, Handler: func(ctx context.Context, batch []delivery.Message) error {
			close(began)
			<-ctx.Done()
			time.Sleep(time.Second)
			return ctx.Err()
		}})
		<-began
		at := time.Now()
		if err := r.stop(); err != nil || time.Since(at) != 11*time.Second {
			t.Errorf("%v after %v", err, time.Since(at))
		}
	})
}

// A panic and the end of the goroutine cost no connection.
func TestABatchWhoseHandlerPanicsOrExitsIsHandedOverAgain(t *testing.T) {
	for name, end := range map[string]func(){"exit": runtime.Goexit, "panic": func() { panic("a defect") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				b := newScripted(t, func(p *peer) {
					p.accept(false)
					p.publishAll(false, 1, 3)
					for n := range 3 {
						p.puback(uint16(n + 1))
					}
					close(over)
					p.stay()
				})
				ended := 0
				h := newBatcher(func(batch []string) error {
					if slices.Contains(batch, "2") {
						if ended++; ended < 5 {
							end()
						}
					}
					return nil
				})
				r := startBatches(t, b.patient(), &delivery.Batching{Handler: h.handle, Most: 3})
				<-over
				if len(b.dialled()) != 1 {
					t.Errorf("%d connections", len(b.dialled()))
				}
				r.stop()
			})
		})
	}
}

// A hook or the logger is no handler, and ends no line for all that.
func TestAHookThatEndsTheGoroutineOfABatchDoesNotEndTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 2)
			p.pubacks(1, 2)
			p.publishAll(false, 3, 3)
			p.pubacks(3, 3)
			close(over)
			p.stay()
		})
		cfg := b.patient()
		cfg.OnAcknowledged = func(delivery.Message) { runtime.Goexit() }
		r := startBatches(t, cfg, &delivery.Batching{Handler: newBatcher(nil).handle, Most: 2})
		<-over
		r.stop()
	})
}

func TestAChangedPayloadCostsTheConnectionAndComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 5000)
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			p.publish(1, p.n > 1, "events", "1")
			p.publish(2, p.n > 1, "events", long)
			if p.n == 1 {
				if packet := p.next(); packet != nil {
					p.fatal("got %v", packet)
				}
				return
			}
			p.puback(1)
			p.puback(2)
			close(over)
			p.stay()
		})
		calls := 0
		r := startBatches(t, b.patient(), &delivery.Batching{Most: 2, Handler: func(_ context.Context, batch []delivery.Message) error {
			if calls++; calls == 1 {
				clear(batch[0].Payload)
				clear(batch[1].Payload)
				return errNotNow
			}
			for _, m := range batch {
				if text := string(m.Payload); text != "1" && text != long {
					t.Errorf("handed over %.10q", text)
				}
			}
			return nil
		}})
		<-over
		r.stop()
	})
}

func TestWhatFailedInASessionThatIsLostAndNeverCameAgainIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n == 1 {
				p.publish(1, false, "events", strings.Repeat("x", 5000))
				if packet := p.next(); packet != nil {
					p.fatal("got %v", packet)
				}
				return
			}
			p.publish(1, false, "events", "1")
			p.puback(1)
			close(over)
			p.stay()
		})
		calls := 0
		r := startBatches(t, b.patient(), &delivery.Batching{Most: 1, Handler: func(_ context.Context, batch []delivery.Message) error {
			if calls++; calls == 1 {
				clear(batch[0].Payload) // so that it cannot be handed over again
				return errNotNow
			}
			return nil
		}})
		<-over
		if s := r.State(); s.Failing != nil {
			t.Errorf("%+v", s.Failing)
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

func TestABatchingThatCannotWorkIsRefused(t *testing.T) {
	b := newScripted(t, nil)
	c, err := push.New(b.patient())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]*delivery.Batching{"Handler": nil, "Most": {Handler: newBatcher(nil).handle, Most: -1}} {
		if err := c.RunBatches(t.Context(), bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v", err)
		}
	}
}

func TestStartBatchesTellsOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acknowledged := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publishAll(false, 1, 3)
			p.pubacks(1, 3)
			close(acknowledged)
			p.stay()
		})
		c, err := push.New(b.patient())
		if err != nil {
			t.Fatal(err)
		}
		h := newBatcher(nil)
		batching := &delivery.Batching{Handler: h.handle, Most: 3, Wait: 10 * time.Second, Across: true}
		ended := make(chan error, 1)
		stop, err := c.StartBatches(t.Context(), batching, func(err error) { ended <- err })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.StartBatches(t.Context(), batching, func(error) {}); !errors.Is(err, fds.ErrRunning) {
			t.Errorf("a second time: %v", err)
		}
		<-acknowledged
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := c.StartBatches(t.Context(), batching, nil); !errors.Is(err, fds.ErrConfig) {
			t.Errorf("nobody to tell: %v", err)
		}
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
