package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

func TestAttackAnIssuersAnswerAboutAnotherTokenIsNoPermission(t *testing.T) {
	for name, c := range map[string]struct {
		changed map[string]any
		answer  string // in place of claims
		status  int
		why     string
	}{
		"inactive":                    {map[string]any{"active": false}, "", 401, "calls it inactive"},
		"active missing":              {map[string]any{"active": nil}, "", 401, "calls it inactive"},
		"active a text":               {map[string]any{"active": "true"}, "", 401, "calls it inactive"},
		"active a number":             {map[string]any{"active": 1}, "", 401, "calls it inactive"},
		"active null":                 {map[string]any{"active": rawJSON("null")}, "", 401, "calls it inactive"},
		"Active in another case":      {map[string]any{"active": nil, "Active": true}, "", 401, "calls it inactive"},
		"another issuer":              {map[string]any{"iss": issuer + "/"}, "", 401, "its issuer (iss) is another one"},
		"an issuer that is an array":  {map[string]any{"iss": []string{issuer}}, "", 401, "its issuer (iss) is another one"},
		"another audience":            {map[string]any{"aud": "https://api.provider.example"}, "", 401, "another audience"},
		"no audience":                 {map[string]any{"aud": nil}, "", 401, "another audience"},
		"another client":              {map[string]any{"client_id": "app"}, "", 401, "not issued to one of"},
		"no client":                   {map[string]any{"client_id": nil}, "", 401, "not issued to one of"},
		"expired":                     {map[string]any{"exp": 1}, "", 401, "it has expired"},
		"an expiry that is a text":    {map[string]any{"exp": "4102444800"}, "", 401, "no date"},
		"no owner":                    {map[string]any{"subscription_id": nil}, "", 403, "names no owner"},
		"bound to a certificate":      {map[string]any{"cnf": map[string]any{"x5t#S256": strings.Repeat("A", 43)}}, "", 401, "the connection has none"},
		"active twice":                {nil, `{"active":false,"active":true}`, 503, "each name is there once"},
		"no object":                   {nil, `[{"active":true}]`, 503, "each name is there once"},
		"something behind the object": {nil, `{"active":true}{}`, 503, "each name is there once"},
		"nothing":                     {nil, ` `, 503, "each name is there once"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t)
				good := func() []byte {
					text, _ := json.Marshal(s.active(nil))
					return text
				}
				bad, _ := json.Marshal(s.active(c.changed))
				if c.answer != "" {
					bad = []byte(c.answer)
				}
				s.introspected(func(_ context.Context, token fds.Secret) ([]byte, error) {
					if token.Reveal() == "bad" {
						return bad, nil
					}
					return good(), nil
				})
				if w := s.answer(`{"n":1}`, bearing("good")); w.Code != http.StatusOK {
					t.Fatal(w.Code, s.why())
				}
				for range 2 {
					w := s.answer(`{"n":2}`, bearing("bad"))
					s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: c.status, why: c.why})
				}
				if n := len(s.handed()); n != 1 {
					t.Error(n)
				}
			})
		})
	}
}

// introspected makes the site's issuer be asked about tokens.
func (s *site) introspected(ask func(context.Context, fds.Secret) ([]byte, error)) {
	s.t.Helper()
	there := newReceiver(s.t, func(c *webhook.Config) {
		c.Introspection, c.Keys, c.Introspect, c.Hooks = true, nil, ask, []any{s}
		of := c.Owner
		c.Owner = func(ctx context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
			if id == s.owner.SubscriptionID {
				return s.owner, nil
			}
			return of(ctx, id)
		}
		c.Handler = s.keep
	})
	s.t.Cleanup(func() { there.receiver.Close() })
	s.receiver.Close()
	s.receiver = there.receiver
}

