package fdsclient_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// inbox is a handler that keeps what arrives.
type inbox struct {
	mu       sync.Mutex
	messages []delivery.Message
}

func (b *inbox) handle(_ context.Context, m delivery.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, m)
	return nil
}

// payloads returns what arrived for an owner, in order.
func (b *inbox) payloads(id fds.SubscriptionID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, m := range b.messages {
		if m.Owner.SubscriptionID == id {
			all = append(all, string(m.Payload))
		}
	}
	return strings.Join(all, " ")
}

// runClient runs a Client until stop, which waits for its end.
func runClient(t *testing.T, client *fdsclient.Client, h delivery.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func publish(t *testing.T, p *fdstest.Provider, o fdstest.Owner, payload string) {
	t.Helper()
	if err := p.Publish(t.Context(), o, []string{"devices", "status"}, []byte(payload), 1, false); err != nil {
		t.Fatal(err)
	}
}

func TestRunConnectsOwnersAsTheyComeAndGo(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	all := p.Owners()
	first := signIn(t, client, p, all[0])[0]
	var box inbox
	stop := runClient(t, client, box.handle)
	connected := func(o fdstest.Owner) func() bool {
		return func() bool { return len(p.Subscriber(o).Subscriptions) > 0 }
	}
	eventually(t, "the stored owner connected", connected(all[0]))

	signIn(t, client, p, all[1])
	eventually(t, "the owner who signed in meanwhile connected", connected(all[1]))
	publish(t, p, all[0], `1`)
	publish(t, p, all[1], `2`)
	publish(t, p, all[0], `3`)
	eventually(t, "each message at its owner", func() bool {
		return box.payloads(all[0].SubscriptionID) == "1 3" && box.payloads(all[1].SubscriptionID) == "2"
	})

	if err := first.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := p.Subscriber(all[0]); s.Connected || s.Session {
		t.Errorf("after the sign-out: connected %v, session kept %v", s.Connected, s.Session)
	}
	publish(t, p, all[1], `4`)
	eventually(t, "the other owner goes on", func() bool { return box.payloads(all[1].SubscriptionID) == "2 4" })

	stop()
	if s := p.Subscriber(all[1]); s.Connected || !s.Session {
		t.Errorf("after the run: connected %v, session kept %v", s.Connected, s.Session)
	}
	publish(t, p, all[1], `5`)
	client2 := open(t, cfg)
	runClient(t, client2, box.handle)
	eventually(t, "what came meanwhile", func() bool { return box.payloads(all[1].SubscriptionID) == "2 4 5" })
}

func TestALapsedOwnerIsReportedAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fdsclient.LookAgainAfter(t, time.Second)
		p := start(t, fdstest.Options{AccessTokenLifetime: 2 * time.Second})
		cfg := configure(t, p)
		seen := &hooks{}
		cfg.Hooks = []any{seen}
		client := open(t, cfg)
		all := p.Owners()
		signIn(t, client, p, all[0])
		signIn(t, client, p, all[1])
		var box inbox
		runClient(t, client, box.handle)
		if p.RevokeGrants(all[0]) == 0 {
			t.Fatal("nothing was revoked")
		}
		eventually(t, "the lapsed owner reported", func() bool { return seen.count(func() int { return len(seen.needed) }) == 1 })
		event := seen.needed[0]
		if len(event.Owners) != 1 || event.Owners[0].SubscriptionID != all[0].SubscriptionID || !errors.Is(event.Err, fds.ErrSignInRequired) {
			t.Errorf("event %+v", event)
		}
		eventually(t, "the other owner connected", func() bool { return len(p.Subscriber(all[1]).Subscriptions) > 0 })
		publish(t, p, all[1], `1`)
		eventually(t, "the other owner's message", func() bool { return box.payloads(all[1].SubscriptionID) == "1" })
	})
}

func TestFiltersOfAnEarlierRunAreUnsubscribed(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	folder, err := statestore.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = folder
	cfg.Push.Topics = []string{"devices/#", "spaces/#"}
	client := open(t, cfg)
	signIn(t, client, p)
	owner := p.Owners()[0]
	stop := runClient(t, client, (&inbox{}).handle)
	eventually(t, "two filters", func() bool { return len(p.Subscriber(owner).Subscriptions) == 2 })
	stop()

	cfg.Push.Topics = []string{"spaces/#"}
	runClient(t, open(t, cfg), (&inbox{}).handle)
	eventually(t, "the filter that is no longer wanted gone", func() bool {
		got := p.Subscriber(owner).Subscriptions
		return len(got) == 1 && got[0] == owner.Topic("spaces", "#")
	})
}

