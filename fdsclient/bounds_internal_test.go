package fdsclient

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func TestAttackMessagesOfALongLifeAreRememberedInBoundedMemory(t *testing.T) {
	var r recent
	for i := range uint64(50_000) {
		r.add(digests{what: i, of: i}, recentMost)
		if len(r.entries) > recentMost*5/4+1 {
			t.Fatalf("%d messages are remembered while a gap is open", len(r.entries))
		}
	}
	for i := range uint64(50_000) {
		r.add(digests{what: i, of: i}, recentUsual)
		if len(r.entries) > recentUsual*5/4+1 || i > 0 && cap(r.entries) > 2*recentUsual+recentUsual/2 {
			t.Fatalf("%d messages are remembered, with room for %d", len(r.entries), cap(r.entries))
		}
	}
	for i := range uint64(recentUsual) {
		if !r.holds(digests{what: 49_999 - i}) {
			t.Fatalf("the message %d before the last is forgotten", i)
		}
	}
}

// countedState takes a second for each save, and counts those under way.
type countedState struct {
	MemoryState
	mu              sync.Mutex
	now, most, done int
}

func (s *countedState) Save(ctx context.Context, owner fds.OwnerKey, state OwnerState) error {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now--
	s.done++
	s.mu.Unlock()
	return s.MemoryState.Save(ctx, owner, state)
}

func TestAttackASlowStoreIsGivenFewPositionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 200
		store := new(countedState)
		client := gapClient(t, func(cfg *Config) { cfg.State = store })
		var all []*follower
		for range owners {
			f := followed(t, client, new(webAPI), nil)
			defer f.stop()
			all = append(all, f)
		}
		store.mu.Lock()
		store.most, store.done = 0, 0
		store.mu.Unlock()
		for _, f := range all { // a moment apart, so that none is a batch of its own
			time.Sleep(50 * time.Millisecond)
			f.mu.Lock()
			f.reached = f.position.Add(time.Hour)
			f.mu.Unlock()
			f.acknowledged(delivery.Message{})
		}
		time.Sleep(time.Minute)
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.most > positionSaves || store.done < owners {
			t.Errorf("%d positions of %d were stored, %d at once", store.done, owners, store.most)
		}
	})
}

// hangingState does nothing, once it hangs, until its context ends.
type hangingState struct {
	MemoryState
	hangs atomic.Bool
}

func (s *hangingState) Save(ctx context.Context, owner fds.OwnerKey, state OwnerState) error {
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.MemoryState.Save(ctx, owner, state)
}

func (s *hangingState) Delete(ctx context.Context, owner fds.OwnerKey) error {
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.MemoryState.Delete(ctx, owner)
}

func TestAttackAStoreThatHangsHoldsUpNoEnd(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *follower){
		"of a run":                       func(_ *testing.T, f *follower) { f.stop() },
		"of an owner who signs out":      func(_ *testing.T, f *follower) { f.stop(); _ = f.forget(context.Background(), true) },
		"of one whose session goes on":   func(_ *testing.T, f *follower) { f.stop(); _ = f.forget(context.Background(), false) },
		"of one whose caller has no end": func(t *testing.T, f *follower) { f.stop(); _ = f.forget(t.Context(), true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(hangingState)
				client := gapClient(t, func(cfg *Config) { cfg.State = store })
				f := followed(t, client, new(webAPI), nil)
				time.Sleep(time.Second)
				f.mu.Lock()
				f.position = f.position.Add(time.Minute)
				f.mu.Unlock()
				store.hangs.Store(true)
				began := time.Now()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					end(t, f)
				}()
				select {
				case <-ended:
				case <-time.After(time.Hour):
					t.Fatal("it never ends")
				}
				if took := time.Since(began); took > 2*lastSaveTimeout+time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestAttackWhoSignedOutIsNotStoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, nil)
		f := followed(t, client, new(webAPI), nil)
		defer f.stop()
		if err := f.forget(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for name, late := range map[string]func() error{
			"a filter":   func() error { return f.saveFilters(t.Context(), []string{"late"}) },
			"a gap":      func() error { _, err := f.openGap(t.Context(), "late"); return err },
			"a position": func() error { f.storePosition(t.Context()); return nil },
		} {
			if err := late(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			state, err := client.state.Load(t.Context(), f.owner.key)
			if err != nil || state.Filters != nil || state.Gap != nil || !state.Position.IsZero() {
				t.Errorf("%s that comes late is stored: %+v, %v", name, state, err)
			}
		}
	})
}

