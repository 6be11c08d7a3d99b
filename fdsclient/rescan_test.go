package fdsclient_test

import (
	"context"
	"errors"
	"iter"
	"slices"
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

// rescanned returns a Client that lists the store so often, and another one, whose
// listings the store does not hold up.
func rescanned(t *testing.T, p *fdstest.Provider, every time.Duration) (client, other *fdsclient.Client, store *staged) {
	t.Helper()
	cfg := configure(t, p)
	other = open(t, cfg)
	store = &staged{Store: cfg.Store}
	cfg.Store, cfg.Rescan = store, every
	return open(t, cfg), other, store
}

// listings counts those of a staged store, and holds one up: when it has
// given as many entries as before says, and not read the next.
type listings struct {
	n             atomic.Int64
	before        int
	held          atomic.Bool
	reached, goOn chan struct{}
	release       func()
}

func holdListing(t *testing.T, store *staged, before int) *listings {
	l := &listings{before: before, reached: make(chan struct{}), goOn: make(chan struct{})}
	l.release = sync.OnceFunc(func() { close(l.goOn) })
	t.Cleanup(l.release)
	hook := func(all iter.Seq2[tokenstore.Entry, error]) iter.Seq2[tokenstore.Entry, error] {
		return func(yield func(tokenstore.Entry, error) bool) {
			l.n.Add(1)
			given := 0
			l.hold(given)
			for e, err := range all {
				if !yield(e, err) {
					return
				}
				given++
				l.hold(given)
			}
		}
	}
	store.list.Store(&hook)
	return l
}

func (l *listings) hold(given int) {
	if given == l.before && l.held.CompareAndSwap(false, true) {
		close(l.reached)
		<-l.goOn
	}
}

// pass waits until that many more have begun.
func (l *listings) pass(t *testing.T, more int64) {
	t.Helper()
	end := l.n.Load() + more
	eventually(t, "the store listed again", func() bool { return l.n.Load() >= end })
}

// deletions keeps whose state was deleted.
type deletions struct {
	statestore.Store
	mu     sync.Mutex
	owners []fds.SubscriptionID
}

func (d *deletions) Delete(ctx context.Context, key statestore.Key, revision string) error {
	d.mu.Lock()
	d.owners = append(d.owners, key.Owner.SubscriptionID)
	d.mu.Unlock()
	return d.Store.Delete(ctx, key, revision)
}

func (d *deletions) of(id fds.SubscriptionID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.owners, id)
}

// The listing of a folder does not show a grant that is stored during it, and not
// the one that it replaces any more.
func TestAnOwnerWhoSignsInDuringAListingIsNotRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		folder, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: t.TempDir(), Identity: fds.NewSecret(newIdentity(t))})
		if err != nil {
			t.Fatal(err)
		}
		store, state := &staged{Store: folder}, &deletions{Store: cfg.State}
		cfg.Store, cfg.State, cfg.Rescan = store, state, 100*time.Millisecond
		client := open(t, cfg)
		o := p.Owners()
		signIn(t, client, p, o[0])
		signIn(t, client, p, o[1])
		var order []string
		for e, err := range folder.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, e.Subscriptions...)
		}
		last, other := o[0], o[2]
		if order[1] == o[1].Spelling {
			last = o[1]
		}
		var box inbox
		var ready atomic.Bool
		runClient(t, client, func(ctx context.Context, m delivery.Message) error {
			if !ready.Load() {
				return errors.New("the database is down")
			}
			return box.handle(ctx, m)
		})
		subscribed(t, p, o[0])
		subscribed(t, p, o[1])

		listed := holdListing(t, store, 1)
		<-listed.reached
		publish(t, p, last, `"waiting"`)
		signIn(t, client, p, last, other)
		listed.release()
		subscribed(t, p, other)
		listed.pass(t, 3)
		ready.Store(true)
		eventually(t, "what had come before", func() bool { return box.payloads(last.SubscriptionID) == `"waiting"` })
		for _, owner := range o {
			if state.of(owner.SubscriptionID) {
				t.Errorf("the state of %s was deleted, who never signed out", owner.Spelling)
			}
		}
	})
}

func TestAnOwnerWhoSignsOutDuringAListingIsNotConnectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		client, elsewhere, store := rescanned(t, p, 300*time.Millisecond)
		o, next := p.Owners()[0], p.Owners()[1]
		owner := signIn(t, client, p, o)[0]
		var box inbox
		runClient(t, client, box.handle)
		subscribed(t, p, o)

		listed := holdListing(t, store, 1)
		<-listed.reached
		if err := owner.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := p.Subscriber(o)
		if before.Connected || before.Session {
			t.Fatalf("after the sign-out %+v", before)
		}
		signIn(t, elsewhere, p, next)
		listed.release()
		subscribed(t, p, next) // found by the listing after that one
		if s := p.Subscriber(o); s.Connects != before.Connects || s.Connected || s.Session {
			t.Errorf("who signed out was connected %d times, and is: %+v", s.Connects-before.Connects, s)
		}
		owners, err := client.Owners(t.Context())
		if err != nil || len(owners) != 1 || owners[0].Key().SubscriptionID != next.SubscriptionID {
			t.Errorf("signed in: %v, %v", owners, err)
		}
		if phase := owner.Connection().Phase; phase != push.Stopped {
			t.Errorf("who signed out is %s", phase)
		}
	})
}

