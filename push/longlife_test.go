package push_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// certificates returns one certificate after the other.
type certificates struct {
	mu  sync.Mutex
	now *tls.Certificate
	err error
}

func (c *certificates) set(now *tls.Certificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.err = now, err
}

func (c *certificates) give(context.Context) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.err
}

func TestANewCertificateIsTakenUpInAPlannedReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var serials []string
		b := newScripted(t, nil)
		b.script = func(p *peer) {
			mu.Lock()
			serials = append(serials, p.conn.ConnectionState().PeerCertificates[0].SerialNumber.String())
			mu.Unlock()
			p.accept(p.n > 1)
			if last := p.stay(); p.n == 1 && (last == nil || last.ReasonCode != 0 || last.Properties.SessionExpiryInterval != nil) {
				p.fatal("the planned reconnect ends with %v", last)
			}
		}
		expires := time.Now().Add(24 * time.Hour)
		issue := func(notAfter time.Time) *tls.Certificate {
			c := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{NotAfter: notAfter}).TLS
			return &c
		}
		source := &certificates{now: issue(expires)}
		cfg := b.config()
		cfg.Certificate = source.give
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.Connected); !s.CertificateExpiry.Equal(expires.Truncate(time.Second)) {
			t.Errorf("the certificate in use expires at %v, want %v", s.CertificateExpiry, expires)
		}
		time.Sleep(12 * time.Hour)
		source.set(nil, errors.New("half a file")) // does no harm
		time.Sleep(time.Hour)
		source.set(issue(expires.Add(-30*time.Hour)), nil) // nor does one that has expired
		time.Sleep(time.Hour)
		if n := len(b.dialled()); n != 1 {
			t.Fatalf("%d dials for a certificate that cannot be used", n)
		}
		next := issue(expires.Add(90 * 24 * time.Hour))
		source.set(next, nil)
		before := time.Now()
		time.Sleep(20 * time.Minute)
		s := r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == 2 })
		if took := s.Since.Sub(before); took > 20*time.Minute {
			t.Errorf("taken up after %v", took)
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(serials) != 2 || serials[1] != next.Leaf.SerialNumber.String() {
			t.Errorf("%d connections, the last with %s", len(serials), serials[len(serials)-1])
		}
		if s := r.State(); !s.CertificateExpiry.Equal(next.Leaf.NotAfter) || s.Err != nil {
			t.Errorf("state %+v", s)
		}
	})
}

func TestNoQuestionForACertificateOutlivesRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		cfg := b.config()
		first := cfg.Certificate
		asked := make(chan context.Context, 1)
		up := false
		cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
			if up {
				asked <- ctx
				<-ctx.Done()
			}
			up = true
			return first(ctx)
		}
		cfg.CertificateCheck = time.Minute
		r := start(t, cfg, discard(t))
		ctx := <-asked
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if ctx.Err() == nil {
			t.Error("Run has returned, and its certificate source is still being asked")
		}
	})
}

func TestAttackAReferralIsFollowedToAllowedServersOnly(t *testing.T) {
	for name, c := range map[string]struct {
		code      byte
		reference string
		allowed   []string
		dialled   []string // the first ones
	}{
		"for once":                {packets.DisconnectUseAnotherServer, "evil.example other.test:1234", []string{"other.test"}, []string{"broker.test:8883", "other.test:1234", "broker.test:8883"}},
		"for good":                {packets.DisconnectServerMoved, "OTHER.test", []string{"other.test:8883"}, []string{"broker.test:8883", "other.test:8883", "other.test:8883"}},
		"to another port":         {packets.DisconnectServerMoved, "other.test:1", []string{"other.test:8883"}, []string{"broker.test:8883", "broker.test:8883"}},
		"to a server not allowed": {packets.DisconnectUseAnotherServer, "evil.example", []string{"other.test"}, []string{"broker.test:8883", "broker.test:8883"}},
		"to nonsense":             {packets.DisconnectUseAnotherServer, "[::1 @other.test /x", []string{"other.test"}, []string{"broker.test:8883", "broker.test:8883"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					switch p.n {
					case 1:
						p.expect(packets.CONNECT)
						p.send(&packets.Connack{ReasonCode: c.code, Properties: &packets.Properties{ServerReference: c.reference}})
					case 2:
						p.accept(false)
						p.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerShuttingDown, Properties: &packets.Properties{}})
					default:
						p.accept(false)
						p.stay()
					}
				})
				cfg := b.config()
				cfg.AllowedServers = c.allowed
				var mu sync.Mutex
				var dialled []string
				cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					mu.Lock()
					dialled = append(dialled, address)
					mu.Unlock()
					return b.dial(ctx, network, "broker.test:8883")
				}
				r := start(t, cfg, discard(t))
				time.Sleep(10 * time.Minute)
				r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == 2 })
				mu.Lock()
				defer mu.Unlock()
				if !slices.Equal(dialled[:len(c.dialled)], c.dialled) {
					t.Errorf("dialled %v, want %v", dialled, c.dialled)
				}
			})
		})
	}
}

