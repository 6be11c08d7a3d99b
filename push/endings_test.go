package push_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// swallow takes what is written and sends nothing once it is on, as the kernel does
// of a network that is dead.
type swallow struct {
	net.Conn
	on *atomic.Bool
}

func (s swallow) Write(p []byte) (int, error) {
	if s.on.Load() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// A DISCONNECT that was written and reaches no one ends no session.
func TestASessionIsNotEndedOnANetworkThatIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead, down atomic.Bool
		clean := make(chan bool, 9)
		b := newScripted(t, func(p *peer) {
			connect := p.connack(false, packets.Properties{})
			clean <- connect.CleanStart
			if !connect.CleanStart {
				p.suback(1)
			}
			p.stay()
		})
		b.wrap = func(c net.Conn) net.Conn { return swallow{c, &dead} }
		cfg := b.config()
		base := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if down.Load() {
				return nil, errors.New("the network is down")
			}
			return base(ctx, network, address)
		}
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		<-clean
		dead.Store(true)
		down.Store(true)
		if err := r.EndSession(t.Context()); err == nil {
			t.Error("no error, though the broker was told nothing and keeps the session")
		}
		dead.Store(false)
		down.Store(false)
		if err := r.EndSession(t.Context()); err != nil {
			t.Error(err)
		}
		if !<-clean {
			t.Error("the session was not ended by a clean start")
		}
	})
}

type bursts struct{}

func (bursts) OnDiscarded(fds.OwnerKey, error) { panic("a hook") }

func TestAHookThatPanicsWhileRunEndsLeavesNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(0, false, "events", `"a"`)
			p.publish(0, false, "events", `"b"`)
			p.stay()
			ended <- time.Now()
		})
		cfg := b.config()
		cfg.Hooks = []any{bursts{}}
		c, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var returned time.Time // the handler
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_ = c.Run(ctx, func(context.Context, delivery.Message) error {
				time.Sleep(5 * time.Second)
				returned = time.Now()
				return nil
			})
		}()
		time.Sleep(2 * time.Second)
		cancel()
		if p := <-panicked; p == nil {
			t.Error("the panic did not reach the caller of Run")
		}
		if returned.IsZero() {
			t.Error("Run returned while the handler was at work")
		}
		if after := time.Until(<-ended); after > 0 {
			t.Errorf("the connection was there %v after Run", after)
		}
	})
}

// reasons is told why messages were not handed over.
type reasons chan error

func (r reasons) OnDiscarded(_ fds.OwnerKey, err error) { r <- err }

func TestAMessageOfQualityZeroThatIsNotHandedOverSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(ctx context.Context, s push.Subscribed) error
		handler func(calls int)
	}{
		"the connection ends first": {before: func(ctx context.Context, s push.Subscribed) error {
			if s.Last == nil {
				<-ctx.Done()
			}
			return nil
		}},
		"the handler ends its goroutine": {handler: func(calls int) {
			if calls == 0 {
				runtime.Goexit()
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.accept(true)
					p.publish(0, false, "events", `"x"`)
					if p.n == 1 {
						time.Sleep(time.Second)
						return
					}
					p.stay()
				})
				told := make(reasons, 9)
				cfg := b.config()
				cfg.Hooks, cfg.BeforeMessages = []any{told}, c.before
				got := newCollector()
				got.fail = func(_ delivery.Message, n int) error {
					if c.handler != nil {
						c.handler(n)
					}
					return nil
				}
				r := start(t, cfg, got.handle)
				select {
				case err := <-told:
					if errors.Is(err, fds.ErrQueueFull) {
						t.Errorf("%v, though the handler did not", err)
					}
				case <-time.After(time.Minute):
					t.Error("nothing was said of it")
				}
				got.wait(t, 1)
				if s := r.State(); s.Dropped != 1 {
					t.Errorf("%d dropped", s.Dropped)
				}
				r.stop()
			})
		})
	}
}

// A foreign message and the end of its connection wait to be looked at together, and while the
// reader is awaited the run is stopped: that is the last that OnState is told.
func TestNothingIsToldOnceARunHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for range 2 {
				p.send(&packets.Publish{Topic: fds.NewSubscriptionID().Root().String() + "events", Properties: &packets.Properties{}})
			}
			for p.next() != nil { // no ping is answered
			}
		})
		cfg := b.config()
		var states []push.State
		come, ended, discarded := make(chan struct{}), make(chan error), 0
		cfg.OnState = func(s push.State) {
			if states = append(states, s); s.Phase == push.Connected {
				<-come
			}
		}
		looks := make(chan struct{})
		cfg.Hooks = []any{onDiscarded(func() {
			if discarded++; discarded == 2 {
				<-looks
			}
		})}
		c, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop, err := c.Start(t.Context(), discard(t), func(err error) { ended <- err })
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // the connection has ended, for want of an answer
		close(come)
		synctest.Wait()
		stop()
		close(looks)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if last := states[len(states)-1]; last.Phase != push.Stopped || last.Err != nil || c.State().Err != nil {
			t.Errorf("told at last: %s, %v", last.Phase, last.Err)
		}
		if before := states[len(states)-2]; before.Phase == push.Stopped {
			t.Error("told twice that it is stopped")
		}
	})
}

type onDiscarded func()

func (d onDiscarded) OnDiscarded(fds.OwnerKey, error) { d() }
