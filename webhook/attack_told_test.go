package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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

// records is a log that is kept.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *records) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func TestAttackNothingOfADeliveryIsToldToLogHooksOrSender(t *testing.T) {
	log := &records{}
	s := newSite(t, func(c *webhook.Config) {
		c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Dialect.SubscriptionMember = "owner"
		c.MaxBody = 4 << 10
		c.MaxAttempts = 2
		c.DeadLetter = func(context.Context, delivery.Message, error) error { return nil }
	})
	s.handle(func(_ context.Context, m delivery.Message) error {
		if strings.Contains(string(m.Payload), "fail") {
			return errors.New("the handler's own words")
		}
		if strings.Contains(string(m.Payload), "panic") {
			panic("the handler's own words")
		}
		return nil
	})
	good := s.token(s.claims(nil), nil)
	foreign := s.token(s.claims(map[string]any{"aud": "audience\n\x1b[2J\u009b"}), nil)
	unknown := s.token(s.claims(map[string]any{"client_id": "client\n\x1b[2J\u202e"}), nil)
	for _, one := range []struct {
		body   string
		status int
		change func(*http.Request)
	}{
		{`{"n":"canary"}`, 200, bearing(good)},
		{`{"n":"canary fail"}`, 503, bearing(good)},
		{`{"n":"canary fail"}`, 200, bearing(good)}, // to the dead letters
		{`{"n":"canary panic"}`, 503, bearing(good)},
		{`{"n":"canary"`, 400, bearing(good)},
		{`canary`, 400, bearing(good)},
		{`{"owner":"canary"}`, 403, bearing(good)},
		{`{"n":"canary"}`, 401, bearing(foreign)},
		{`{"n":"canary"}`, 401, bearing(unknown)},
		{`{"n":"canary"}`, 401, bearing("canary.canary.canary")},
		{`{"n":"canary"}`, 400, with("webhook-id", strings.Repeat("canary", 100))},
		{`{"n":"canary"}`, 415, with("Content-Type", "canary/canary")},
		{`{"n":"` + strings.Repeat("canary", 1000) + `"}`, 413, bearing(good)},
		{`{"n":"canary"}`, 403, at("/fds/canary")},
	} {
		response, err := s.server.Client().Do(s.request(one.body, one.change))
		if err != nil {
			t.Fatal(err)
		}
		var answer bytes.Buffer
		_ = response.Header.Write(&answer)
		_, _ = answer.ReadFrom(response.Body)
		response.Body.Close()
		if response.StatusCode != one.status {
			t.Errorf("%.40s: %d, want %d: %v", one.body, response.StatusCode, one.status, s.why())
		}
		told := answer.String() + fmt.Sprint(s.why())
		if strings.Contains(told, "canary") || strings.Contains(told, good) || strings.ContainsAny(fmt.Sprint(s.why()), "\n\x1b\u009b\u202e") {
			t.Errorf("%.40s: %s", one.body, told)
		}
		if strings.Contains(answer.String(), "handler's own") || strings.Contains(answer.String(), "aud") {
			t.Errorf("%.40s: the sender is told why: %s", one.body, answer.String())
		}
	}
	if text := log.String(); strings.Contains(text, "canary") || strings.Contains(text, good) || strings.Contains(text, good[:40]) || text == "" {
		t.Error(text)
	}
}

