package fdsclient_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// TestWhoIsLeftOutIsNotRenewedAfterASignInElsewhere, though an endpoint looks at the new grant.
func TestWhoIsLeftOutIsNotRenewedAfterASignInElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{AccessTokenLifetime: 10 * time.Minute})
		cfg := configure(t, p)
		cfg.Rescan = time.Minute
		other := open(t, cfg)
		var renewed renewals
		cfg.Hooks = []any{&renewed}
		client := open(t, cfg)
		o := p.Owners()[0]
		signIn(t, client, p, o, p.Owners()[1]) // together
		replicate(t, client, func(s *fdsclient.Selection) { s.Of = nil })
		time.Sleep(2 * time.Minute)
		signIn(t, other, p, o) // which is another grant
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := client.LookAtAll(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := renewed.since()[o.SubscriptionID]; n > 0 {
			t.Errorf("it was renewed %d times", n)
		}
	})
}

// TestAGrantThatHasLapsedAndRestsMayBeBack: an endpoint refuses what comes for its owner until that
// is known.
func TestAGrantThatHasLapsedAndRestsMayBeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{AccessTokenLifetime: 10 * time.Minute})
		cfg := configure(t, p)
		cfg.Rescan = time.Minute
		other := open(t, cfg)
		var renewed renewals
		cfg.Hooks = []any{&renewed}
		client := open(t, cfg)
		o := p.Owners()[0]
		owner := signIn(t, client, p, o)[0]
		r, _ := replicate(t, client, func(s *fdsclient.Selection) { s.Of = nil }, o)
		time.Sleep(time.Minute)
		p.RevokeGrants(o)
		time.Sleep(time.Hour)
		if !owner.HasLapsed() {
			t.Fatal("it has not lapsed")
		}
		r.choose()
		client.Reselect()
		time.Sleep(time.Minute)
		signIn(t, other, p, o)
		renewed.since()
		for range 60 {
			if err := client.LookAtAll(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if owner.HasLapsed() {
			t.Error("it has lapsed still, and its owner has signed in")
		}
		if n := renewed.since()[o.SubscriptionID]; n > 0 {
			t.Errorf("it was renewed %d times", n)
		}
	})
}
