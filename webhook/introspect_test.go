package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

// introspecting is a site whose issuer is asked about tokens.
func introspecting(t *testing.T, answer func(token string) (map[string]any, error)) (s *site, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	s = inMemory(t, func(c *webhook.Config) {
		c.Introspection, c.Keys = true, nil
		c.Introspect = func(_ context.Context, token fds.Secret) ([]byte, error) {
			asked.Add(1)
			claims, err := answer(token.Reveal())
			if err != nil {
				return nil, err
			}
			return json.Marshal(claims)
		}
	})
	return s, asked
}

// active is what an issuer says of a good token.
func (s *site) active(changed map[string]any) map[string]any {
	all := s.claims(map[string]any{"active": true})
	maps.Copy(all, changed)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

func TestTheIssuerIsAskedAboutATokenOnceInAWhileAndNeverLongerThanItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *site
		lives := true
		expiry := time.Now().Add(100 * time.Second)
		s, asked := introspecting(t, func(string) (map[string]any, error) {
			return s.active(map[string]any{"active": lives, "exp": expiry.Unix()}), nil
		})
		opaque := bearing("opaque")
		for range 5 {
			if w := s.answer(`{}`, opaque); w.Code != http.StatusOK {
				t.Fatal(w.Code, s.why())
			}
		}
		if asked.Load() != 1 {
			t.Error(asked.Load(), "questions")
		}
		lives = false
		time.Sleep(51 * time.Second) // half of what it had to live
		if w := s.answer(`{}`, opaque); w.Code != http.StatusUnauthorized || asked.Load() != 2 {
			t.Error(w.Code, asked.Load())
		}
		lives = true
		if w := s.answer(`{}`, opaque); w.Code != http.StatusOK || asked.Load() != 3 { // a refusal is not remembered
			t.Error(w.Code, asked.Load())
		}
	})
}

func TestATokenOfWhichNobodyKnowsHowLongItLivesIsAskedAboutEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *site
		s, asked := introspecting(t, func(string) (map[string]any, error) { return s.active(map[string]any{"exp": nil}), nil })
		for range 3 {
			if w := s.answer(`{}`, bearing("opaque")); w.Code != http.StatusOK {
				t.Fatal(w.Code, s.why())
			}
		}
		if asked.Load() != 3 {
			t.Error(asked.Load(), "questions")
		}
	})
}

func TestManyWhoComeWithOneTokenAskOnceAndWhoComesWithManyDoesNotStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *site
		var at, most atomic.Int32
		s, asked := introspecting(t, func(token string) (map[string]any, error) {
			most.Store(max(most.Load(), at.Add(1)))
			defer at.Add(-1)
			time.Sleep(time.Second)
			if token != "good" {
				return map[string]any{"active": false}, nil
			}
			return s.active(nil), nil
		})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if w := s.answer(`{}`, bearing("good")); w.Code != http.StatusOK {
					t.Error(w.Code, s.why())
				}
			})
		}
		all.Wait()
		if asked.Load() != 1 {
			t.Error(asked.Load(), "questions")
		}
		codes := make(map[int]int)
		var mu sync.Mutex
		for i := range 100 {
			all.Go(func() {
				w := s.answer(`{}`, bearing(fmt.Sprint("forged", i)))
				mu.Lock()
				defer mu.Unlock()
				codes[w.Code]++
			})
		}
		synctest.Wait()
		if w := s.answer(`{}`, bearing("good")); w.Code != http.StatusOK { // it is known
			t.Error(w.Code, s.why())
		}
		all.Wait()
		if most.Load() != 16 || codes[http.StatusUnauthorized] != 16 || codes[http.StatusServiceUnavailable] != 84 {
			t.Error(most.Load(), codes)
		}
	})
}

func TestAnIssuerThatCannotBeAskedIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := introspecting(t, func(token string) (map[string]any, error) {
			return nil, errors.New("the answer was " + strings.Repeat(token, 3))
		})
		w := s.answer(`{}`, bearing("opaque-token-of-somebody"))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Error(w.Code)
		}
		if why := s.why().Error(); strings.Contains(why, "opaque-token") {
			t.Error(why)
		}
	})
}
