package fdsclient_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

func TestASignOutThatCouldNotEndTheSessionCanBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		client := open(t, cfg)
		owner := signIn(t, client, p)[0]
		o := p.Owners()[0]
		stop := runClient(t, client, (&inbox{}).handle)
		subscribed(t, p, o)
		stop()

		reachable := p.Inject(fdstest.RefuseConnections(o))
		for range 2 {
			var result *fdsclient.SignOutError
			if err := owner.SignOut(t.Context()); !errors.As(err, &result) || !result.Deleted || result.SessionEnded {
				t.Errorf("the broker refuses, and the sign-out gives %v", err)
			}
			if !p.Subscriber(o).Session {
				t.Fatal("there is no session left to end")
			}
			if state, err := remembered(t, cfg, owner.Key()); err != nil || state.Position.IsZero() {
				t.Errorf("kept is %+v, %v: who signs in next would be told of all there ever was", state, err)
			}
		}
		reachable()
		if err := owner.SignOut(t.Context()); err != nil {
			t.Errorf("repeated: %v", err)
		}
		publish(t, p, o, `"for nobody"`)
		if s := p.Subscriber(o); s.Session || s.Queued > 0 {
			t.Errorf("after the repeated sign-out %+v", s)
		}
	})
}

func TestARepeatedSignOutLeavesANewerSignInAlone(t *testing.T) {
	for name, running := range map[string]bool{"while Run has it connected": true, "without Run": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				client := open(t, configure(t, p))
				old := signIn(t, client, p)[0]
				o := p.Owners()[0]
				var box inbox
				stop := runClient(t, client, box.handle)
				subscribed(t, p, o)
				stop()
				reachable := p.Inject(fdstest.RefuseConnections(o))
				if err := old.SignOut(t.Context()); err == nil {
					t.Fatal("the broker refuses, and the sign-out succeeds")
				}
				reachable()
				owner := signIn(t, client, p)[0]
				stop = runClient(t, client, box.handle)
				eventually(t, "connected", func() bool { return owner.Connection().Phase == push.Connected })
				if !running {
					stop()
				}
				before := p.Subscriber(o)
				if err := old.SignOut(t.Context()); err != nil {
					t.Error(err)
				}
				if s := p.Subscriber(o); s.Connects != before.Connects || s.Connected != running || !s.Session {
					t.Errorf("before %+v, now %+v", before, s)
				}
				publish(t, p, o, `1`)
				if !running {
					runClient(t, client, box.handle)
				}
				eventually(t, "the message", func() bool { return box.payloads(o.SubscriptionID) == `1` })
				if _, err := owner.Token(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A handler at work has 10 of the 15 s of a session's end, and is to return soon then.
func TestASignOutWaitsForAHandlerThatTakesAllItsTime(t *testing.T) {
	t.Parallel() // it waits for the handler
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		client := open(t, configure(t, p))
		owner := signIn(t, client, p)[0]
		o := p.Owners()[0]
		working := make(chan struct{}, 1)
		runClient(t, client, func(ctx context.Context, m delivery.Message) error {
			working <- struct{}{}
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond) // it rolls back
			return ctx.Err()
		})
		subscribed(t, p, o)
		publish(t, p, o, `1`)
		<-working
		if err := owner.SignOut(t.Context()); err != nil {
			t.Error(err)
		}
		if s := p.Subscriber(o); s.Session {
			t.Errorf("after the sign-out %+v", s)
		}
	})
}

func TestAnOwnerIsNotConnectedAnewWhileItsHandlerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		store, told := &staged{Store: cfg.Store}, new(everything)
		cfg.Store, cfg.Rescan, cfg.Logger = store, 20*time.Millisecond, slog.New(slog.NewTextHandler(told, nil))
		client := open(t, cfg)
		owner := signIn(t, client, p)[0]
		o, next := p.Owners()[0], p.Owners()[1]
		working, goOn := make(chan struct{}, 1), make(chan struct{})
		finish := sync.OnceFunc(func() { close(goOn) })
		defer finish()
		var box inbox
		var now, most atomic.Int64
		runClient(t, client, func(ctx context.Context, m delivery.Message) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			if string(m.Payload) == `1` {
				working <- struct{}{}
				<-goOn // whatever its context says
			}
			return box.handle(ctx, m)
		})
		subscribed(t, p, o)
		publish(t, p, o, `1`)
		<-working
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := owner.SignOut(ctx); err == nil {
			t.Error("the sign-out has not waited for the handler, and says nothing")
		}
		again := signIn(t, client, p)[0]
		other := signIn(t, client, p, next)[0]
		eventually(t, "the next owner connected", func() bool { return other.Connection().Phase == push.Connected })
		if phase := again.Connection().Phase; phase != push.Stopped {
			t.Errorf("it is %s while its handler is at work for the connection before", phase)
			eventually(t, "connected", func() bool { return again.Connection().Phase == push.Connected })
			publish(t, p, o, `2`)
			eventually(t, "a second call at once", func() bool { return most.Load() > 1 })
		}
		listed := holdListing(t, store, 0)
		listed.release()
		listed.pass(t, 10)
		told.mu.Lock()
		n := strings.Count(told.out.String(), "once the connection before has ended")
		told.mu.Unlock()
		if n != 1 {
			t.Errorf("it is waited for %d times", n)
		}
		finish()
		eventually(t, "connected", func() bool { return again.Connection().Phase == push.Connected })
		publish(t, p, o, `3`)
		eventually(t, "a message", func() bool { return strings.HasSuffix(box.payloads(o.SubscriptionID), `3`) })
		if n := most.Load(); n > 1 {
			t.Errorf("%d calls of the handler for one owner at once", n)
		}
	})
}

func TestASignOutDoesNotWaitBehindTheConnectsOfOthers(t *testing.T) {
	for name, running := range map[string]bool{"while Run waits there too": true, "without Run": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				cfg := configure(t, p)
				cfg.Push.Limit = &fds.Limit{Concurrent: 1}
				client := open(t, cfg)
				owner := signIn(t, client, p)[0]
				o := p.Owners()[0]
				stop := runClient(t, client, (&inbox{}).handle)
				subscribed(t, p, o)
				stop()
				if err := cfg.Push.Limit.Acquire(t.Context()); err != nil { // as if many were in front
					t.Fatal(err)
				}
				if running {
					runClient(t, client, (&inbox{}).handle)
					eventually(t, "connecting", func() bool { return owner.Connection().Phase == push.Connecting })
				}
				if err := owner.SignOut(t.Context()); err != nil {
					t.Error(err)
				}
				if s := p.Subscriber(o); s.Session {
					t.Errorf("after the sign-out %+v", s)
				}
			})
		})
	}
}
