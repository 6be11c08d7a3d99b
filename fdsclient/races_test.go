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
	"github.com/fds-sdk/fds-go/tokenstore"
)

// staged is a store whose calls a test can hold up. Each hook is called once.
type staged struct {
	tokenstore.Store
	loaded   atomic.Pointer[func()] // after a Load, before it returns
	unlocked atomic.Pointer[func()] // after a Release, before it returns
	list     atomic.Pointer[func(iter.Seq2[tokenstore.Entry, error]) iter.Seq2[tokenstore.Entry, error]]
}

func once(hook *atomic.Pointer[func()]) {
	if f := hook.Swap(nil); f != nil {
		(*f)()
	}
}

func (s *staged) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	g, err := s.Store.Load(ctx, key)
	once(&s.loaded)
	return g, err
}

func (s *staged) Lock(ctx context.Context, key tokenstore.Key) (tokenstore.Lease, error) {
	lease, err := s.Store.Lock(ctx, key)
	if err != nil {
		return nil, err
	}
	return &stagedLease{lease, s}, nil
}

type stagedLease struct {
	tokenstore.Lease
	store *staged
}

func (l *stagedLease) Release() {
	l.Lease.Release()
	once(&l.store.unlocked)
}

func (s *staged) List(ctx context.Context) iter.Seq2[tokenstore.Entry, error] {
	all := s.Store.List(ctx)
	if f := s.list.Load(); f != nil {
		return (*f)(all)
	}
	return all
}

// held returns a hook that says when it was reached and waits to be released.
func held() (hook *func(), reached, release chan struct{}) {
	reached, release = make(chan struct{}), make(chan struct{})
	f := func() {
		close(reached)
		<-release
	}
	return &f, reached, release
}

func TestARenewalUnderWayDoesNotUndoASignOut(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	signIn(t, open(t, cfg), p)
	store := &staged{Store: cfg.Store}
	cfg.Store = store
	_, owner := restart(t, cfg)

	hook, reached, release := held()
	store.loaded.Store(hook)
	var caller sync.WaitGroup
	caller.Go(func() { _, _ = owner.Token(t.Context()) }) // reads the grant that is about to go
	<-reached
	if err := owner.SignOut(t.Context()); err != nil {
		t.Error(err)
	}
	close(release)
	caller.Wait()
	if tok, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrNoOwner) {
		t.Errorf("after the sign-out: %v, %v", tok, err)
	}
}

func TestARenewalUnderWayDoesNotUndoASignIn(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	signIn(t, open(t, cfg), p)
	if p.RevokeGrants(p.Owners()[0]) == 0 {
		t.Fatal("nothing was revoked")
	}
	expire(t, cfg.Store)
	store := &staged{Store: cfg.Store}
	cfg.Store = store
	seen := &hooks{}
	cfg.Hooks = []any{seen}
	client, owner := restart(t, cfg)

	hook, reached, release := held()
	store.unlocked.Store(hook)
	var caller sync.WaitGroup
	caller.Go(func() {
		if _, err := owner.Token(t.Context()); err != nil {
			t.Errorf("a caller who waited while the user signed in: %v", err)
		}
	})
	<-reached // the server has said invalid_grant of the old one
	signIn(t, client, p)
	close(release)
	caller.Wait()
	if tok, err := owner.Token(t.Context()); err != nil || tok.Reveal() != stored(t, store).AccessToken.Reveal() {
		t.Errorf("after the new sign-in: %v, %v", tok, err)
	}
	if n := seen.count(func() int { return len(seen.needed) }); n != 0 {
		t.Errorf("a sign-in was asked for %d times after one was made", n)
	}
}

func TestTwoSignInsOfOneOwnerAtOnceLeaveOneGrant(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	store := &staged{Store: cfg.Store}
	cfg.Store = store
	// Each listing waits a while for another that would see the same.
	both := make(chan struct{})
	slow := func(all iter.Seq2[tokenstore.Entry, error]) iter.Seq2[tokenstore.Entry, error] {
		return func(yield func(tokenstore.Entry, error) bool) {
			all(yield)
			select {
			case both <- struct{}{}:
			case <-both:
			case <-time.After(300 * time.Millisecond):
			}
		}
	}
	store.list.Store(&slow)
	var people sync.WaitGroup
	for range 2 { // as in two processes
		client := open(t, cfg)
		people.Go(func() { signIn(t, client, p) })
	}
	people.Wait()
	store.list.Store(nil)
	stored(t, store)
}

