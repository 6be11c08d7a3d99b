package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

func TestAttackARepetitionIsKnownForOneAndNothingElseIs(t *testing.T) {
	events := func(c *webhook.Config) { c.Dialect = fds.Dialect{MessageID: "id"} }
	const event = `{"id":"e-1","n":1}`
	id := func(id string) func(s *site) func(*http.Request) {
		return func(*site) func(*http.Request) { return with("Webhook-Id", id) }
	}
	other := func(s *site) func(*http.Request) { return s.of(s.other) }
	none := func(*site) func(*http.Request) { return nothing }
	const called, marked, suppressed = "called", "called, and marked as a duplicate", "suppressed"
	for name, c := range map[string]struct {
		setting       func(*webhook.Config)
		first, second func(s *site) func(*http.Request)
		bodies        [2]string
		want          string
	}{
		"the same webhook-id":                   {nil, id("m"), id("m"), [2]string{`{"n":1}`, `{"n":1}`}, suppressed},
		"the same webhook-id with another body": {nil, id("m"), id("m"), [2]string{`{"n":1}`, `{"n":2}`}, suppressed},
		"the same webhook-id of another owner":  {nil, id("m"), func(s *site) func(*http.Request) { return both(id("m")(s), other(s)) }, [2]string{`{"n":1}`, `{"n":1}`}, called},
		"the same webhook-id of another sender": {nil, id("m"), func(s *site) func(*http.Request) {
			return both(id("m")(s), claiming(map[string]any{"client_id": "second"})(s))
		}, [2]string{`{"n":1}`, `{"n":2}`}, called},
		"another webhook-id in another case":      {nil, id("m"), id("M"), [2]string{`{"n":1}`, `{"n":2}`}, called},
		"another webhook-id with the same bytes":  {nil, id("m"), id("o"), [2]string{`{"n":1}`, `{"n":1}`}, marked},
		"the same token":                          {nil, none, none, [2]string{`{"n":1}`, `{"n":2}`}, called},
		"a status twice":                          {nil, none, none, [2]string{`{"device_id":"d","on":true}`, `{"device_id":"d","on":true}`}, marked},
		"another status of the same device":       {nil, none, none, [2]string{`{"id":"d","on":true}`, `{"id":"d","on":false}`}, called},
		"the same event":                          {events, none, none, [2]string{event, event}, suppressed},
		"the same event with another body":        {events, none, none, [2]string{event, `{"id":"e-1","n":2}`}, suppressed},
		"the same event under another webhook-id": {events, id("m"), id("o"), [2]string{event, event}, suppressed},
		"the same event of another owner":         {events, none, other, [2]string{event, event}, called},
		"another event":                           {events, none, none, [2]string{event, `{"id":"e-2","n":1}`}, called},
		"a webhook-id that spells an event's ID":  {events, id("e-1"), none, [2]string{`{"n":1}`, event}, called},
		"a device's ID that is called an event's": {func(c *webhook.Config) { c.Dialect = fds.Dialect{MessageID: "id", DeviceID: "id"} }, none, none, [2]string{event, event}, marked},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t, func(cfg *webhook.Config) {
					cfg.Senders = append(cfg.Senders, "second")
					if c.setting != nil {
						c.setting(cfg)
					}
				})
				if w := s.answer(c.bodies[0], c.first(s)); w.Code != http.StatusOK || len(s.handed()) != 1 {
					t.Fatal(w.Code, s.why())
				}
				if w := s.answer(c.bodies[1], c.second(s)); w.Code != http.StatusOK {
					t.Fatal(w.Code, s.why())
				}
				got := suppressed
				switch all := s.handed(); {
				case len(all) == 2 && all[1].Duplicate:
					got = marked
				case len(all) == 2:
					got = called
				}
				if n := s.receiver.State().Suppressed; got != c.want || (n == 1) != (c.want == suppressed) {
					t.Errorf("%s, want %s; State counts %d", got, c.want, n)
				}
			})
		})
	}
}

func TestAttackManyAttemptsAtOnceAreOneCall(t *testing.T) {
	s := newSite(t, func(c *webhook.Config) { c.Dialect = fds.Dialect{MessageID: "id"} })
	var calls atomic.Int32
	s.handle(func(context.Context, delivery.Message) error { calls.Add(1); return nil })
	const rounds = 300
	var all sync.WaitGroup
	for n := range rounds {
		event := fmt.Sprintf(`{"id":"e-%d"}`, n)
		for range 8 {
			all.Go(func() {
				if w := s.answer(event); w.Code != http.StatusOK {
					t.Error(w.Code, s.why())
				}
			})
		}
		all.Wait()
	}
	if n := calls.Load(); n != rounds {
		t.Errorf("%d calls for %d events", n, rounds)
	}
}

func TestAttackARepetitionAfterARestartIsKnown(t *testing.T) {
	folder := t.TempDir()
	kept := func(c *webhook.Config) { c.Folder = filepath.Join(folder, "marks") }
	deliver := func(owner fds.OwnerKey, want int) {
		t.Helper()
		s := newReceiver(t, kept, func(c *webhook.Config) {
			c.Owner = func(context.Context, fds.SubscriptionID) (fds.OwnerKey, error) { return owner, nil }
		})
		defer func() {
			if err := s.receiver.Close(); err != nil {
				t.Error(err)
			}
		}()
		s.owner = owner
		waitFor(t, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
		if w := s.answer(`{"n":1}`, with("Webhook-Id", "m")); w.Code != http.StatusOK || len(s.handed()) != want {
			t.Error(w.Code, len(s.handed()), s.why())
		}
	}
	owner := fds.OwnerKey{Issuer: issuer, SubscriptionID: fds.NewSubscriptionID()}
	deliver(owner, 1)
	deliver(owner, 0)
	deliver(fds.OwnerKey{Issuer: issuer, SubscriptionID: fds.NewSubscriptionID()}, 1) // another owner's is another
	var holds int
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		holds++
		for _, what := range []string{owner.SubscriptionID.String(), issuer, sender, `"n"`, "Webhook", "eyJ"} {
			if strings.Contains(string(text), what) {
				t.Errorf("%s, as a thief has it, says %q", filepath.Base(path), what)
			}
		}
		return err
	})
	if err != nil || holds == 0 {
		t.Error(holds, err)
	}
}

func TestAttackAFailedDeliveryIsNoneThatWasHandled(t *testing.T) {
	for name, fail := range map[string]delivery.Handler{
		"an error": func(context.Context, delivery.Message) error { return errors.New("full") },
		"a panic":  func(context.Context, delivery.Message) error { panic("full") },
		"too late": func(ctx context.Context, _ delivery.Message) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t, func(c *webhook.Config) { c.Dialect = fds.Dialect{MessageID: "id"} })
				s.handle(fail)
				for range 2 {
					began := time.Now()
					if w := s.answer(`{"id":"e"}`, with("Webhook-Id", "m")); w.Code != http.StatusServiceUnavailable || time.Since(began) > 15*time.Second {
						t.Error(w.Code, time.Since(began))
					}
				}
				s.handle(nil)
				if w := s.answer(`{"id":"e"}`, with("Webhook-Id", "m")); w.Code != http.StatusOK || len(s.handed()) != 1 {
					t.Error(w.Code, s.why())
				}
			})
		})
	}
}