// slowGrants takes a second to load each grant, and counts those under way.
type slowGrants struct {
	tokenstore.Store
	mu              sync.Mutex
	now, most, done int
}

func (s *slowGrants) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now--
	s.done++
	s.mu.Unlock()
	return s.Store.Load(ctx, key)
}

func TestAttackARunOfManyOwnersLooksAtFewGrantsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 200
		store := &slowGrants{Store: tokenstore.OpenMemory()}
		client := gapClient(t, func(cfg *Config) { cfg.Store = store })
		for range owners {
			id := fds.NewSubscriptionID().String()
			if _, err := store.Save(t.Context(), tokenstore.Grant{
				Key: tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID, GrantID: id}, Subscriptions: []string{id},
				AccessToken: NewSecret("a"), RefreshToken: NewSecret("r"), TokenType: "Bearer", AccessExpiry: time.Now().Add(24 * time.Hour), Created: time.Now(), Renewed: time.Now(),
			}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := client.Run(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if store.most > renewalWorkers || store.done < owners {
			t.Errorf("%d grants of %d were looked at, %d at once", store.done, owners, store.most)
		}
	})
}

func TestAfterCloseNothingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := gapClient(t, nil)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := client.Run(ctx, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

// departingState has the owner signed out, by whoever does it, once a run reads what it
// remembers of it.
type departingState struct {
	MemoryState
	depart func()
}

func (s *departingState) Load(ctx context.Context, owner fds.OwnerKey) (OwnerState, error) {
	if s.depart != nil {
		s.depart()
		s.depart = nil
	}
	return s.MemoryState.Load(ctx, owner)
}

func TestAttackWhoSignsOutWhileARunStartsIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state, store := new(departingState), tokenstore.OpenMemory()
		client := pollClient(t, func(cfg *Config) { cfg.State, cfg.Store, cfg.Poll.Interval = state, store, time.Second })
		api := &polledAPI{from: true}
		speakThrough(client, api)
		id := fds.NewSubscriptionID()
		key := tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID, GrantID: id.String()}
		if _, err := store.Save(t.Context(), tokenstore.Grant{
			Key: key, Subscriptions: []string{id.String()}, AccessToken: NewSecret("a"), RefreshToken: NewSecret("r"), TokenType: "Bearer",
			AccessExpiry: time.Now().Add(24 * time.Hour), Created: time.Now(), Renewed: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		state.depart = func() {
			o := client.knownOwner(id)
			if err := store.Delete(t.Context(), key); err != nil || o == nil {
				t.Errorf("owner %v, %v", o, err)
				return
			}
			client.drop(o, o.grant.Load(), errSignedOut)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- client.Run(ctx, new(had).handle) }()
		time.Sleep(client.cfg.Push.Rescan - 5*time.Second) // then it is noticed anyway
		for _, r := range client.runs() {
			r.mu.Lock()
			if len(r.active) > 0 {
				t.Errorf("%d owners who are gone are followed", len(r.active))
			}
			r.mu.Unlock()
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestAttackAHandlerThatHangsHoldsUpNoSignOut: though whoever signs out has all the time
// there is.
func TestAttackAHandlerThatHangsHoldsUpNoSignOut(t *testing.T) {
	for name, end := range map[string]func(c *Client, f *follower, a *connected){
		"here": func(c *Client, f *follower, a *connected) { _ = c.endSession(context.Background(), f.owner, a) },
		"in another process": func(c *Client, f *follower, a *connected) {
			r := &run{client: c}
			r.retire(f.owner.key, a)
			r.work.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := gapClient(t, nil)
				f := followed(t, client, new(webAPI), nil)
				defer f.stop()
				hangs := make(chan struct{})
				defer close(hangs)
				began, ended := time.Now(), make(chan struct{})
				go func() {
					defer close(ended)
					end(client, f, &connected{follower: f, cancel: func() {}, done: hangs})
				}()
				select {
				case <-ended:
				case <-time.After(time.Hour):
					t.Fatal("it never ends")
				}
				if took := time.Since(began); took > sessionEndTimeout+time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// hangingGrants deletes and saves nothing until its context ends.
type hangingGrants struct{ tokenstore.Store }

func (hangingGrants) Delete(ctx context.Context, _ tokenstore.Key) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAttackAStoreThatHangsHoldsUpNoSignOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := tokenstore.OpenMemory()
		client := gapClient(t, func(cfg *Config) { cfg.Store = hangingGrants{store} })
		id := fds.NewSubscriptionID()
		if _, err := store.Save(t.Context(), tokenstore.Grant{
			Key:           tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID, GrantID: id.String()},
			Subscriptions: []string{id.String()}, TokenType: "Bearer", Created: time.Now(), Renewed: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		o, err := client.Owner(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		began, ended := time.Now(), make(chan error, 1)
		go func() { ended <- o.SignOut(context.Background()) }()
		select {
		case err := <-ended:
			var failed *SignOutError
			if !errors.As(err, &failed) || failed.Deleted || time.Since(began) > time.Minute {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		case <-time.After(time.Hour):
			t.Fatal("it never ends")
		}
	})
}

func TestAttackASlowServerIsAskedToRenewFewGrantsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 500
		store := tokenstore.OpenMemory()
		client := gapClient(t, func(cfg *Config) { cfg.Store, cfg.Push.Rescan = store, time.Hour })
		for range owners {
			id := fds.NewSubscriptionID().String()
			if _, err := store.Save(t.Context(), tokenstore.Grant{
				Key:           tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID, GrantID: id},
				Subscriptions: []string{id}, AccessToken: NewSecret("a"), RefreshToken: NewSecret("r"), TokenType: "Bearer",
				AccessExpiry: time.Now().Add(10 * time.Minute), Created: time.Now(), Renewed: time.Now(),
			}); err != nil {
				t.Fatal(err)
			}
		}
		server := &scriptedServer{answerAfter: 10 * time.Second, requests: make(map[int64]int)}
		speakThrough(client, server)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		if err := client.Run(ctx, nil); err != nil {
			t.Fatal(err)
		}
		client.Close()
		if issued, _, top := server.seen(); top > renewalWorkers || top < renewalWorkers/2 || issued < owners {
			t.Errorf("%d of %d grants were renewed, %d at once", issued, owners, top)
		}
	})
}

// TestAttackAnAnswerThatNobodyAskedForRenewsNothing: not even a transport of one's own
// may end a program.
func TestAttackAnAnswerThatNobodyAskedForRenewsNothing(t *testing.T) {
	retry, err := bearer{}.Challenged(t.Context(), &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}})
	if retry || err != nil {
		t.Errorf("again %v, %v", retry, err)
	}
}

