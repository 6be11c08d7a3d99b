package fdsclient_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAnOwnerWhomTheProviderTookAwayEndsAndTheOtherGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{AccessTokenLifetime: 2 * time.Second})
		cfg := configure(t, p)
		seen := &hooks{}
		cfg.Hooks = []any{seen}
		client := open(t, cfg)
		all := p.Owners()
		owners := signIn(t, client, p, all[0], all[1])
		var box inbox
		runClient(t, client, box.handle)
		subscribed(t, p, all[0])
		subscribed(t, p, all[1])

		defer p.Inject(fdstest.RenewalSubscription([]string{all[0].Spelling}))()
		eventually(t, "the owner's end reported", func() bool { return seen.count(func() int { return len(seen.needed) }) == 1 })
		event := seen.needed[0]
		if len(event.Owners) != 1 || event.Owners[0].SubscriptionID != all[1].SubscriptionID || !errors.Is(event.Err, fds.ErrSignInRequired) || !errors.Is(event.Err, fds.ErrSubscriptionChanged) {
			t.Errorf("told %+v", event)
		}
		eventually(t, "its session ended", func() bool {
			s := p.Subscriber(all[1])
			return !s.Connected && !s.Session
		})
		if g := stored(t, cfg.Store); len(g.Subscriptions) != 1 || g.Subscriptions[0] != all[0].Spelling {
			t.Errorf("the grant is stored for %v", g.Subscriptions)
		}
		for _, o := range owners {
			_, err := o.Token(t.Context())
			if ended := o.Key().SubscriptionID == all[1].SubscriptionID; errors.Is(err, fds.ErrSignInRequired) != ended || (err != nil) != ended {
				t.Errorf("%s: %v", o, err)
			}
		}
		if now, err := client.Owners(t.Context()); err != nil || len(now) != 1 || now[0].Key().SubscriptionID != all[0].SubscriptionID {
			t.Errorf("%v, %v", now, err)
		}
		publish(t, p, all[0], `1`)
		eventually(t, "the other owner's message", func() bool { return box.payloads(all[0].SubscriptionID) == "1" })

		signIn(t, client, p, all[1]) // comes back by a grant of its own
		subscribed(t, p, all[1])
	})
}

func TestAttackAnOwnerWhoLeftASharedGrantGetsNoTokenOfIt(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	all := p.Owners()
	for _, o := range signIn(t, client, p, all[0], all[1]) {
		if o.Key().SubscriptionID != all[1].SubscriptionID {
			defer token(t, o)
			continue
		}
		if err := o.SignOut(t.Context()); !errors.Is(err, fds.ErrGrantShared) {
			t.Fatal(err)
		}
		if got, err := o.Token(t.Context()); !errors.Is(err, fds.ErrNoOwner) {
			t.Errorf("who signed out gets %v, %v", got, err)
		}
		if info, err := o.Grant(t.Context()); !errors.Is(err, fds.ErrNoOwner) {
			t.Errorf("who signed out is told of %+v, %v", info, err)
		}
	}
	if _, err := client.Owner(t.Context(), all[1].SubscriptionID); !errors.Is(err, fds.ErrNoOwner) {
		t.Error(err)
	}
}

func TestAttackAnOpaqueTokenForSomeoneElseIsNotUsed(t *testing.T) {
	p := start(t, fdstest.Options{OpaqueTokens: true, Introspection: true})
	cfg := configure(t, p)
	cfg.Application.Scopes = []string{"offline_access"} // no ID token says whose it is
	cfg.Application.ClientID, cfg.Application.ClientSecret = p.ConfidentialApplication().ID, fds.NewSecret(p.ConfidentialApplication().Secret)
	all := p.Owners()
	signIn(t, open(t, cfg), p, all[0])
	expire(t, cfg.Store)
	client, owner := restart(t, cfg)
	token(t, owner)
	client.Close()

	expire(t, cfg.Store)
	before := stored(t, cfg.Store).RefreshToken
	defer p.Inject(fdstest.RenewalSubscription(all[1].Spelling))()
	client, owner = restart(t, cfg)
	if got, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrSubscriptionChanged) {
		t.Errorf("%v, %v", got, err)
	}
	client.Close()
	if g := stored(t, cfg.Store); !g.AccessToken.IsZero() || g.RefreshToken.Equal(before) {
		t.Error("someone else's token was kept, or the rotated refresh token was not")
	}
}

func TestAttackARenewalGivesNoTokenToTheOwnerWhomItTookAway(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	first := open(t, cfg)
	all := p.Owners()
	signIn(t, first, p, all[0], all[1])
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	expire(t, cfg.Store)
	defer p.Inject(fdstest.RenewalSubscription([]string{all[0].Spelling}))()
	o, err := open(t, cfg).Owner(t.Context(), all[1].SubscriptionID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := o.Token(t.Context()); !errors.Is(err, fds.ErrSignInRequired) { // the call that renews
		t.Errorf("%v, %v", got, err)
	}
}

func TestAttackWhoLeftASharedGrantElsewhereGetsNoTokenOfItsNextRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{AccessTokenLifetime: time.Second})
		cfg := configure(t, p)
		here, elsewhere := open(t, cfg), open(t, cfg)
		all := p.Owners()
		for _, o := range signIn(t, elsewhere, p, all[0], all[1]) {
			if o.Key().SubscriptionID != all[1].SubscriptionID {
				continue
			}
			same, err := here.Owner(t.Context(), o.Key().SubscriptionID)
			if err != nil {
				t.Fatal(err)
			}
			known := token(t, same)
			if err := o.SignOut(t.Context()); !errors.Is(err, fds.ErrGrantShared) {
				t.Fatal(err)
			}
			eventually(t, "its token's end", func() bool { return time.Now().After(known.Expiry()) })
			if got, err := same.Token(t.Context()); !errors.Is(err, fds.ErrNoOwner) {
				t.Errorf("who signed out elsewhere gets %v, %v", got, err)
			}
		}
		o, err := here.Owner(t.Context(), all[0].SubscriptionID)
		if err != nil {
			t.Fatal(err)
		}
		token(t, o)
	})
}
