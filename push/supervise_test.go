package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
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

// busy gives a DISCONNECT that is retried with back-off.
func (p *peer) busy() {
	p.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerBusy, Properties: &packets.Properties{}})
}

func TestRunEndsAtOnceWhateverItIsDoing(t *testing.T) {
	waitFor := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		script func(p *peer)
		change func(cfg *push.Config)
		within time.Duration
	}{
		"waiting for the limit of connects": {change: func(cfg *push.Config) { cfg.Limit = taken(t) }},
		"waiting for the rate of connects": {change: func(cfg *push.Config) {
			cfg.Limit = &fds.Limit{PerSecond: 1e-6, Burst: 1}
			_ = cfg.Limit.Wait(context.Background())
		}},
		"waiting for a certificate": {change: func(cfg *push.Config) {
			cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) { return nil, waitFor(ctx) }
		}},
		"dialling": {change: func(cfg *push.Config) {
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, waitFor(ctx) }
		}},
		"shaking hands": {change: func(cfg *push.Config) {
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
				client, _ := net.Pipe() // the other end says nothing
				return client, nil
			}
		}},
		"waiting for CONNACK": {script: func(p *peer) { p.expect(packets.CONNECT); p.stay() }, within: time.Second},
		"saving its filters": {script: func(p *peer) { p.connack(false, packets.Properties{}); p.stay() }, within: time.Second, change: func(cfg *push.Config) {
			cfg.SaveSubscribed = func(ctx context.Context, _ []string) error { return waitFor(ctx) }
		}},
		"waiting for SUBACK":                    {script: func(p *peer) { p.connack(false, packets.Properties{}); p.expect(packets.SUBSCRIBE); p.stay() }, within: time.Second},
		"waiting for UNSUBACK":                  {script: func(p *peer) { p.connack(true, packets.Properties{}); p.expect(packets.UNSUBSCRIBE); p.stay() }, within: time.Second, change: func(cfg *push.Config) { cfg.Subscribed = []string{cfg.Root.String() + "old"} }},
		"writing a SUBSCRIBE that nobody reads": {script: func(p *peer) { p.connack(false, packets.Properties{}); time.Sleep(time.Hour) }, within: time.Second},
		"connected":                             {script: func(p *peer) { p.accept(false); p.stay() }, within: time.Second},
		"waiting to try again": {change: func(cfg *push.Config) {
			cfg.Backoff.Initial = time.Hour
			cfg.Backoff.Max = 3 * time.Hour
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errNotNow }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, c.script)
				cfg := b.config()
				cfg.ConnectTimeout = time.Hour
				if c.change != nil {
					c.change(&cfg)
				}
				r := start(t, cfg, discard(t))
				synctest.Wait()
				began := time.Now()
				if err := r.stop(); err != nil {
					t.Errorf("Run: %v", err)
				}
				if took := time.Since(began); took > c.within {
					t.Errorf("Run returned %v after its context ended", took)
				}
				if s := r.State(); s.Phase != push.Stopped || s.Err != nil || !s.RetryAt.IsZero() {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

// taken returns a limit that has no place left.
func taken(t *testing.T) *fds.Limit {
	limit := &fds.Limit{Concurrent: 1}
	if err := limit.Acquire(context.Background()); err != nil {
		t.Error(err)
	}
	return limit
}

func TestRunEndsAtOnceWhileAServerIsAskedForAWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { _, _ = io.Copy(io.Discard, p.conn) })
		cfg := b.config()
		cfg.BrokerURL, cfg.ConnectTimeout = "wss://broker.test:8883", time.Hour
		r := start(t, cfg, discard(t))
		time.Sleep(time.Second)
		began := time.Now()
		if err := r.stop(); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("Run ended after %v: %v", time.Since(began), err)
		}
	})
}

func TestOnStateMayAskWakeAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		ctx, cancel := context.WithCancel(t.Context())
		var c *push.Connection
		var phases []string
		c, err := push.New(withState(b.config(), func(s push.State) {
			phases = append(phases, string(c.State().Phase))
			c.Wake()
			if err := c.Run(ctx, discard(t)); !errors.Is(err, fds.ErrRunning) {
				t.Errorf("Run within Run: %v", err)
			}
			if s.Phase == push.Connected {
				cancel()
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(ctx, discard(t)); err != nil {
			t.Errorf("Run: %v", err)
		}
		if got := strings.Join(phases, ", "); got != "connecting, connected, stopped" {
			t.Errorf("phases %s", got)
		}
	})
}

func TestTheHookIsToldOfEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.expect(packets.CONNECT)
			time.Sleep(3 * time.Second)
			if p.n == 1 {
				return
			}
			p.send(&packets.Connack{Properties: &packets.Properties{}})
			p.suback()
			p.stay()
		})
		cfg := b.config()
		hook := &attempts{}
		cfg.Hooks = []any{hook}
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(hook.told, "; "); got != "3s failed; 3s succeeded" {
			t.Errorf("told: %s", got)
		}
	})
}

type attempts struct{ told []string }

func (a *attempts) OnConnect(_ fds.OwnerKey, took time.Duration, err error) {
	result := "succeeded"
	if err != nil {
		result = "failed"
	}
	a.told = append(a.told, fmt.Sprintf("%v %s", took.Round(time.Second), result))
}

func TestAMessageThatStillWaitsWhenItsConnectionEndsIsHandledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			if p.n == 1 {
				p.publish(0, false, "events", `"slow"`)
				p.publish(1, false, "events", `"waits"`)
				time.Sleep(time.Second)
				p.busy()
				return
			}
			p.publish(1, true, "events", `"waits"`)
			time.Sleep(time.Second)
			close(finish)
			p.puback(1)
			p.stay()
		})
		got := newCollector()
		r := start(t, b.config(), func(ctx context.Context, m delivery.Message) error {
			<-finish
			return got.handle(ctx, m)
		})
		r.waitState(func(s push.State) bool { return s.Connects == 2 })
		got.wait(t, 2)
		synctest.Wait()
		if messages := got.all(); len(messages) != 2 || string(messages[1].Payload) != `"waits"` {
			t.Errorf("handled %v", messages)
		}
	})
}

func TestAHandlerThatEndsItsGoroutineWedgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			p.publish(1, p.n > 1, "events", `"x"`)
			if p.n > 1 {
				p.puback(1)
			}
			p.stay() // which fails on a PUBACK
		})
		got := newCollector()
		got.fail = func(_ delivery.Message, n int) error {
			if n == 0 {
				runtime.Goexit() // as t.Fatal does
			}
			return nil
		}
		hooks := &discards{}
		cfg := b.config()
		cfg.Hooks = []any{hooks}
		r := start(t, cfg, got.handle)
		if s := r.waitPhase(push.BackingOff); s.Err == nil || !strings.Contains(s.Err.Error(), "ended its goroutine") {
			t.Errorf("error %v", s.Err)
		}
		if m := got.wait(t, 1)[0]; !m.Duplicate {
			t.Errorf("got %+v", m)
		}
		synctest.Wait()
		if err := r.stop(); err != nil || hooks.calls != 2 || hooks.failed != 1 {
			t.Errorf("Run: %v; %d of %d calls failed", err, hooks.failed, hooks.calls)
		}
	})
}