func TestARunForNamedOwnersConnectsNoOthers(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	all := p.Owners()
	signIn(t, client, p, all[0])
	chosen := signIn(t, client, p, all[1])[0]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- client.RunOwners(ctx, []fds.OwnerKey{chosen.Key()}, (&inbox{}).handle) }()
	eventually(t, "the named owner connected", func() bool { return len(p.Subscriber(all[1]).Subscriptions) > 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := p.Subscriber(all[0]).Connects; n != 0 {
		t.Errorf("another owner connected %d times", n)
	}
}

func TestRunSaysWhatItLacks(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, change := range map[string]func(*fdsclient.Config){
		"BrokerURL":    func(c *fdsclient.Config) { c.Provider.BrokerURL = "" },
		"Certificates": func(c *fdsclient.Config) { c.Certificates = nil },
	} {
		cfg := configure(t, p)
		change(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := open(t, cfg).Run(ctx, (&inbox{}).handle)
		cancel()
		if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// countedLists counts how often a store is listed.
type countedLists struct {
	tokenstore.Store
	n atomic.Int64
}

func (s *countedLists) List(ctx context.Context) iter.Seq2[tokenstore.Entry, error] {
	s.n.Add(1)
	return s.Store.List(ctx)
}

func TestRunTakesAnOwnerInAndOutWithoutALookAtAllOthers(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	store := &countedLists{Store: cfg.Store}
	cfg.Store = store
	cfg.Rescan = time.Hour
	client := open(t, cfg)
	runClient(t, client, func(context.Context, delivery.Message) error { return nil })
	eventually(t, "a first look", func() bool { return store.n.Load() > 0 })
	o := p.Owners()[0]
	for range 3 {
		before := store.n.Load()
		owner := signIn(t, client, p, o)[0]
		eventually(t, "connected", func() bool { return owner.Connection().Phase == push.Connected })
		if n := store.n.Load() - before; n > 1 {
			t.Errorf("the store was listed %d times for a sign-in, which itself needs one", n)
		}
		before = store.n.Load()
		if again, err := client.Owner(t.Context(), owner.Key().SubscriptionID); again != owner || err != nil {
			t.Errorf("Owner gives %v, %v", again, err)
		}
		if err := owner.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.Subscriber(o).Session || owner.Connection().Phase != push.Stopped {
			t.Errorf("after the sign-out: %+v, %s", p.Subscriber(o), owner.Connection().Phase)
		}
		if n := store.n.Load() - before; n > 0 {
			t.Errorf("the store was listed %d times for a sign-out", n)
		}
		if _, err := client.Owner(t.Context(), owner.Key().SubscriptionID); !errors.Is(err, fds.ErrNoOwner) {
			t.Errorf("Owner gives %v after the sign-out", err)
		}
	}
}

func TestASignInWhileTheSignOutWaitsForTheHandlerIsNotUndone(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	owner := signIn(t, client, p)[0]
	o := p.Owners()[0]
	working, goOn := make(chan struct{}, 1), make(chan struct{})
	var box inbox
	runClient(t, client, func(ctx context.Context, m delivery.Message) error {
		if string(m.Payload) == `"first"` {
			working <- struct{}{}
			<-goOn
		}
		return box.handle(ctx, m)
	})
	subscribed(t, p, o)
	publish(t, p, o, `"first"`)
	<-working
	gone := make(chan error, 1)
	go func() { gone <- owner.SignOut(t.Context()) }()
	eventually(t, "signed out", func() bool { return owner.Connection().Phase == push.Stopped })
	again := signIn(t, client, p)[0]
	next := signIn(t, client, p, p.Owners()[1])[0]
	eventually(t, "the next owner connected", func() bool { return next.Connection().Phase == push.Connected })
	if phase := again.Connection().Phase; phase != push.Stopped {
		t.Errorf("it is %s while the connection of before is being ended", phase)
	}
	close(goOn)
	if err := <-gone; err != nil {
		t.Error(err)
	}
	eventually(t, "connected", func() bool { return again.Connection().Phase == push.Connected })
	publish(t, p, o, `"second"`)
	eventually(t, "the second message", func() bool { return strings.HasSuffix(box.payloads(again.Key().SubscriptionID), `"second"`) })
	if state, err := remembered(t, cfg, again.Key()); err != nil || len(state.Filters) == 0 {
		t.Errorf("the state is %+v, %v", state, err)
	}
}