// TestAttackNoDeliveryIsHandedOverUnderAnotherOwner is about all that may name one: the token, the
// path and the payload.
func TestAttackNoDeliveryIsHandedOverUnderAnotherOwner(t *testing.T) {
	var dead []delivery.Message
	s := newSite(t, func(c *webhook.Config) {
		c.Dialect.SubscriptionMember = "generic.owner"
		c.MaxAttempts = 1
		c.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
			dead = append(dead, m)
			return nil
		}
	})
	s.handle(func(_ context.Context, m delivery.Message) error {
		if strings.Contains(string(m.Payload), "fail") {
			return errors.New("no")
		}
		return nil
	})
	mine, others := s.owner.SubscriptionID.String(), s.other.SubscriptionID.String()
	of := func(owner any) func(*http.Request) {
		return bearing(s.token(s.claims(map[string]any{"subscription_id": owner}), nil))
	}
	item := func(owner string) string { return fmt.Sprintf(`{"generic":{"owner":%q},"whose":%q}`, owner, owner) }
	both := []string{mine, others}
	for name, one := range map[string]struct {
		body   string
		change []func(*http.Request)
		status int
	}{
		"all agree":                         {item(mine), []func(*http.Request){of(mine), at("/fds/%s", mine)}, 200},
		"in capital letters":                {item(strings.ToUpper(mine)), []func(*http.Request){of(strings.ToUpper(mine)), at("/fds/%s", strings.ToUpper(mine))}, 200},
		"the payload of another":            {item(others), []func(*http.Request){of(mine)}, 403},
		"the path of another":               {item(mine), []func(*http.Request){of(mine), at("/fds/%s", others)}, 403},
		"the token of another":              {item(mine), []func(*http.Request){of(others), at("/fds/%s", mine)}, 403},
		"path and payload of another":       {item(others), []func(*http.Request){of(mine), at("/fds/%s", others)}, 403},
		"for two, the payload says":         {item(others), []func(*http.Request){of(both)}, 200},
		"for two, the path says":            {`{"whose":"` + others + `"}`, []func(*http.Request){of(both), at("/fds/%s", others)}, 200},
		"for two, path against payload":     {item(mine), []func(*http.Request){of(both), at("/fds/%s", others)}, 403},
		"for two, nobody says":              {`{"n":1}`, []func(*http.Request){of(both)}, 403},
		"for two, an item says nothing":     {"[" + item(mine) + `,{"n":2}]`, []func(*http.Request){of(both)}, 403},
		"for two, items of both":            {"[" + item(mine) + "," + item(others) + "]", []func(*http.Request){of(both)}, 403},
		"the third of three is another's":   {"[" + item(mine) + "," + item(mine) + "," + item(others) + "]", []func(*http.Request){of(mine)}, 403},
		"the member is no ID":               {`{"generic":{"owner":"all"}}`, []func(*http.Request){of(mine)}, 403},
		"the member is an array":            {`{"generic":{"owner":["` + mine + `"]}}`, []func(*http.Request){of(mine)}, 403},
		"the member is twice":               {`{"generic":{"owner":"` + mine + `","owner":"` + others + `"}}`, []func(*http.Request){of(mine)}, 403},
		"what fails":                        {`{"fail":1,"whose":"` + others + `"}`, []func(*http.Request){of(others)}, 200},
		"an owner of another application's": {item("7f6b3c0e-2a4d-4e8f-9b1a-0c2d3e4f5a6b"), []func(*http.Request){of("7f6b3c0e-2a4d-4e8f-9b1a-0c2d3e4f5a6b")}, 403},
	} {
		if status := s.deliver(one.body, one.change...); status != one.status {
			t.Errorf("%s: %d: %v", name, status, s.why())
		}
	}
	for _, m := range append(s.handed(), dead...) {
		if !strings.Contains(strings.ToLower(string(m.Payload)), `"whose":"`+m.Owner.SubscriptionID.String()) {
			t.Errorf("%s was handed over %s", m.Owner, m.Payload)
		}
	}
	if len(s.handed()) != 4 || len(dead) != 1 {
		t.Errorf("%d were handed over, %d to the dead letters", len(s.handed()), len(dead))
	}
}

// TestAttackWhoLeftWhileADeliveryWaitedGetsNoMore is about a sign-out between the check of the owner
// and the delivery's turn.
func TestAttackWhoLeftWhileADeliveryWaitedGetsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Bool
		s := inMemory(t, func(c *webhook.Config) {
			there := c.Owner
			c.Owner = func(ctx context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
				if left.Load() {
					return fds.OwnerKey{}, fds.ErrNoOwner
				}
				return there(ctx, id)
			}
		})
		s.handle(func(context.Context, delivery.Message) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		var all sync.WaitGroup
		var codes [2]int
		for i := range codes {
			all.Go(func() { codes[i] = s.answer(fmt.Sprintf(`{"n":%d}`, i)).Code })
			synctest.Wait()
		}
		left.Store(true)
		all.Wait()
		if codes != [2]int{http.StatusOK, http.StatusForbidden} || len(s.handed()) != 1 {
			t.Error(codes, s.handed())
		}
	})
}