func TestAnAllowedServerIsKnownHoweverItIsSpelt(t *testing.T) {
	for name, c := range map[string]struct {
		fallbacks, allowed []string
		reference, dialled string
	}{
		"a URL in upper case":       {fallbacks: []string{"mqtts://OTHER.test"}, reference: "other.test:8883", dialled: "OTHER.test:8883"},
		"an IPv6 host":              {allowed: []string{"[2001:DB8::1]"}, reference: "[2001:db8::1]:99", dialled: "[2001:db8::1]:99"},
		"an IPv6 host with a port":  {allowed: []string{"[2001:db8::1]:99"}, reference: "[2001:DB8::1]:99", dialled: "[2001:db8::1]:99"},
		"an IPv6 host, no brackets": {allowed: []string{"2001:db8::1"}, reference: "[2001:db8::1]", dialled: "[2001:db8::1]:8883"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					p.expect(packets.CONNECT)
					p.send(&packets.Connack{ReasonCode: packets.ConnackUseAnotherServer, Properties: &packets.Properties{ServerReference: c.reference}})
				})
				cfg := b.config()
				cfg.Fallbacks, cfg.AllowedServers = c.fallbacks, c.allowed
				dialled := make(chan string, 10)
				cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					dialled <- address
					if len(dialled) > 1 {
						return nil, errors.New("no route")
					}
					return b.dial(ctx, network, address)
				}
				r := start(t, cfg, discard(t))
				r.waitPhase(push.BackingOff)
				r.waitPhase(push.BackingOff)
				r.cancel()
				<-dialled
				if address := <-dialled; address != c.dialled {
					t.Errorf("dialled %s, want %s", address, c.dialled)
				}
			})
		})
	}
}

func TestAttackServersThatReferInACircleAreNotFollowedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.expect(packets.CONNECT)
			p.send(&packets.Connack{ReasonCode: packets.ConnackServerMoved, Properties: &packets.Properties{ServerReference: "broker.test other.test"}})
		})
		r := start(t, b.config(), discard(t))
		time.Sleep(24 * time.Hour)
		if n := len(b.dialled()); n > 24*60 {
			t.Errorf("%d dials in a day", n)
		}
		r.stop()
	})
}

func TestFallbacksAreTriedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		cfg := b.config()
		cfg.Fallbacks = []string{"mqtts://third.test:99", "mqtts://other.test"}
		var mu sync.Mutex
		var dialled []string
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, address)
			if address != "other.test:8883" {
				return nil, errors.New("no route")
			}
			return b.dial(ctx, network, "broker.test:8883")
		}
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.Connected); s.Broker != "other.test:8883" {
			t.Errorf("connected to %s", s.Broker)
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"broker.test:8883", "third.test:99", "other.test:8883"}; !slices.Equal(dialled, want) {
			t.Errorf("dialled %v", dialled)
		}
	})
}

func TestAURLWhoseServerIsUnavailableIsLeftForAFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := true
		b := newScripted(t, func(p *peer) {
			if answers {
				p.expect(packets.CONNECT)
				p.send(&packets.Connack{ReasonCode: packets.ConnackServerUnavailable, Properties: &packets.Properties{}})
				return
			}
			p.accept(false)
			p.stay()
		})
		cfg := b.config()
		cfg.Fallbacks = []string{"mqtts://other.test"}
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			answers = address == "broker.test:8883"
			return b.dial(ctx, network, "broker.test:8883")
		}
		r := start(t, cfg, discard(t))
		time.Sleep(time.Hour)
		if s := r.State(); s.Phase != push.Connected || s.Broker != "other.test:8883" {
			t.Errorf("state %+v", s)
		}
	})
}

func TestASessionIsEndedWhereverTheBrokerIsReached(t *testing.T) {
	for name, first := range map[string]func(p *peer){
		"by a fallback": nil,
		"by a referral": func(p *peer) {
			p.expect(packets.CONNECT)
			p.send(&packets.Connack{ReasonCode: packets.ConnackServerMoved, Properties: &packets.Properties{ServerReference: "other.test"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan *packets.Disconnect, 1)
				b := newScripted(t, func(p *peer) {
					if p.n == 1 && first != nil {
						first(p)
						return
					}
					if connect := p.connack(true, packets.Properties{}); !connect.CleanStart {
						t.Error("the CONNECT asks for the session")
					}
					ended <- p.stay()
				})
				cfg := b.config()
				cfg.Fallbacks = []string{"mqtts://other.test"}
				cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if address != "other.test:8883" && first == nil {
						return nil, errors.New("no route")
					}
					return b.dial(ctx, network, "broker.test:8883")
				}
				c, err := push.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.EndSession(t.Context()); err != nil {
					t.Fatal(err)
				}
				if d := <-ended; d == nil || d.Properties.SessionExpiryInterval == nil || *d.Properties.SessionExpiryInterval != 0 {
					t.Errorf("DISCONNECT %v", d)
				}
			})
		})
	}
}