// TestAttackTheWordsOfAServerForgeNoLine: they are quoted where they are shown.
func TestAttackTheWordsOfAServerForgeNoLine(t *testing.T) {
	err := &OAuthError{Endpoint: "token", Code: "invalid_client", Description: "line\nforged \x1b[31m\u009b\u202e"}
	if text := err.Error(); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.Contains(text, `line\nforged`) {
		t.Errorf("%q", text)
	}
}

// TestAttackAGrantOfAnotherProviderOrApplicationIsNotTaken: several share a store.
func TestAttackAGrantOfAnotherProviderOrApplicationIsNotTaken(t *testing.T) {
	store := tokenstore.OpenMemory()
	client := gapClient(t, func(cfg *Config) { cfg.Store = store })
	own := tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID}
	ids := make(map[string]fds.SubscriptionID)
	for name, key := range map[string]tokenstore.Key{
		"own":                       own,
		"another provider's":        {Issuer: "https://other.example", ClientID: own.ClientID},
		"another application's":     {Issuer: own.Issuer, ClientID: "other"},
		"one with a longer issuer":  {Issuer: own.Issuer + "/", ClientID: own.ClientID},
		"one in upper case":         {Issuer: strings.ToUpper(own.Issuer), ClientID: strings.ToUpper(own.ClientID)},
		"another's of both of them": {Issuer: "https://other.example", ClientID: "other"},
	} {
		ids[name] = fds.NewSubscriptionID()
		key.GrantID = ids[name].String()
		if _, err := store.Save(t.Context(), tokenstore.Grant{
			Key: key, Subscriptions: []string{ids[name].String()}, AccessToken: NewSecret("a"), RefreshToken: NewSecret("r"), TokenType: "Bearer",
			AccessExpiry: time.Now().Add(time.Hour), Created: time.Now(), Renewed: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
	}
	owners, err := client.Owners(t.Context())
	if err != nil || len(owners) != 1 || owners[0].Key().SubscriptionID != ids["own"] {
		t.Errorf("owners %v, %v", owners, err)
	}
	for name, id := range ids {
		o, err := client.Owner(t.Context(), id)
		if name == "own" && err != nil || name != "own" && !errors.Is(err, ErrNoOwner) {
			t.Errorf("%s: %v, %v", name, o, err)
		}
	}
}