func TestAnOwnerSignedOutAndInByAnotherProcessIsConnectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		elsewhere, store := open(t, cfg), &staged{Store: cfg.Store} // with one state, by which the sign-out ends the session
		cfg.Store, cfg.Rescan = store, 100*time.Millisecond
		worker := open(t, cfg)
		signIn(t, elsewhere, p)
		o := p.Owners()[0]
		var box inbox
		runClient(t, worker, box.handle)
		subscribed(t, p, o)
		owner, err := worker.Owner(t.Context(), o.SubscriptionID)
		if err != nil {
			t.Fatal(err)
		}

		listed := holdListing(t, store, 0) // so that no listing comes between
		<-listed.reached
		there, err := elsewhere.Owner(t.Context(), o.SubscriptionID)
		if err != nil {
			t.Fatal(err)
		}
		if err := there.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		signIn(t, elsewhere, p)
		eventually(t, "ended", func() bool { return owner.Connection().Phase != push.Connected })
		listed.release()
		eventually(t, "connected again", func() bool { return owner.Connection().Phase == push.Connected })
		publish(t, p, o, `1`)
		eventually(t, "a message", func() bool { return box.payloads(o.SubscriptionID) == `1` })
	})
}

func TestAConnectionThatWasTakenOverIsStartedAgainByASignInAlone(t *testing.T) {
	for name, by := range map[string]func(here, elsewhere *fdsclient.Client) *fdsclient.Client{
		"here":      func(here, _ *fdsclient.Client) *fdsclient.Client { return here },
		"elsewhere": func(_, elsewhere *fdsclient.Client) *fdsclient.Client { return elsewhere },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				client, _, store := rescanned(t, p, 50*time.Millisecond)
				elsewhere := configure(t, p)
				elsewhere.Store = store.Store // of another machine, whose claims nobody sees here
				other := open(t, elsewhere)
				owner := signIn(t, client, p)[0]
				o := p.Owners()[0]
				var box inbox
				runClient(t, client, box.handle)
				subscribed(t, p, o)
				stop := runClient(t, other, box.handle)
				eventually(t, "taken over", func() bool { return owner.Connection().Phase == push.TakenOver })
				stop()

				listed := holdListing(t, store, 0)
				listed.release()
				listed.pass(t, 5)
				if s := owner.Connection(); s.Phase != push.TakenOver || !errors.Is(s.Err, fds.ErrTakenOver) {
					t.Errorf("the other process may be at work again, and it is %+v", s)
				}
				connects := p.Subscriber(o).Connects
				signIn(t, by(client, other), p)
				eventually(t, "connected again", func() bool { return owner.Connection().Phase == push.Connected })
				publish(t, p, o, `1`)
				eventually(t, "a message", func() bool { return box.payloads(o.SubscriptionID) == `1` })
				if n := p.Subscriber(o).Connects - connects; n != 1 {
					t.Errorf("%d connects for one sign-in", n)
				}
			})
		})
	}
}

// TestASignOutElsewhereIsToldThoughItTookTheConnectionOverFirst: it ends the broker's
// session in the owner's name, which looks like another process at work.
func TestASignOutElsewhereIsToldThoughItTookTheConnectionOverFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		client, _, store := rescanned(t, p, 50*time.Millisecond)
		elsewhere := configure(t, p)
		elsewhere.Store = store.Store
		other := open(t, elsewhere)
		owner := signIn(t, client, p)[0]
		var box inbox
		runClient(t, client, box.handle)
		subscribed(t, p, p.Owners()[0])
		stop := runClient(t, other, box.handle) // so that it knows of a session
		eventually(t, "taken over", func() bool { return owner.Connection().Phase == push.TakenOver })
		stop()
		there, err := other.Owner(t.Context(), owner.Key().SubscriptionID)
		if err != nil {
			t.Fatal(err)
		}
		if err := there.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "told", func() bool {
			s := owner.Connection()
			return s.Phase == push.Stopped && errors.Is(s.Err, fds.ErrNoOwner)
		})
	})
}

func TestASignOutElsewhereIsToldAtOnceInThePlaceOfATakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		elsewhere, told := open(t, cfg), make(stateHook, 100) // with one state, by which the sign-out ends the session
		cfg.Hooks = []any{told}
		worker := open(t, cfg)
		signIn(t, elsewhere, p)
		o := p.Owners()[0]
		runClient(t, worker, (&inbox{}).handle)
		subscribed(t, p, o)
		there, err := elsewhere.Owner(t.Context(), o.SubscriptionID)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := there.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // in which it looks for owners that have gone
		ends := 0
		for len(told) > 0 {
			switch s := <-told; {
			case s.Err == nil:
			case s.Phase == push.Stopped && errors.Is(s.Err, fds.ErrNoOwner) && s.Since.Sub(began) < 10*time.Second:
				ends++
			default:
				t.Errorf("told of %+v", s)
			}
		}
		if ends != 1 || p.Subscriber(o).Session {
			t.Errorf("its end was told %d times; the broker has %+v", ends, p.Subscriber(o))
		}
	})
}