func TestATakeOverIsRetriedAfterALongTimeWhereThatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n == 1 {
				p.send(&packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver, Properties: &packets.Properties{}})
				return
			}
			p.stay()
		})
		cfg := b.config()
		cfg.TakenOverRetry = time.Hour
		r := start(t, cfg, discard(t))
		s := r.waitPhase(push.TakenOver)
		if wait := s.RetryAt.Sub(s.Since); wait < time.Hour || wait > 90*time.Minute || !errors.Is(s.Err, fds.ErrTakenOver) {
			t.Errorf("tried again after %v: %v", wait, s.Err)
		}
		time.Sleep(90 * time.Minute)
		r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == 2 })
		if dials := b.dialled(); len(dials) != 2 || dials[1].Sub(dials[0]) < time.Hour {
			t.Errorf("dialled at %v", dials)
		}
	})
}

func TestAMessageThatAlwaysFailsGoesToTheDeadLettersAndIsThenAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buried atomic.Bool
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "poison", "{}")
			p.publish(2, false, "good", "{}")
			p.puback(1)
			if !buried.Load() {
				p.fatal("it was acknowledged before the dead letters had it")
			}
			p.puback(2)
			p.stay()
		})
		refused := errors.New("refused")
		var calls, letters atomic.Int64
		done := make(chan struct{})
		cfg := b.config()
		cfg.MaxAttempts = 3
		cfg.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
			if !errors.Is(err, refused) || m.Levels[0] != "poison" || calls.Load() != 3 {
				t.Errorf("dead letter %v: %v after %d calls", m, err, calls.Load())
			}
			switch letters.Add(1) {
			case 1:
				return errors.New("the store of dead letters is full")
			case 2:
				panic("even so")
			}
			buried.Store(true)
			return nil
		}
		start(t, cfg, func(_ context.Context, m delivery.Message) error {
			if m.Levels[0] == "good" {
				close(done)
				return nil
			}
			calls.Add(1)
			return refused
		})
		select {
		case <-done:
		case <-time.After(time.Hour):
			t.Fatalf("the message that fails still holds up the others, after %d calls and %d dead letters", calls.Load(), letters.Load())
		}
		if calls.Load() != 3 || letters.Load() != 3 {
			t.Errorf("%d calls, %d dead letters", calls.Load(), letters.Load())
		}
		synctest.Wait()
	})
}

// slowness keeps what HookSlowHandler is told.
type slowness struct{ told atomic.Int64 }

func (s *slowness) OnSlowHandler(_ fds.OwnerKey, took time.Duration) {
	s.told.Add(int64(took / time.Second))
}

func TestAHandlerThatHangsIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			p.publish(1, false, "fast", "{}")
			p.publish(2, false, "slow", "{}")
			p.puback(1)
			p.puback(2)
			p.stay()
		})
		hook := &slowness{}
		cfg := b.config()
		cfg.Hooks = []any{hook}
		cfg.SlowHandler = 2 * time.Second
		done := make(chan struct{})
		start(t, cfg, func(_ context.Context, m delivery.Message) error {
			if m.Levels[0] == "fast" {
				time.Sleep(time.Second)
				return nil
			}
			time.Sleep(10 * time.Second)
			close(done)
			return nil
		})
		<-done
		if got := hook.told.Load(); got != 2 {
			t.Errorf("told of %d seconds, want once, after 2", got)
		}
	})
}

func TestRootsAreAskedForAnewBeforeEachDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		cfg := b.config()
		cfg.Roots = nil
		asked := 0
		cfg.Roots = func(context.Context) (*x509.CertPool, error) {
			switch asked++; asked {
			case 1:
				return x509.NewCertPool(), nil
			case 2:
				return nil, errors.New("half a file")
			}
			return b.ca.Pool(), nil
		}
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		if asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestSettingsThatContradictEachOtherAreRefused(t *testing.T) {
	b := newScripted(t, nil)
	for what, change := range map[string]func(*push.Config){
		"MaxAttempts needs": func(c *push.Config) { c.MaxAttempts = 1 },
		"(see DeadLetter)":  func(c *push.Config) { c.MaxAttempts = 1 },
		"Dialect.EventKind": func(c *push.Config) { c.Dialect = &fds.Dialect{KindMember: "kind"} },
		"TakenOverRetry":    func(c *push.Config) { c.TakenOverRetry = time.Second },
		"Fallbacks":         func(c *push.Config) { c.Fallbacks = []string{"mqtt://plain.test"} },
		"AllowedServers":    func(c *push.Config) { c.AllowedServers = []string{"https://other.test"} },
		"Hooks[1]":          func(c *push.Config) { c.Hooks = []any{bursts{}, "no hook"} },
	} {
		cfg := b.config()
		change(&cfg)
		if _, err := push.New(cfg); !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
