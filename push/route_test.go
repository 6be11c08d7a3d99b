package push_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/push"
)

// A cluster whose servers are taken away one after the other, each a while later.
func TestReferralsHoursApartAreAllFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(true)
			if p.n <= 6 {
				time.AfterFunc(2*time.Hour, func() {
					p.send(&packets.Disconnect{ReasonCode: packets.DisconnectServerMoved, Properties: &packets.Properties{ServerReference: "other.test"}})
				})
			}
			p.stay()
		})
		cfg := b.config()
		cfg.AllowedServers = []string{"other.test"}
		cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return b.dial(ctx, network, "broker.test:8883")
		}
		r := start(t, cfg, discard(t))
		time.Sleep(15 * time.Hour)
		if s := r.State(); s.Phase != push.Connected || s.Connects != 7 {
			t.Errorf("%d connects, state %+v", s.Connects, s)
		}
		r.stop()
		close(r.states)
		for s := range r.states {
			if s.Phase == push.Denied {
				t.Errorf("a referral is not followed: %v", s.Err)
			}
		}
	})
}
