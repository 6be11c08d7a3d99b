package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/webhook"
)

// rotate has the issuer sign with another key.
func (s *site) rotate(id string, keep bool) {
	key := newKey(s.t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !keep {
		s.keys = nil
	}
	s.keys, s.key = append(s.keys, public(key, id)), key
}

func (s *site) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

// by has a request carry a token that names its key.
func (s *site) by(id string) func(*http.Request) {
	return bearing(s.token(s.claims(nil), map[string]any{"kid": id}))
}

func TestAKeyThatIsNewIsFetchedForTheFirstWhoNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		s.rotate("two", true)
		if w := s.answer(`{}`, s.by("two")); w.Code != http.StatusOK || s.fetches() != 2 {
			t.Fatal(w.Code, s.fetches(), s.why())
		}
		s.rotate("three", true)
		if w := s.answer(`{}`, s.by("three")); w.Code != http.StatusUnauthorized || s.fetches() != 2 {
			t.Error("another one within 30 s:", w.Code, s.fetches())
		}
		time.Sleep(30 * time.Second)
		if w := s.answer(`{}`, s.by("three")); w.Code != http.StatusOK || s.fetches() != 3 {
			t.Error(w.Code, s.fetches(), s.why())
		}
	})
}

func TestKeysAreFetchedInTheBackgroundAndOldOnesServeOnWhileTheyCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		good := s.keys
		s.mu.Lock()
		s.keys = nil // the issuer is away
		s.mu.Unlock()
		time.Sleep(time.Hour)
		if state := s.receiver.State(); state.KeysErr == nil || s.fetches() < 3 {
			t.Error("nobody noticed:", state, s.fetches())
		}
		if w := s.answer(`{}`); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
		s.mu.Lock()
		s.keys = good
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if state := s.receiver.State(); state.KeysErr != nil {
			t.Error(state.KeysErr)
		}
		// A key that is gone verifies nothing more, also of what was verified before.
		token := s.token(s.claims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}), nil)
		if w := s.answer(`{}`, bearing(token)); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
		s.rotate("two", false)
		time.Sleep(25 * time.Minute)
		if w := s.answer(`{}`, bearing(token)); w.Code != http.StatusUnauthorized {
			t.Error(w.Code)
		}
		if w := s.answer(`{}`, s.by("two")); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
	})
}

func TestWithoutKeysTheSenderIsAskedToComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := atomic.Bool{}
		away.Store(true)
		s := inMemory(t, func(c *webhook.Config) {
			there := c.Keys
			c.Keys = func(ctx context.Context) ([]byte, error) {
				if away.Load() {
					return nil, errors.New("away")
				}
				return there(ctx)
			}
		})
		if w := s.answer(`{}`); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Error(w.Code)
		}
		away.Store(false)
		time.Sleep(10 * time.Second)
		if w := s.answer(`{}`); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
	})
}

func TestWhileTheKeysCannotBeFetchedANewOneIsNotRefused(t *testing.T) {
	for name, hangs := range map[string]bool{"an error": false, "no answer": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var away atomic.Bool
				s := inMemory(t, func(c *webhook.Config) {
					there := c.Keys
					c.Keys = func(ctx context.Context) ([]byte, error) {
						switch {
						case !away.Load():
							return there(ctx)
						case hangs:
							<-ctx.Done()
						}
						return nil, errors.New("away")
					}
				})
				away.Store(true)
				s.rotate("two", true)
				for range 2 { // the second one causes no fetch
					if w := s.answer(`{}`, s.by("two")); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
						t.Error(w.Code, s.why())
					}
					time.Sleep(keysTimeout)
				}
				away.Store(false)
				time.Sleep(2 * keysTimeout)
				if w := s.answer(`{}`, s.by("two")); w.Code != http.StatusOK {
					t.Error(w.Code, s.why())
				}
				if w := s.answer(`{}`, s.by("three")); w.Code != http.StatusUnauthorized {
					t.Error("they can be fetched:", w.Code)
				}
			})
		})
	}
}

const keysTimeout = 30 * time.Second // of a fetch

func TestACallersEndEndsNoFetchThatOthersWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		s := inMemory(t, func(c *webhook.Config) {
			there := c.Keys
			c.Keys = func(ctx context.Context) ([]byte, error) {
				if slow.Load() {
					select {
					case <-time.After(3 * time.Second):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				return there(ctx)
			}
		})
		slow.Store(true)
		s.rotate("two", true)
		ctx, leave := context.WithCancel(t.Context())
		var first sync.WaitGroup
		first.Go(func() { s.answer(`{}`, s.by("two"), func(r *http.Request) { *r = *r.WithContext(ctx) }) })
		synctest.Wait()
		began := time.Now()
		if w := s.answer(`{}`, s.by("two")); w.Code != http.StatusUnauthorized || time.Since(began) != 0 {
			t.Error("everyone else is refused at once:", w.Code, time.Since(began))
		}
		if w := s.answer(`{}`); w.Code != http.StatusUnauthorized { // signed by a key that is not "one"
			t.Error(w.Code)
		}
		leave()
		first.Wait()
		time.Sleep(5 * time.Second)
		if w := s.answer(`{}`, s.by("two")); w.Code != http.StatusOK || s.fetches() != 2 {
			t.Error("the fetch ended with its caller:", w.Code, s.fetches())
		}
	})
}

func TestTheSameTokenIsVerifiedOnceAndItsExpiryLookedAtEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		token := s.token(s.claims(map[string]any{"exp": time.Now().Add(time.Minute).Unix()}), nil)
		for range 3 {
			if w := s.answer(`{}`, bearing(token)); w.Code != http.StatusOK {
				t.Error(w.Code, s.why())
			}
		}
		time.Sleep(2*time.Minute - time.Second) // with the skew that is allowed
		if w := s.answer(`{}`, bearing(token)); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
		time.Sleep(2 * time.Second)
		if w := s.answer(`{}`, bearing(token)); w.Code != http.StatusUnauthorized {
			t.Error(w.Code)
		}
	})
}

func TestWhoComesDuringTheFirstFetchWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newReceiver(t, func(c *webhook.Config) {
			there := c.Keys
			c.Keys = func(ctx context.Context) ([]byte, error) {
				time.Sleep(3 * time.Second)
				return there(ctx)
			}
		})
		defer s.receiver.Close()
		began := time.Now()
		if w := s.answer(`{}`); w.Code != http.StatusOK || time.Since(began) != 3*time.Second {
			t.Error(w.Code, time.Since(began), s.why())
		}
	})
}

func TestAKeyWithoutIDIsTriedForATokenThatNamesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		become := func(keys ...jose.JSONWebKey) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.keys = keys
		}
		become(public(s.key, ""))
		time.Sleep(time.Hour) // until they are fetched anew
		if w := s.answer(`{"n":1}`); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
		var many []jose.JSONWebKey
		for range 20 {
			many = append(many, public(newKey(t), ""))
		}
		become(append(many, public(s.key, "one"))...)
		time.Sleep(time.Hour)
		if w := s.answer(`{"n":2}`); w.Code != http.StatusOK {
			t.Error("the key of that ID comes last:", w.Code, s.why())
		}
	})
}
