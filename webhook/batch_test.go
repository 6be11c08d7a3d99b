package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/webhook"
)

// batches is a handler of several messages that notes its calls.
type batches struct {
	do func(ctx context.Context, batch []string) error // nil: all are done with

	mu    sync.Mutex
	calls []string
}

func (b *batches) handle(ctx context.Context, batch []delivery.Message) error {
	var texts []string
	for _, m := range batch {
		text := string(m.Payload)
		if m.Duplicate {
			text += "?"
		}
		texts = append(texts, text)
	}
	b.mu.Lock()
	b.calls = append(b.calls, strings.Join(texts, " "))
	b.mu.Unlock()
	if b.do == nil {
		return nil
	}
	return b.do(ctx, texts)
}

// want fails the test if the calls since the last time were others.
func (b *batches) want(t *testing.T, calls ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.calls, calls) {
		t.Errorf("calls %q, want %q", b.calls, calls)
	}
	b.calls = nil
}

func inBatches(b *delivery.Batching) func(*webhook.Config) {
	return func(c *webhook.Config) { c.Handler, c.Batch = nil, b }
}

var errNotNow = errors.New("not now")

func event(id string) string { return fmt.Sprintf(`{"message_id":%q}`, id) }

func array(items ...string) string { return "[" + strings.Join(items, ",") + "]" }

func TestTheItemsOfADeliveryAreOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(batches)
		s := inMemory(t, inBatches(&delivery.Batching{Handler: h.handle, Most: 3, Wait: 10 * time.Second}))
		began := time.Now()
		w := s.answer(array(`{"n":0}`, `{"n":1}`, event("a"), `{"n":2}`, event("a"), `{"n":2}`), with("webhook-id", "msg_1"))
		if w.Code != http.StatusOK || time.Since(began) > 0 {
			t.Error(w.Code, s.why(), time.Since(began))
		}
		h.want(t, `{"n":0} {"n":1} `+event("a"), `{"n":2} {"n":2}?`)
		if a := s.answers[0]; a.Messages != 5 || a.Suppressed != 1 {
			t.Errorf("%+v", a)
		}
		if w := s.answer(array(event("a"), `{"n":0}`), with("webhook-id", "msg_1")); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
		h.want(t)
	})
}

func TestWhatOfABatchIsDoneIsNotHandedOverAgainWhenTheSenderComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(batches)
		fails := true
		h.do = func(_ context.Context, batch []string) error {
			v := make(delivery.Verdicts, len(batch))
			for i := range batch {
				if fails && strings.Contains(batch[i], `"n":1`) {
					v[i] = delivery.RetryAfter(90*time.Second, errNotNow)
				}
			}
			return v
		}
		s := inMemory(t, inBatches(&delivery.Batching{Handler: h.handle}))
		body, id := array(`{"n":0}`, `{"n":1}`, event("a"), `{"n":2}`), with("webhook-id", "msg_1")
		w := s.answer(body, id)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "90" || !errors.Is(s.why(), errNotNow) {
			t.Error(w.Code, w.Header(), s.why())
		}
		h.want(t, `{"n":0} {"n":1} `+event("a")+` {"n":2}`)
		fails = false
		if w := s.answer(body, id); w.Code != http.StatusOK {
			t.Error(w.Code, s.why())
		}
		h.want(t, `{"n":1}?`)
		if a := s.answers[1]; a.Messages != 1 || a.Suppressed != 3 {
			t.Errorf("%+v", a)
		}
	})
}

func TestTheOneItemOfADeliveryThatFailsGoesToTheDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(batches)
		h.do = func(_ context.Context, batch []string) error {
			if slices.ContainsFunc(batch, func(text string) bool { return strings.Contains(text, `"n":5`) }) {
				return errNotNow
			}
			return nil
		}
		var dead []string
		s := inMemory(t, inBatches(&delivery.Batching{Handler: h.handle}), func(c *webhook.Config) {
			c.MaxAttempts = 3
			c.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
				dead = append(dead, string(m.Payload))
				return nil
			}
		})
		var items []string
		for n := range 8 {
			items = append(items, fmt.Sprintf(`{"n":%d}`, n))
		}
		for attempt := range 3 {
			want := http.StatusServiceUnavailable
			if attempt == 2 {
				want = http.StatusOK
			}
			if w := s.answer(array(items...), with("webhook-id", "msg_1")); w.Code != want {
				t.Errorf("attempt %d: %d, %v", attempt, w.Code, s.why())
			}
		}
		if !slices.Equal(dead, []string{`{"n":5}`}) {
			t.Errorf("dead letters %v", dead)
		}
	})
}

// Of a batch that is not in time nobody knows which message takes so long: the next time each has a
// call of its own, until all are done with.
func TestABatchThatTakesLongerThanTheHandlersTimeEndsWhenItComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(batches)
		done := make(map[string]int)
		h.do = func(ctx context.Context, batch []string) error {
			select {
			case <-time.After(time.Duration(len(batch)) * 4 * time.Second):
				for _, text := range batch {
					done[strings.TrimSuffix(text, "?")]++
				}
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s := inMemory(t, inBatches(&delivery.Batching{Handler: h.handle}))
		body := array(`{"n":0}`, `{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`, `{"n":5}`)
		for attempt := 0; ; attempt++ {
			w := s.answer(body, with("webhook-id", "msg_1"))
			synctest.Wait()
			if w.Code == http.StatusOK {
				break
			}
			if attempt == 5 {
				t.Fatal(w.Code, s.why())
			}
		}
		if len(done) != 6 {
			t.Errorf("done %v", done)
		}
		for text, n := range done {
			if n != 1 {
				t.Errorf("%s was done with %d times", text, n)
			}
		}
	})
}

func TestAcrossDeliveriesOfSeveralOwnersAreOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(batches)
		h.do = func(_ context.Context, batch []string) error {
			if strings.Contains(strings.Join(batch, " "), `"n":2`) {
				return errNotNow
			}
			return nil
		}
		s := inMemory(t, inBatches(&delivery.Batching{Handler: h.handle, Most: 2, Wait: 5 * time.Second, Across: true}))
		var all sync.WaitGroup
		all.Go(func() {
			if w := s.answer(`{"n":1}`); w.Code != http.StatusOK {
				t.Error(w.Code, s.why())
			}
		})
		synctest.Wait()
		all.Go(func() {
			if w := s.answer(`{"n":2}`, s.of(s.other)); w.Code != http.StatusServiceUnavailable {
				t.Error(w.Code)
			}
		})
		all.Wait()
		slices.Sort(h.calls[1:])
		h.want(t, `{"n":1} {"n":2}`, `{"n":1}?`, `{"n":2}?`)
	})
}