func TestAttackAForeignMessageBeforeTheConnectionIsUpIsReportedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.connack(true, packets.Properties{})
			p.send(&packets.Publish{Topic: fds.NewSubscriptionID().Root().String() + "events", Properties: &packets.Properties{}})
			p.suback()
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		if s := r.waitPhase(push.Connected); !errors.Is(s.Err, fds.ErrForeignTopic) || s.Foreign != 1 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestEndingTheSessionLetsTheHandlerFinishAndGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goodbyes := make(chan *packets.Disconnect, 1)
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "events", `"x"`)
			p.puback(1)
			goodbyes <- p.stay()
		})
		atWork, finish := make(chan struct{}), make(chan struct{})
		r := start(t, b.config(), func(context.Context, delivery.Message) error {
			close(atWork)
			<-finish
			return nil
		})
		<-atWork
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.EndSession(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("EndSession while the handler is at work: %v", err)
		}
		close(finish)
		if err := r.wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if d := <-goodbyes; d == nil || d.Properties.SessionExpiryInterval == nil || *d.Properties.SessionExpiryInterval != 0 {
			t.Errorf("DISCONNECT %v: it was asked for, though nobody waited any more", d)
		}
	})
}

func TestSeveralMayEndTheSessionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			if connect := p.connack(false, packets.Properties{}); !connect.CleanStart {
				p.suback()
			}
			p.stay()
		})
		r := start(t, b.config(), discard(t))
		r.waitPhase(push.Connected)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := r.EndSession(t.Context()); err != nil {
					t.Errorf("EndSession: %v", err)
				}
			})
		}
		all.Wait()
		if err := r.wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestASessionIsEndedOnceHoweverManyAsk(t *testing.T) {
	for name, running := range map[string]bool{"while Run runs": true, "while it does not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					if connect := p.connack(false, packets.Properties{}); !connect.CleanStart {
						p.suback()
						p.publish(0, false, "events", `"x"`)
					}
					p.stay()
				})
				cfg := b.config()
				cfg.SaveSubscribed = func(context.Context, []string) error {
					time.Sleep(time.Second)
					return nil
				}
				atWork, finish := make(chan struct{}), make(chan struct{})
				r := start(t, cfg, func(context.Context, delivery.Message) error {
					close(atWork)
					<-finish // Run does not end before all have asked
					return nil
				})
				<-atWork
				dials := 1
				if !running {
					dials = 2
					close(finish)
					if err := r.stop(); err != nil {
						t.Fatal(err)
					}
				}
				var all sync.WaitGroup
				for range 100 {
					all.Go(func() {
						if err := r.EndSession(t.Context()); err != nil {
							t.Errorf("EndSession: %v", err)
						}
					})
				}
				synctest.Wait()
				if running {
					close(finish)
				}
				all.Wait()
				if n := len(b.dialled()); n != dials {
					t.Errorf("%d dials, want %d", n, dials)
				}
			})
		})
	}
}

func TestAttackAnUNSUBACKThatDoesNotAnswerIsNotTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(p *peer, id uint16)
		class  error
	}{
		"too short": {func(p *peer, id uint16) { p.send(&packets.Unsuback{PacketID: id, Properties: &packets.Properties{}}) }, fds.ErrProtocol},
		"a SUBACK": {func(p *peer, id uint16) {
			p.send(&packets.Suback{PacketID: id, Reasons: []byte{0}, Properties: &packets.Properties{}})
		}, fds.ErrProtocol},
		"none": {func(*peer, uint16) {}, fds.ErrUnresponsive},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.connack(true, packets.Properties{})
					c.answer(p, p.expect(packets.UNSUBSCRIBE).Content.(*packets.Unsubscribe).PacketID)
					p.stay() // which fails on a SUBSCRIBE
				})
				cfg := b.config()
				cfg.Subscribed = []string{b.root.String() + "old"}
				if s := start(t, cfg, discard(t)).waitPhase(push.BackingOff); !errors.Is(s.Err, c.class) {
					t.Errorf("error %v", s.Err)
				}
			})
		})
	}
}

func TestAttackAConnectionPrintsItsOwnerAndNothingElse(t *testing.T) {
	b := newScripted(t, nil)
	c, err := push.New(b.config())
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if got, want := fmt.Sprintf(verb, c), "connection of "+b.owner.String()+" to broker.test:8883"; got != want {
			t.Errorf("%s prints %q, want %q", verb, got, want)
		}
	}
}