func TestWhoCannotBeListedIsNotTakenForSignedOut(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	store := &staged{Store: cfg.Store}
	cfg.Store, cfg.Rescan = store, 20*time.Millisecond
	client := open(t, cfg)
	signIn(t, client, p)
	runClient(t, client, (&inbox{}).handle)
	owner := p.Owners()[0]
	eventually(t, "the owner connected", func() bool { return len(p.Subscriber(owner).Subscriptions) > 0 })
	for name, c := range map[string]struct {
		fault error
		fails bool // of Owners
	}{
		"a damaged record without a name":       {&tokenstore.Error{Op: "list grant", Class: fds.ErrCorrupt}, false},
		"a damaged index":                       {&tokenstore.Error{Op: "list", Class: fds.ErrStoreUnavailable, Err: fds.ErrCorrupt}, true},
		"a store of someone's own that says so": {errors.New("connection lost"), true},
	} {
		t.Run(name, func(t *testing.T) {
			var listings atomic.Int64
			broken := func(iter.Seq2[tokenstore.Entry, error]) iter.Seq2[tokenstore.Entry, error] {
				return func(yield func(tokenstore.Entry, error) bool) {
					listings.Add(1)
					yield(tokenstore.Entry{}, c.fault)
				}
			}
			store.list.Store(&broken)
			defer store.list.Store(nil)
			if owners, err := client.Owners(t.Context()); (err != nil) != c.fails || (err != nil && !errors.Is(err, c.fault)) {
				t.Errorf("Owners gave %v, %v", owners, err)
			}
			eventually(t, "some listings", func() bool { return listings.Load() > 4 })
			if s := p.Subscriber(owner); !s.Connected || !s.Session || s.Connects != 1 {
				t.Errorf("connected %v, session kept %v, %d connects", s.Connected, s.Session, s.Connects)
			}
		})
	}
}

func TestAHandlerMaySignItsOwnerOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		client := open(t, cfg)
		owner := signIn(t, client, p)[0]
		results := make(chan error, 1)
		var first sync.Once
		runClient(t, client, func(ctx context.Context, m delivery.Message) error {
			first.Do(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 300*time.Millisecond)
				defer cancel()
				results <- owner.SignOut(ctx)
			})
			return nil
		})
		box := p.Owners()[0]
		eventually(t, "the owner connected", func() bool { return len(p.Subscriber(box).Subscriptions) > 0 })
		publish(t, p, box, `1`)
		select {
		case err := <-results:
			var result *fdsclient.SignOutError
			if !errors.As(err, &result) || !result.Revoked || !result.Deleted {
				t.Errorf("error %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the handler waits for its own end")
		}
		if owners, err := client.Owners(t.Context()); err != nil || len(owners) != 0 {
			t.Errorf("still signed in: %v, %v", owners, err)
		}
	})
}

func TestAGrantIsKeptThoughTheUserLeavesAfterTheExchange(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	store := &staged{Store: cfg.Store}
	cfg.Store = store
	client := open(t, cfg)
	attempt, callback := begun(t, client, p)
	ctx, cancel := context.WithCancel(t.Context())
	leave := func(all iter.Seq2[tokenstore.Entry, error]) iter.Seq2[tokenstore.Entry, error] {
		cancel() // the browser's connection is closed: so ends the request's context
		return all
	}
	store.list.Store(&leave)
	if owners, err := client.FinishSignIn(ctx, attempt, callback); err != nil || len(owners) != 1 || ctx.Err() == nil {
		t.Errorf("%v, %v", owners, err)
	}
	stored(t, cfg.Store)
}

// expiring is a store whose grants come with an access token that has expired, so
// that a client which finds one has to renew it.
type expiring struct{ tokenstore.Store }

func (s expiring) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	g.AccessExpiry = time.Now().Add(-time.Minute)
	return s.Store.Save(ctx, g)
}

// The one client tries again by itself whenever it likes: until the newer grant is
// stored its store must take nothing, and the token of that grant must not serve.
func TestATokenSavedLateDoesNotReplaceANewerGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		store := &watchedStore{Store: cfg.Store}
		cfg.Store = expiring{cfg.Store}
		elsewhere := open(t, cfg)
		signIn(t, elsewhere, p)
		cfg.Store = store
		store.failing.Store(true)
		_, owner := restart(t, cfg)
		if _, err := owner.Token(t.Context()); err == nil {
			t.Fatal("a token was given out that is not saved")
		}
		signIn(t, elsewhere, p)
		newest := stored(t, store)
		store.failing.Store(false)
		eventually(t, "a token of the new grant", func() bool {
			_, err := owner.Token(t.Context())
			return err == nil
		})
		if got := stored(t, store); !got.Created.Equal(newest.Created) || got.RefreshToken.Equal(newest.RefreshToken) {
			t.Error("the token of the grant before has replaced the new one")
		}
	})
}

func TestAttackAnAttemptIsItsApplicationsOwn(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	client := open(t, cfg)
	attempt, callback := begun(t, client, p)
	cfg.Application.ClientID, cfg.Application.ClientSecret = "another", fds.Secret{}
	if _, err := open(t, cfg).FinishSignIn(t.Context(), attempt, callback); !errors.Is(err, fds.ErrForeignRedirect) {
		t.Errorf("another application's attempt: %v", err)
	}
	if n := p.Requests(fdstest.TokenEndpoint); n != 0 {
		t.Errorf("the code was sent %d times for another application", n)
	}
	owners, err := client.FinishSignIn(t.Context(), attempt, callback)
	if err != nil {
		t.Fatal(err)
	}
	// Times are the wall clock's alone: the other stands still while a laptop sleeps.
	if text := token(t, owners[0]).Expiry().String(); strings.Contains(text, " m=") {
		t.Errorf("the expiry %s follows the monotonic clock", text)
	}
}
