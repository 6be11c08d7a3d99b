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
