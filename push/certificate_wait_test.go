package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// counted counts how often a source is asked.
func counted(cfg *push.Config) *atomic.Int64 {
	var asked atomic.Int64
	source := cfg.Certificate
	cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
		asked.Add(1)
		return source(ctx)
	}
	return &asked
}

func (b *scripted) issue(options realtest.CertificateOptions) *tls.Certificate {
	return client(b.ca.IssueCertificate(b.root.ClientID(), options))
}

func TestACertificateThatArrivesIsTakenUpAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		after, within time.Duration
	}{
		"seconds after the start": {10 * time.Second, 6 * time.Second},
		"minutes after":           {10 * time.Minute, 31 * time.Second},
		"most of a day after":     {20 * time.Hour, 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
				certificates := &certificates{}
				cfg := b.config()
				cfg.Certificate = certificates.give
				cfg.Limit = &fds.Limit{PerSecond: 1e-6, Burst: 1} // who took a turn before would wait for days
				asked := counted(&cfg)
				r := start(t, cfg, discard(t))
				if s := r.waitPhase(push.NeedsCertificate); !strings.Contains(s.Err.Error(), "its source gave none") {
					t.Error(s.Err)
				}
				time.Sleep(c.after)
				if n := len(b.dialled()); n != 0 {
					t.Errorf("without a certificate dialled %d times", n)
				}
				if most := int64(10 + c.after/(13*time.Second)); asked.Load() > most {
					t.Errorf("asked %d times in %v, more than %d", asked.Load(), c.after, most)
				}
				certificates.set(b.issue(realtest.CertificateOptions{NotAfter: time.Now().Add(time.Hour)}), nil)
				came := time.Now()
				if s := r.waitPhase(push.Connected); s.Since.Sub(came) > c.within {
					t.Errorf("connected %v after it came", s.Since.Sub(came))
				}
			})
		})
	}
}

func TestWhatPassesAtTheSourceIsTriedAgainSoon(t *testing.T) {
	for name, fail := range map[string]func(ctx context.Context) error{
		"an error":          func(context.Context) error { return errNotNow },
		"its own time-out":  func(context.Context) error { return fmt.Errorf("vault: %w", context.DeadlineExceeded) },
		"the connect's one": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"the network":       func(context.Context) error { return &net.OpError{Op: "dial", Err: errors.New("connection refused")} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
				cfg := b.config()
				good := cfg.Certificate
				failures := 0
				cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
					if failures++; failures <= 2 {
						return nil, fail(ctx)
					}
					return good(ctx)
				}
				r := start(t, cfg, discard(t))
				s := r.waitState(func(s push.State) bool { return !s.RetryAt.IsZero() })
				var failed *push.CertificateError
				if s.Phase != push.BackingOff || !errors.As(s.Err, &failed) || !failed.Passing || !strings.Contains(s.Err.Error(), "its source failed: ") {
					t.Errorf("%s, %v", s.Phase, s.Err)
				}
				if wait := time.Until(s.RetryAt); wait > 2*time.Second {
					t.Errorf("tried again after %v", wait)
				}
				failedAt := time.Now()
				if s := r.waitPhase(push.Connected); s.Since.Sub(failedAt) > 40*time.Second {
					t.Errorf("connected %v after the first failure", s.Since.Sub(failedAt))
				}
			})
		})
	}
}

// The source fails with what passes while a certificate is waited for: it stays waited
// for, and what comes after is taken up all the same.
func TestASourceThatFailsForNowEndsNoWait(t *testing.T) {
	for name, fail := range map[string]func() error{
		"with an error":          func() error { return errNotNow },
		"with a panic":           func() error { panic("no vault") },
		"by the goroutine's end": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
				cfg := b.config()
				good := cfg.Certificate
				var asked atomic.Int64
				cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
					switch n := asked.Add(1); {
					case n == 1:
						return nil, nil
					case n < 5:
						return nil, fail()
					}
					return good(ctx)
				}
				r := start(t, cfg, discard(t))
				first := r.waitPhase(push.NeedsCertificate)
				up := r.waitState(func(s push.State) bool { return s.Phase != push.NeedsCertificate && s.Phase != push.Connecting })
				if up.Phase != push.Connected || up.Since.Sub(first.Since) > 30*time.Second {
					t.Errorf("after %v: %+v", up.Since.Sub(first.Since), up)
				}
			})
		})
	}
}

func TestACertificateThatIsNotYetValidIsUsedOnceItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		valid := time.Now().Add(3 * time.Hour)
		cfg := b.config()
		cfg.Certificate = source(b.issue(realtest.CertificateOptions{NotBefore: valid, NotAfter: valid.Add(time.Hour)}))
		cfg.CertificateCheck = 24 * time.Hour
		asked := counted(&cfg)
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.NeedsCertificate); s.RetryAt.Before(valid) || s.RetryAt.After(valid.Add(time.Second)) {
			t.Errorf("tried again at %v", s.RetryAt)
		}
		time.Sleep(time.Until(valid.Add(10 * time.Second)))
		if s := r.State(); s.Phase != push.Connected || s.Since.Sub(valid) > time.Second {
			t.Errorf("%+v", s)
		}
		if asked.Load() > 40 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

