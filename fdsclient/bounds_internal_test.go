package fdsclient

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

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
				AccessToken: fds.NewSecret("a"), RefreshToken: fds.NewSecret("r"), TokenType: "Bearer", AccessExpiry: time.Now().Add(24 * time.Hour), Created: time.Now(), Renewed: time.Now(),
			}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := client.Run(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if store.most > grants.Workers || store.done < owners {
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
		if err := client.Run(ctx, nil); !errors.Is(err, fds.ErrClientClosed) {
			t.Errorf("error %v", err)
		}
	})
}

// departingState has the owner signed out, by whoever does it, once a run reads what it
// remembers of it.
type departingState struct {
	statestore.Memory
	depart func()
}

func (s *departingState) Load(ctx context.Context, key statestore.Key) (statestore.Record, error) {
	if s.depart != nil {
		s.depart()
		s.depart = nil
	}
	return s.Memory.Load(ctx, key)
}

func TestAttackWhoSignsOutWhileARunStartsIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state, store := new(departingState), tokenstore.OpenMemory()
		client := pollClient(t, func(cfg *Config) { cfg.State, cfg.Store, cfg.Poll.Interval = state, store, time.Second })
		speakThrough(client, webAPI{})
		id := fds.NewSubscriptionID()
		key := tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID, GrantID: id.String()}
		if _, err := store.Save(t.Context(), tokenstore.Grant{
			Key: key, Subscriptions: []string{id.String()}, AccessToken: fds.NewSecret("a"), RefreshToken: fds.NewSecret("r"), TokenType: "Bearer",
			AccessExpiry: time.Now().Add(24 * time.Hour), Created: time.Now(), Renewed: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		state.depart = func() {
			o := client.known.owner(client.key(id))
			if err := store.Delete(t.Context(), key); err != nil || o == nil {
				t.Errorf("owner %v, %v", o, err)
				return
			}
			client.known.drop(o, o.grant.Load(), grants.ErrSignedOut)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- client.Run(ctx, func(context.Context, delivery.Message) error { return nil }) }()
		time.Sleep(client.cfg.Rescan - 5*time.Second) // then it is noticed anyway
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
	for name, end := range map[string]func(c *Client, o *Owner, a *connected){
		"here": func(c *Client, o *Owner, a *connected) { _ = c.endSession(context.Background(), o, a) },
		"in another process": func(c *Client, o *Owner, a *connected) {
			r := &run{client: c}
			r.ownerGone(o.key, a, grants.ErrSignedOut)
			r.work.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := gapClient(t, nil)
				o := ownerWith(t, client, webAPI{})
				f := followed(t, client, o, nil)
				defer f.Stop()
				hangs := make(chan struct{})
				defer close(hangs)
				began, ended := time.Now(), make(chan struct{})
				go func() {
					defer close(ended)
					end(client, o, &connected{follower: f, done: hangs})
				}()
				select {
				case <-ended:
				case <-time.After(time.Hour):
					t.Fatal("it never ends")
				}
				if took := time.Since(began); took > client.sessionEndTimeout()+time.Second {
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
		client := gapClient(t, func(cfg *Config) { cfg.Store, cfg.Rescan = store, time.Hour })
		for range owners {
			id := fds.NewSubscriptionID().String()
			if _, err := store.Save(t.Context(), tokenstore.Grant{
				Key:           tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID, GrantID: id},
				Subscriptions: []string{id}, AccessToken: fds.NewSecret("a"), RefreshToken: fds.NewSecret("r"), TokenType: "Bearer",
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
		if issued, _, top := server.seen(); top > grants.Workers || top < grants.Workers/2 || issued < owners {
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
			Key: key, Subscriptions: []string{ids[name].String()}, AccessToken: fds.NewSecret("a"), RefreshToken: fds.NewSecret("r"), TokenType: "Bearer",
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
		if name == "own" && err != nil || name != "own" && !errors.Is(err, fds.ErrNoOwner) {
			t.Errorf("%s: %v, %v", name, o, err)
		}
	}
}

func TestAHandlerHasItsDrainTimeWhenAnOwnerSignsOut(t *testing.T) {
	client := gapClient(t, func(cfg *Config) { cfg.Push.DrainTimeout = time.Minute })
	if wait := client.sessionEndTimeout(); wait <= time.Minute {
		t.Errorf("the session's end is waited for %v", wait)
	}
}
