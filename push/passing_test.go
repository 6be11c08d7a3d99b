package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

func TestABrokerThatIsStartingIsNotAvailableYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		hellos := 0
		b.server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if hellos++; hellos < 3 {
				return nil, errors.New("certificates are being loaded") // which is told as internal_error
			}
			return nil, nil
		}
		r := start(t, b.config(), discard(t))
		if s := r.waitPhase(push.BackingOff); !errors.Is(s.Err, fds.ErrUnavailable) || s.RetryAt.Sub(s.Since) > time.Minute {
			t.Errorf("%v, tried again after %v", s.Err, s.RetryAt.Sub(s.Since))
		}
		r.waitPhase(push.Connected)
	})
}

func TestAMessageOfNoQualityIsHandedOverThoughItsConnectionEndsWhileStatesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			if p.n == 1 {
				p.send(&packets.Publish{Topic: p.root.String() + "a", Payload: []byte("x"), Properties: &packets.Properties{}})
				time.Sleep(time.Second)
				return
			}
			p.stay()
		})
		cfg := b.config()
		told := 0
		cfg.OnState = func(s push.State) {
			if s.Phase == push.Connected {
				if told++; told == 1 {
					time.Sleep(3 * time.Second)
				}
			}
		}
		connection, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 9)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- connection.Run(ctx, func(_ context.Context, m delivery.Message) error { got <- string(m.Payload); return nil })
		}()
		time.Sleep(30 * time.Second)
		if len(got) != 1 || connection.State().Dropped != 0 {
			t.Errorf("%d messages, %d dropped", len(got), connection.State().Dropped)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAttackADialWithoutAConnectionIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		cfg := b.config()
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
		connection, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		go func() {
			time.Sleep(10 * time.Second)
			if s := connection.State(); s.Phase != push.BackingOff || s.Err == nil {
				t.Errorf("%+v", s)
			}
		}()
		if err := connection.Run(ctx, discard(t)); err != nil {
			t.Error(err)
		}
	})
}
