package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func TestAWakeWhileConnectedDoesNotHurryTheNextAttempt(t *testing.T) {
	for range 5 { // a delay may be short by chance
		synctest.Test(t, func(t *testing.T) {
			b := newScripted(t, func(p *peer) {
				p.accept(false)
				if p.n == 1 {
					time.Sleep(10 * time.Second)
					p.busy()
				}
				p.stay()
			})
			r := start(t, b.config(), discard(t))
			r.waitPhase(push.Connected)
			r.Wake()
			s := r.waitPhase(push.BackingOff)
			r.waitPhase(push.Connected)
			if at := b.dialled()[1]; at.Before(s.RetryAt) {
				t.Errorf("dialled %v before it was due", s.RetryAt.Sub(at))
			}
		})
	}
}

func TestAWakeBeforeRunOrAtTheEndOfAConnectionHurriesNoAttempt(t *testing.T) {
	for name, before := range map[string]bool{"before Run": true, "at the end": false} {
		t.Run(name, func(t *testing.T) {
			for range 5 { // a delay may be short by chance
				synctest.Test(t, func(t *testing.T) {
					b := newScripted(t, func(p *peer) {
						if p.n == 1 && before {
							p.expect(packets.CONNECT)
							p.send(&packets.Connack{ReasonCode: packets.ConnackServerBusy, Properties: &packets.Properties{}})
							return
						}
						p.accept(false)
						p.stay()
					})
					cfg := b.config()
					var c *push.Connection
					cfg.BeforeMessages = func(_ context.Context, s push.Subscribed) error {
						if before || s.Last != nil {
							return nil
						}
						c.Wake()
						return errors.New("not now")
					}
					var due time.Time
					up := make(chan struct{})
					cfg.OnState = func(s push.State) {
						switch {
						case s.Phase == push.BackingOff:
							due = s.RetryAt
						case s.Phase == push.Connected && !due.IsZero():
							close(up)
						}
					}
					var err error
					if c, err = push.New(cfg); err != nil {
						t.Fatal(err)
					}
					if before {
						c.Wake()
					}
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan error)
					go func() { done <- c.Run(ctx, discard(t)) }()
					<-up
					if at := b.dialled()[1]; at.Before(due) {
						t.Errorf("dialled %v before it was due", due.Sub(at))
					}
					cancel()
					<-done
				})
			}
		})
	}
}

func TestAWakeDuringAnAttemptThatFailsIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		cfg := b.config()
		good, asked := cfg.Certificate, 0
		var r *running
		asking, woken := make(chan struct{}), make(chan struct{})
		cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
			if asked++; asked > 1 {
				return good(ctx)
			}
			close(asking)
			<-woken // the new certificate arrives just after the old one was read
			return nil, fds.ErrCertificate
		}
		r = start(t, cfg, discard(t))
		<-asking
		r.Wake()
		close(woken)
		s := r.waitPhase(push.NeedsCertificate)
		if up := r.waitPhase(push.Connected); up.Since.Sub(s.Since) > time.Second {
			t.Errorf("connected %v after the wake", up.Since.Sub(s.Since))
		}
	})
}

// The certificate is read before it is waited for a turn to connect, which may take long.
func TestAWakeBeforeATurnToConnectHasANewCertificateTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(p.n > 1); p.stay() })
		cfg := b.config()
		cfg.Limit = taken(t)
		other := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
		good, renewed := cfg.Certificate, false
		cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
			if renewed {
				return &other, nil
			}
			return good(ctx)
		}
		r := start(t, cfg, discard(t))
		synctest.Wait()
		renewed = true
		r.Wake()
		synctest.Wait()
		cfg.Limit.Release()
		first := r.waitPhase(push.Connected)
		if second := r.waitPhase(push.Connected); second.Since.Sub(first.Since) > time.Second {
			t.Errorf("the new certificate was taken up after %v", second.Since.Sub(first.Since))
		}
	})
}

func TestAWakeWhileACertificateIsLookedForHasItLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(p.n > 1); p.stay() })
		cfg := b.config()
		other := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
		good, asked, renewed := cfg.Certificate, 0, false
		looking, read := make(chan struct{}), make(chan struct{})
		cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
			if renewed {
				return &other, nil
			}
			if asked++; asked == 2 {
				close(looking)
				<-read // the new one arrives just after the old one was read
			}
			return good(ctx)
		}
		r := start(t, cfg, discard(t))
		r.waitPhase(push.Connected)
		<-looking
		renewed = true
		r.Wake()
		woken := time.Now()
		synctest.Wait()
		close(read)
		if s := r.waitPhase(push.Connected); s.Since.Sub(woken) > time.Second {
			t.Errorf("the new certificate was taken up after %v", s.Since.Sub(woken))
		}
	})
}
