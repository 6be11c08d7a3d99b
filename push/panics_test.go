package push_test

import (
	"context"
	"crypto"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// What a caller's function does to the goroutine that called it, it does to Run's
// caller, who may have means to live on.
func TestAPanicOrAnExitInOnStateReachesTheCallerOfRun(t *testing.T) {
	b := box(t)
	owner, root := newOwner()
	run := func(onState func(push.State)) (panicked any, returned bool) {
		cfg := b.config(owner, root)
		cfg.OnState = onState
		c, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { panicked = recover() }()
			_ = c.Run(t.Context(), func(context.Context, delivery.Message) error { return nil })
			returned = true
		}()
		<-done
		return panicked, returned
	}
	panicked, _ := run(func(push.State) { panic("a defect") })
	if text, _ := panicked.(string); !strings.HasPrefix(text, "a defect") || !strings.Contains(text, "panics_test.go") {
		t.Errorf("the caller of Run sees %v", panicked)
	}
	if panicked, returned := run(func(push.State) { runtime.Goexit() }); panicked != nil || returned {
		t.Errorf("after an exit: panic %v, returned %v", panicked, returned)
	}
}

func TestAfterAPanicOrAnExitNothingIsLeftAndRunWorksAgain(t *testing.T) {
	panics := func() { panic("a defect") }
	for name, where := range map[string]func(cfg *push.Config, misbehave func()){
		"OnState": func(cfg *push.Config, misbehave func()) {
			cfg.OnState = func(s push.State) {
				if s.Phase == push.Connected {
					misbehave()
				}
			}
		},
		"OnState, told of a foreign message": func(cfg *push.Config, misbehave func()) {
			cfg.OnState = func(s push.State) {
				if errors.Is(s.Err, fds.ErrForeignTopic) {
					misbehave()
				}
			}
		},
		"BeforeMessages": func(cfg *push.Config, misbehave func()) {
			cfg.BeforeMessages = func(context.Context, push.Subscribed) error { misbehave(); return nil }
		},
		"SaveSubscribed": func(cfg *push.Config, misbehave func()) {
			cfg.SaveSubscribed = func(context.Context, []string) error { misbehave(); return nil }
		},
		"Dial": func(cfg *push.Config, misbehave func()) {
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				misbehave()
				return dial(ctx, network, address)
			}
		},
		"the key": func(cfg *push.Config, misbehave func()) {
			certificate, _ := cfg.Certificate(context.Background())
			careless := *certificate
			careless.PrivateKey = careful{certificate.PrivateKey.(crypto.Signer), misbehave}
			cfg.Certificate = source(&careless)
		},
	} {
		for how, misbehave := range map[string]func(){"panics": panics, "exits": runtime.Goexit} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newScripted(t, func(p *peer) {
						_ = p.raw.SetReadDeadline(time.Now().Add(10 * time.Minute)) // fails the test
						p.connack(true, packets.Properties{})
						if subscribe, ok := p.next().Content.(*packets.Subscribe); ok {
							p.send(&packets.Suback{PacketID: subscribe.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}})
							p.publish(uint16(p.n), true, "events", `"x"`)
							p.send(&packets.Publish{Topic: fds.NewSubscriptionID().Root().String() + "events", Properties: &packets.Properties{}})
							for packet := p.next(); packet != nil && packet.Type != packets.DISCONNECT; packet = p.next() {
							}
						}
					})
					cfg := b.config()
					bad := true
					where(&cfg, func() {
						if bad {
							misbehave()
						}
					})
					c, err := push.New(cfg)
					if err != nil {
						t.Fatal(err)
					}
					handled := make(chan struct{}, 2)
					handle := func(context.Context, delivery.Message) error { handled <- struct{}{}; return nil }
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { _ = recover() }()
						_ = c.Run(ctx, handle)
						t.Error("Run returned")
					}()
					select {
					case <-done:
					case <-time.After(time.Hour):
						t.Error("nothing went wrong within an hour")
						cancel()
						<-done
						return
					}
					if s := c.State(); s.Phase != push.Stopped {
						t.Errorf("state %+v", s)
					}
					for len(handled) > 0 {
						<-handled
					}
					bad = false
					result := make(chan error, 1)
					go func() { result <- c.Run(ctx, handle) }()
					select {
					case err := <-result:
						t.Fatalf("Run again: %v", err)
					case <-handled:
						cancel()
					}
					if err := <-result; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// careful is a key that lives elsewhere.
type careful struct {
	crypto.Signer
	before func()
}

func (c careful) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	c.before()
	return c.Signer.Sign(random, digest, opts)
}

type exits struct{}

func (exits) OnDiscarded(fds.OwnerKey, error) { runtime.Goexit() }

func TestAHookThatEndsTheReaderCostsTheConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			_ = p.raw.SetReadDeadline(time.Now().Add(10 * time.Minute)) // fails the test
			p.accept(true)
			if p.n == 1 {
				p.send(&packets.Publish{Topic: fds.NewSubscriptionID().Root().String() + "events", Properties: &packets.Properties{}})
			}
			p.stay()
		})
		cfg := b.config()
		cfg.Hooks, cfg.Budget = []any{exits{}}, push.NewBudget(0)
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.BackingOff); !strings.Contains(s.Err.Error(), "ended the goroutine") {
			t.Errorf("error %v", s.Err)
		}
		r.waitPhase(push.Connected)
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if used := push.Used(cfg.Budget); used != 0 {
			t.Errorf("%d bytes of the budget are never given back", used)
		}
	})
}

// Of a message of quality of service 0 that is lost with the handler's goroutine the hook is
// told on that same goroutine.
func TestAHookThatEndsTheHandlersGoroutineOnceMoreLeavesTheOwnerServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			_ = p.raw.SetReadDeadline(time.Now().Add(10 * time.Minute)) // fails the test
			p.accept(true)
			p.send(&packets.Publish{Topic: p.root.String() + "events", Payload: []byte(`"x"`), Properties: &packets.Properties{}})
			p.stay()
		})
		cfg := b.config()
		cfg.Hooks = []any{exits{}}
		handled := make(chan struct{})
		calls := 0
		r := start(t, cfg, func(context.Context, delivery.Message) error {
			if calls++; calls == 1 {
				runtime.Goexit()
			}
			close(handled)
			return nil
		})
		select {
		case <-handled:
		case <-time.After(time.Hour):
			t.Error("no message is handed over any more")
			return
		}
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAMessageThatEndsTheHandlersGoroutineTooOftenGoesToTheDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acknowledged := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			_ = p.raw.SetReadDeadline(time.Now().Add(10 * time.Minute)) // fails the test
			p.accept(true)
			p.publish(1, p.n > 1, "events", `"x"`)
			for packet := p.next(); packet != nil && packet.Type != packets.DISCONNECT; packet = p.next() {
				if packet.Type == packets.PUBACK {
					close(acknowledged)
				}
			}
		})
		cfg := b.config()
		calls, dead := 0, 0
		cfg.MaxAttempts = 3
		cfg.DeadLetter = func(context.Context, delivery.Message, error) error { dead++; return nil }
		r := start(t, cfg, func(context.Context, delivery.Message) error { calls++; runtime.Goexit(); return nil })
		select {
		case <-acknowledged:
		case <-time.After(time.Hour):
			t.Errorf("after %d calls it is not given up", calls)
		}
		r.stop()
		if calls != 3 || dead != 1 {
			t.Errorf("%d calls, %d dead letters", calls, dead)
		}
	})
}