func TestWhatIsNewAboutACertificateThatCannotBeUsedIsToldWithoutADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		certificates := &certificates{}
		cfg := b.config()
		cfg.Certificate = certificates.give
		r := start(t, cfg, discard(t))
		r.waitPhase(push.NeedsCertificate)
		time.Sleep(time.Hour)
		for len(r.states) > 0 {
			<-r.states
		}
		certificates.set(b.issue(realtest.CertificateOptions{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}), nil)
		time.Sleep(31 * time.Second)
		if s := r.State(); s.Phase != push.NeedsCertificate || !strings.Contains(s.Err.Error(), "it expired on") || time.Until(s.RetryAt) > 5*time.Minute {
			t.Errorf("%+v", s)
		}
		from := time.Now().Add(time.Hour)
		certificates.set(b.issue(realtest.CertificateOptions{NotBefore: from, NotAfter: from.Add(time.Hour)}), nil)
		time.Sleep(31 * time.Second)
		if s := r.State(); s.Phase != push.NeedsCertificate || !strings.Contains(s.Err.Error(), "valid only from") {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Until(from) + 31*time.Second)
		if s := r.State(); s.Phase != push.Connected || s.Since.Sub(from) > 31*time.Second || len(b.dialled()) != 1 {
			t.Errorf("%d dials, %+v", len(b.dialled()), s)
		}
	})
}

// refusing is a broker of another authority, which refuses the certificates of b's own.
func refusing(b *scripted, other *realtest.CA) {
	b.server.MaxVersion = tls.VersionTLS12 // the client's handshake fails
	b.server.ClientCAs = other.Pool()
}

func TestACertificateThatTheBrokerRefusesIsShownRarelyAndAnotherAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		other := realtest.NewCA(t)
		refusing(b, other)
		certificates := &certificates{now: b.issue(realtest.CertificateOptions{})}
		cfg := b.config()
		cfg.Certificate = certificates.give
		asked := counted(&cfg)
		r := start(t, cfg, discard(t))
		if s := r.waitPhase(push.NeedsCertificate); !strings.Contains(s.Err.Error(), "refuses it") {
			t.Error(s.Err)
		}
		time.Sleep(time.Hour)
		if dials := len(b.dialled()); dials < 12 || dials > 26 || asked.Load() < 100 {
			t.Errorf("in an hour %d dials, and the source was asked %d times", dials, asked.Load())
		}
		certificates.set(client(other.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{})), nil)
		came := time.Now()
		if s := r.waitPhase(push.Connected); s.Since.Sub(came) > 31*time.Second {
			t.Errorf("connected %v after the new one came", s.Since.Sub(came))
		}
	})
}

// A broker that knows the certificate may still not let its owner in.
func TestADeniedOwnerIsTriedAtOnceWithAnotherCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Pointer[tls.Certificate]
		b := newScripted(t, func(p *peer) {
			shown := p.conn.ConnectionState().PeerCertificates[0]
			if good := allowed.Load(); good != nil && shown.Equal(good.Leaf) {
				p.accept(false)
				p.stay()
				return
			}
			p.expect(packets.CONNECT)
			p.send(&packets.Connack{ReasonCode: packets.ConnackNotAuthorized, Properties: &packets.Properties{}})
		})
		certificates := &certificates{now: b.issue(realtest.CertificateOptions{})}
		cfg := b.config()
		cfg.Certificate = certificates.give
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Denied)
		time.Sleep(30 * time.Minute)
		if dials := len(b.dialled()); dials < 6 || dials > 14 {
			t.Errorf("%d dials in half an hour", dials)
		}
		if s := r.State(); s.Phase != push.Denied {
			t.Errorf("%+v", s)
		}
		next := b.issue(realtest.CertificateOptions{})
		allowed.Store(next)
		certificates.set(next, nil)
		came := time.Now()
		if s := r.waitPhase(push.Connected); s.Since.Sub(came) > 31*time.Second {
			t.Errorf("connected %v after the new one came", s.Since.Sub(came))
		}
	})
}

func TestAttackASourceWithAnotherCertificateEachTimeDialsRarely(t *testing.T) {
	for name, refused := range map[string]bool{"that the broker takes": false, "that the broker refuses": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(p.n > 1); p.stay() })
				if refused {
					refusing(b, realtest.NewCA(t))
				}
				cfg := b.config()
				cfg.Certificate = func(context.Context) (*tls.Certificate, error) {
					return b.issue(realtest.CertificateOptions{NotAfter: time.Now().Add(24 * time.Hour)}), nil
				}
				r := start(t, cfg, discard(t))
				time.Sleep(2 * time.Hour)
				if dials, most := len(b.dialled()), 60; dials > most || dials < 5 {
					t.Errorf("%d dials in two hours; want at most %d", dials, most)
				}
				if !refused && r.State().Phase != push.Connected {
					t.Errorf("%+v", r.State())
				}
			})
		})
	}
}

func TestAWakeTakesUpANewCertificateAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(p.n > 1); p.stay() })
		certificates := &certificates{}
		cfg := b.config()
		cfg.Certificate, cfg.CertificateCheck = certificates.give, 24*time.Hour
		asked := counted(&cfg)
		r := start(t, cfg, discard(t))
		r.waitPhase(push.NeedsCertificate)
		certificates.set(b.issue(realtest.CertificateOptions{NotAfter: time.Now().Add(30 * 24 * time.Hour)}), nil)
		for n := range uint64(3) {
			r.Wake()
			woken := time.Now()
			s := r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == n+1 })
			if s.Since.Sub(woken) > time.Second {
				t.Errorf("connection %d came %v after the wake", n+1, s.Since.Sub(woken))
			}
			certificates.set(b.issue(realtest.CertificateOptions{NotAfter: time.Now().Add(30 * 24 * time.Hour)}), nil)
		}
		before := asked.Load()
		certificates.set(nil, errNotNow) // no harm is done by a wake for nothing
		r.Wake()
		synctest.Wait()
		if s := r.State(); s.Phase != push.Connected || asked.Load() != before+1 {
			t.Errorf("asked %d times, %+v", asked.Load()-before, s)
		}
	})
}

// What a load balancer says while it restarts is no word about the certificate.
func TestATLSAlertThatPassesIsTriedAgainSoon(t *testing.T) {
	for alert, fault := range map[string]func(b *scripted) (*tls.Config, error){
		"internal error": func(*scripted) (*tls.Config, error) { return nil, errNotNow },
		"handshake failure": func(b *scripted) (*tls.Config, error) {
			none := b.server.Clone()
			none.MaxVersion, none.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}
			return none, nil
		},
	} {
		t.Run(alert, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
				var once atomic.Bool
				b.server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
					if once.CompareAndSwap(false, true) {
						return fault(b)
					}
					return nil, nil
				}
				r := start(t, b.config(), discard(t))
				s := r.waitState(func(s push.State) bool { return !s.RetryAt.IsZero() })
				if s.Phase != push.BackingOff || !strings.Contains(s.Err.Error(), alert) {
					t.Errorf("%s, %v", s.Phase, s.Err)
				}
				if up := r.waitPhase(push.Connected); up.Since.Sub(s.Since) > 3*time.Second {
					t.Errorf("connected after %v", up.Since.Sub(s.Since))
				}
			})
		})
	}
}

func TestVersionsOfTLSThatDoNotMeetAreTriedRarely(t *testing.T) {
	for name, change := range map[string]func(b *scripted, cfg *push.Config){
		"the broker's are older": func(b *scripted, _ *push.Config) {
			b.server.MinVersion, b.server.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		},
		"the broker's are newer": func(b *scripted, cfg *push.Config) { b.server.MinVersion, cfg.ExactlyTLS12 = tls.VersionTLS13, true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
				cfg := b.config()
				change(b, &cfg)
				s := start(t, cfg, discard(t)).waitState(func(s push.State) bool { return !s.RetryAt.IsZero() })
				if wait := s.RetryAt.Sub(s.Since); s.Phase != push.BackingOff || wait < 2*time.Minute {
					t.Errorf("%s for %v: %v", s.Phase, wait, s.Err)
				}
			})
		})
	}
}

func TestANewCertificateIsTakenUpWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(p.n > 1); p.stay() })
		certificates := &certificates{now: b.issue(realtest.CertificateOptions{NotAfter: time.Now().Add(30 * 24 * time.Hour)})}
		cfg := b.config()
		cfg.Certificate = certificates.give
		asked := counted(&cfg)
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		for n := range uint64(20) {
			time.Sleep(time.Hour)
			if got := asked.Swap(0); got > 250 {
				t.Errorf("asked %d times in an hour", got)
			}
			certificates.set(b.issue(realtest.CertificateOptions{NotAfter: time.Now().Add(30 * 24 * time.Hour)}), nil)
			came := time.Now()
			if s := r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == n+2 }); s.Since.Sub(came) > time.Minute {
				t.Errorf("connected with it %v after it came", s.Since.Sub(came))
			}
		}
	})
}

func TestASourceThatHangsWhileConnectedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		cfg := b.config()
		good, asked := cfg.Certificate, 0
		cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
			if asked++; asked > 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return good(ctx)
		}
		r := start(t, cfg, discard(t))
		time.Sleep(2 * time.Hour)
		r.stop()
		if asked < 6 {
			t.Errorf("asked %d times in two hours", asked)
		}
	})
}