func TestAttackWhatIsKnownOfATokenOutlivesNeitherTheTokenNorItsKey(t *testing.T) {
	t.Run("it has expired since", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			token := bearing(s.token(s.claims(nil), nil))
			for range 2 {
				if w := s.answer(`{}`, token); w.Code != http.StatusOK {
					t.Fatal(w.Code, s.why())
				}
			}
			time.Sleep(2*time.Minute + time.Second)
			w := s.answer(`{}`, token)
			s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 401, why: "it has expired"})
		})
	})
	t.Run("its key was removed since", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			token := bearing(s.token(s.claims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}), nil))
			if w := s.answer(`{}`, token); w.Code != http.StatusOK {
				t.Fatal(w.Code, s.why())
			}
			s.rotate("two", false)
			time.Sleep(25 * time.Minute)
			w := s.answer(`{}`, token)
			s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 401, why: "none of the issuer's keys has the ID"})
		})
	})
	t.Run("another shows a bound token that is known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			token := bearing(s.token(s.claims(certified([]byte("mine"), nil)), nil))
			for range 2 {
				if w := s.answer(`{}`, token, shows([]byte("mine"))); w.Code != http.StatusOK {
					t.Fatal(w.Code, s.why())
				}
				w := s.answer(`{}`, token, shows([]byte("another's")))
				s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 401, why: "another certificate"})
			}
		})
	})
	t.Run("its owner has signed out since", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var out atomic.Bool
			s := inMemory(t, func(c *webhook.Config) {
				there := c.Owner
				c.Owner = func(ctx context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
					if out.Load() {
						return fds.OwnerKey{}, fds.ErrSignInRequired
					}
					return there(ctx, id)
				}
			})
			token := bearing(s.token(s.claims(nil), nil))
			if w := s.answer(`{}`, token); w.Code != http.StatusOK {
				t.Fatal(w.Code, s.why())
			}
			out.Store(true)
			w := s.answer(`{}`, token)
			s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 403, why: "not signed in here"})
		})
	})
	t.Run("its issuer calls it inactive since", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			var revoked atomic.Bool
			expiry := time.Now().Add(time.Hour).Unix()
			s.introspected(func(context.Context, fds.Secret) ([]byte, error) {
				return json.Marshal(s.active(map[string]any{"active": !revoked.Load(), "exp": expiry}))
			})
			if w := s.answer(`{}`, bearing("opaque")); w.Code != http.StatusOK {
				t.Fatal(w.Code, s.why())
			}
			revoked.Store(true)
			time.Sleep(time.Minute)
			w := s.answer(`{}`, bearing("opaque"))
			s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 401, why: "calls it inactive"})
		})
	})
}

func TestAttackTheIssuersWordsAboutATokenShowNoTokenAndNoControlCharacters(t *testing.T) {
	for name, words := range map[string]string{
		"with the token":    "no such token: opaque-secret\r\n\x1b[31mlevel=ERROR forged",
		"without the token": "no such token\r\n\x1b[31mlevel=ERROR forged" + strings.Repeat("long", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t)
				s.introspected(func(context.Context, fds.Secret) ([]byte, error) { return nil, errors.New(words) })
				w := s.answer(`{}`, bearing("opaque-secret"))
				s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 503, why: "could not be asked"})
				if text := s.why().Error(); strings.Contains(text, "opaque-secret") || strings.ContainsAny(text, "\r\n\x1b") || len(text) > 2000 {
					t.Errorf("%.3000q", text)
				}
			})
		})
	}
}

func TestAttackTokensThatAreMadeUpHoldUpNoQuestionAboutAKnownOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		expiry := time.Now().Add(time.Hour).Unix()
		s.introspected(func(ctx context.Context, token fds.Secret) ([]byte, error) {
			if token.Reveal() != "opaque" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return json.Marshal(s.active(map[string]any{"exp": expiry}))
		})
		if w := s.answer(`{}`, bearing("opaque")); w.Code != http.StatusOK {
			t.Fatal(w.Code, s.why())
		}
		time.Sleep(time.Minute) // what the issuer said of it is over
		var others sync.WaitGroup
		defer others.Wait()
		for n := range 40 {
			others.Go(func() { s.answer(`{}`, bearing(fmt.Sprintf("made-up-%d", n))) })
		}
		synctest.Wait()
		if w := s.answer(`{}`, bearing("another")); w.Code != http.StatusServiceUnavailable {
			t.Error("the places are not taken:", w.Code)
		}
		if w := s.answer(`{}`, bearing("opaque")); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
	})
}
