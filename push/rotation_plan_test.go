package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// A rotation waits a while once the new certificate was seen. When it is not to be
// had any more then, the connection with the one before goes on.
func TestARotationThatCannotTakePlaceKeepsTheConnection(t *testing.T) {
	for name, then := range map[string]func(first *tls.Certificate) (*tls.Certificate, error){
		"since the source fails":            func(*tls.Certificate) (*tls.Certificate, error) { return nil, errors.New("away") },
		"since the source panics":           func(*tls.Certificate) (*tls.Certificate, error) { panic("no") },
		"since it has the one before again": func(first *tls.Certificate) (*tls.Certificate, error) { return first, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(p.n > 1); p.stay() })
				cfg := b.config()
				first := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
				second := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
				var asked atomic.Int64
				cfg.Certificate = func(context.Context) (*tls.Certificate, error) {
					switch asked.Add(1) {
					case 1:
						return &first, nil
					case 2:
						return &second, nil
					}
					return then(&first)
				}
				r := start(t, cfg, discard(t))
				r.waitPhase(push.Connected)
				time.Sleep(time.Hour)
				if s := r.State(); s.Phase != push.Connected || s.Connects != 1 {
					t.Errorf("state %+v", s)
				}
				if asked.Load() < 4 {
					t.Errorf("the source was asked %d times in an hour", asked.Load())
				}
			})
		})
	}
}

// One drop after hours of health is waited for shortly, also when the certificate
// was rotated a moment ago, and whatever outage there was before.
func TestARotationDoesNotForgetThatTheConnectionWasStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 6 { // by chance a long back-off may be short
			b := newScripted(t, func(p *peer) {
				switch {
				case p.n <= 12: // an outage
				case p.n == 14: // right after the rotation
					p.accept(true)
					time.Sleep(time.Second)
				default:
					p.accept(p.n > 13)
					p.stay()
				}
			})
			cfg := b.config()
			first := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
			second := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
			var rotated atomic.Bool
			cfg.Certificate = func(context.Context) (*tls.Certificate, error) {
				if rotated.Load() {
					return &second, nil
				}
				return &first, nil
			}
			r := start(t, cfg, discard(t))
			time.Sleep(3 * time.Hour)
			rotated.Store(true)
			time.Sleep(40 * time.Minute)
			dropped := false
			for len(r.states) > 0 {
				if s := <-r.states; s.Phase == push.BackingOff && s.Connects == 2 {
					dropped = true
					if wait := s.RetryAt.Sub(s.Since); wait > 3*time.Second {
						t.Errorf("tried again after %v", wait)
					}
				}
			}
			if !dropped {
				t.Errorf("the connection after the rotation did not drop: %+v", r.State())
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// What a broker must have kept while a connection was made anew by plan is no outage.
func TestOnlyAReconnectByPlanThatSucceedsAtOnceIsToldAsPlanned(t *testing.T) {
	for name, c := range map[string]struct {
		qos     byte          // granted
		refused bool          // the first attempt to be back
		late    time.Duration // until the answer to it
		want    bool
	}{
		"at once":         {qos: 1, want: true},
		"after a refusal": {qos: 1, refused: true},
		"after long":      {qos: 1, late: 25 * time.Second},
		"of a subscription that keeps no messages": {qos: 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) {
					if p.n == 2 {
						if c.refused {
							p.connack(false, packets.Properties{})
							p.busy()
							return
						}
						time.Sleep(c.late)
					}
					p.connack(p.n > 1, packets.Properties{})
					p.suback(c.qos)
					p.stay()
				})
				cfg := b.config()
				cfg.ConnectTimeout = 30 * time.Second
				if c.late > 0 { // the limiter of a fleet that renews at once
					cfg.Limit = &fds.Limit{PerSecond: 1 / c.late.Seconds(), Burst: 1}
				}
				first := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
				second := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
				var rotated atomic.Bool
				cfg.Certificate = func(context.Context) (*tls.Certificate, error) {
					if rotated.Load() {
						return &second, nil
					}
					return &first, nil
				}
				told := make(chan push.Subscribed, 9)
				cfg.BeforeMessages = func(_ context.Context, s push.Subscribed) error { told <- s; return nil }
				r := start(t, cfg, discard(t))
				if s := <-told; s.Planned {
					t.Errorf("the first connection is told as %+v", s)
				}
				rotated.Store(true)
				if s := <-told; s.Planned != c.want || !s.SessionPresent || s.Last == nil {
					t.Errorf("told %+v, want Planned %v", s, c.want)
				}
				r.stop()
			})
		})
	}
}
