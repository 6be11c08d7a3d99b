package fdsclient_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/webhook"
)

func TestWhoSignsInInAnotherProcessIsKnownToAWebhookWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = time.Hour
		client, other := open(t, cfg), open(t, cfg)
		receiver, err := client.Webhook(webhook.Settings{Audience: webhookAudience, Senders: []string{webhookSender}}, (&inbox{}).handle)
		if err != nil {
			t.Fatal(err)
		}
		defer receiver.Close()
		sender, err := p.SendTo(t.Context(), fdstest.Webhook{URL: webhookAudience})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the keys are fetched", func() bool { return !receiver.State().KeysAt.IsZero() })
		o := p.Owners()[0]
		if got := straight(t, receiver, sender, o); got != http.StatusForbidden {
			t.Fatal(got)
		}
		signIn(t, other, p, o)
		time.Sleep(5 * time.Second)
		if got := straight(t, receiver, sender, o); got != http.StatusOK {
			t.Error(got)
		}
	})
}

// unlistedStore cannot be listed while it is not open, as a locked keyring.
type unlistedStore struct {
	tokenstore.Store
	lists atomic.Int32
	open  atomic.Bool
}

func (s *unlistedStore) List(ctx context.Context) iter.Seq2[tokenstore.Entry, error] {
	if s.lists.Add(1); s.open.Load() {
		return s.Store.List(ctx)
	}
	return func(yield func(tokenstore.Entry, error) bool) {
		yield(tokenstore.Entry{}, fmt.Errorf("locked: %w", fds.ErrStoreUnavailable))
	}
}

func TestAStoreThatCannotBeReadIsLookedAtOnceInAWhileAndTheSenderComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		store := &unlistedStore{Store: cfg.Store}
		store.open.Store(true)
		cfg.Store = store
		client := open(t, cfg)
		o := p.Owners()[0]
		signIn(t, client, p, o)
		receiver, err := client.Webhook(webhook.Settings{Audience: webhookAudience, Senders: []string{webhookSender}}, (&inbox{}).handle)
		if err != nil {
			t.Fatal(err)
		}
		defer receiver.Close()
		sender, err := p.SendTo(t.Context(), fdstest.Webhook{URL: webhookAudience})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the keys are fetched", func() bool { return !receiver.State().KeysAt.IsZero() })
		store.open.Store(false)
		before := store.lists.Load()
		for range 10 {
			if got := straight(t, receiver, sender, o); got != http.StatusServiceUnavailable {
				t.Fatal(got)
			}
		}
		if n := store.lists.Load() - before; n != 1 {
			t.Errorf("it was looked at %d times", n)
		}
		store.open.Store(true)
		time.Sleep(5 * time.Second)
		if got := straight(t, receiver, sender, o); got != http.StatusOK {
			t.Error(got)
		}
	})
}
