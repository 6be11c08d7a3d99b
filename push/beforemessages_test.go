package push_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

func TestMessagesWaitUnacknowledgedForBeforeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			if p.n == 1 {
				p.publish(1, false, "a", "first")
				p.puback(1)
				p.busy()
				return
			}
			p.publish(0, false, "a", "at most once")
			p.publish(2, false, "a", "second")
			sent := time.Now()
			p.puback(2)
			if waited := time.Since(sent); waited < 20*time.Second {
				t.Errorf("acknowledged after %v, in the middle of BeforeMessages", waited)
			}
			p.stay()
		})
		cfg := b.config()
		var told []push.Subscribed
		var acknowledged []string
		handled := make(chan delivery.Message, 10)
		cfg.OnAcknowledged = func(m delivery.Message) { acknowledged = append(acknowledged, string(m.Payload)) }
		var returned time.Time
		cfg.BeforeMessages = func(ctx context.Context, s push.Subscribed) error {
			if told = append(told, s); len(told) == 2 {
				time.Sleep(20 * time.Second)
				if len(handled) != 1 {
					t.Errorf("%d messages were handed over before BeforeMessages returned, want the first connection's", len(handled))
				}
			}
			returned = time.Now()
			return nil
		}
		r := start(t, cfg, func(_ context.Context, m delivery.Message) error { handled <- m; return nil })
		for len(handled) < 3 {
			time.Sleep(time.Second)
		}
		<-handled
		<-handled
		if m := <-handled; string(m.Payload) != "second" || returned.Sub(m.ReceivedAt) < 20*time.Second {
			t.Errorf("%q is said to have been received %v before it could be handed over", m.Payload, returned.Sub(m.ReceivedAt))
		}
		r.stop()
		var reason *push.ReasonError
		if len(told) != 2 || told[0] != (push.Subscribed{}) || !told[1].SessionPresent || !errors.As(told[1].Last, &reason) {
			t.Errorf("told %+v", told)
		}
		if len(acknowledged) != 2 || acknowledged[0] != "first" || acknowledged[1] != "second" {
			t.Errorf("acknowledged %q", acknowledged)
		}
	})
}

func TestAConnectionThatEndsOrStopsDuringBeforeMessagesEndsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n == 1 {
				time.Sleep(time.Second)
				p.busy()
				return
			}
			p.stay()
		})
		cfg := b.config()
		ended, called := make(chan int, 10), make(chan int, 10)
		n := 0
		cfg.BeforeMessages = func(ctx context.Context, _ push.Subscribed) error {
			n++
			called <- n
			<-ctx.Done()
			ended <- n
			return ctx.Err()
		}
		r := start(t, cfg, discard(t))
		if got := <-ended; got != 1 {
			t.Fatalf("call %d ended", got)
		}
		s := r.waitPhase(push.BackingOff)
		var reason *push.ReasonError
		if !errors.As(s.Err, &reason) {
			t.Errorf("the connection's end is told as %v", s.Err)
		}
		<-called
		<-called
		if err := r.stop(); err != nil || len(ended) != 1 {
			t.Errorf("Run ended with %v, %d calls ended", err, len(ended))
		}
	})
}

func TestAnErrorOfBeforeMessagesEndsTheConnectionWhichIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n == 1 {
				p.publish(1, false, "a", "not yet")
			}
			if bye := p.stay(); bye == nil {
				t.Error("the connection was broken off")
			}
		})
		cfg := b.config()
		failed := errors.New("not now")
		cfg.BeforeMessages = func(_ context.Context, s push.Subscribed) error {
			if s.Last == nil {
				return failed
			}
			return nil
		}
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.BackingOff); !errors.Is(s.Err, failed) {
			t.Errorf("told %v", s.Err)
		}
		r.waitPhase(push.Connected)
		synctest.Wait()
		r.stop()
	})
}

func TestAMessageThatTheHandlerHasNotBegunWithIsHandledWhenItComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			p.publish(1, p.n > 1, "a", "first")
			p.publish(2, p.n > 1, "a", "second")
			if p.n == 1 {
				time.Sleep(time.Second)
				p.busy() // while both wait for BeforeMessages
				return
			}
			p.puback(1)
			p.puback(2)
			p.stay()
		})
		cfg := b.config()
		cfg.BeforeMessages = func(ctx context.Context, s push.Subscribed) error {
			if s.Last != nil {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		handled := make(chan delivery.Message, 10)
		r := start(t, cfg, func(_ context.Context, m delivery.Message) error { handled <- m; return nil })
		r.waitPhase(push.BackingOff)
		r.waitPhase(push.Connected)
		time.Sleep(time.Second)
		r.stop()
		close(handled)
		var got []string
		for m := range handled {
			got = append(got, string(m.Payload))
		}
		if !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("handled %q", got)
		}
	})
}
