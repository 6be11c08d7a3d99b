package push_test

import (
	"context"
	"errors"
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
