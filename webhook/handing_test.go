package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
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

// inMemory is a site without a network, for bubbles of synctest.
func inMemory(t *testing.T, change ...func(*webhook.Config)) *site {
	t.Helper()
	s := newReceiver(t, change...)
	t.Cleanup(func() { s.receiver.Close() })
	synctest.Wait() // the keys are there
	return s
}

// answer hands the receiver a delivery, and returns its answer.
func (s *site) answer(body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://app.example/fds", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.token(s.claims(nil), nil))
	for _, change := range change {
		change(r)
	}
	w := httptest.NewRecorder()
	s.receiver.ServeHTTP(w, r)
	return w
}

func (s *site) handle(h delivery.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

func (s *site) of(owner fds.OwnerKey) func(*http.Request) {
	return bearing(s.token(s.claims(map[string]any{"subscription_id": owner.SubscriptionID.String()}), nil))
}

func TestDeliveriesOfOneOwnerWaitForEachOtherInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		var at, most atomic.Int32
		s.handle(func(context.Context, delivery.Message) error {
			most.Store(max(most.Load(), at.Add(1)))
			time.Sleep(time.Second)
			at.Add(-1)
			return nil
		})
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				if w := s.answer(fmt.Sprintf(`{"n":%d}`, i)); w.Code != http.StatusOK {
					t.Error(w.Code, s.why())
				}
			})
			synctest.Wait() // it waits for its turn
		}
		all.Wait()
		var order string
		for _, m := range s.handed() {
			order += string(m.Payload)
		}
		if order != `{"n":0}{"n":1}{"n":2}{"n":3}{"n":4}` || most.Load() != 1 {
			t.Fatal(order, most.Load())
		}
	})
}

func TestOneOwnersSlowHandlerHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		s.handle(func(ctx context.Context, m delivery.Message) error {
			if m.Owner == s.owner {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		var slow sync.WaitGroup
		codes := make(map[int]int)
		var mu sync.Mutex
		for i := range 20 {
			slow.Go(func() {
				w := s.answer(fmt.Sprintf(`{"n":%d}`, i))
				mu.Lock()
				defer mu.Unlock()
				codes[w.Code]++
			})
		}
		synctest.Wait()
		began := time.Now()
		if w := s.answer(`{"n":1}`, s.of(s.other)); w.Code != http.StatusOK || time.Since(began) > 0 {
			t.Error(w.Code, time.Since(began))
		}
		slow.Wait()
		if codes[http.StatusTooManyRequests] != 4 || codes[http.StatusServiceUnavailable] != 16 {
			t.Error(codes)
		}
		if took := time.Since(began); took != 15*time.Second {
			t.Error("the answers took", took)
		}
	})
}

func TestWhatTheHandlerFinishesTooLateIsNotAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		s.handle(func(context.Context, delivery.Message) error {
			time.Sleep(20 * time.Second) // whatever its context says
			return nil
		})
		id := with("webhook-id", "msg_1")
		w := s.answer(`{"n":1}`, id)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Fatal(w.Code, w.Header())
		}
		if n := s.receiver.State().InHand; n != 1 {
			t.Errorf("%d are in hand, though the handler is at work", n)
		}
		time.Sleep(10 * time.Second)
		if w := s.answer(`{"n":1}`, id); w.Code != http.StatusOK || len(s.handed()) != 1 {
			t.Fatal(w.Code, len(s.handed()))
		}
		if n := s.receiver.State().InHand; n != 0 {
			t.Errorf("%d are in hand", n)
		}
	})
}

func TestAnotherAttemptDuringTheFirstIsNotASecondCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		var calls atomic.Int32
		s.handle(func(context.Context, delivery.Message) error {
			calls.Add(1)
			time.Sleep(5 * time.Second)
			return nil
		})
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if w := s.answer(`{"n":1}`, with("webhook-id", "msg_1")); w.Code != http.StatusOK {
					t.Error(w.Code, s.why())
				}
			})
		}
		both.Wait()
		if calls.Load() != 1 {
			t.Error(calls.Load(), "calls")
		}
	})
}

func TestTheSendersLeavingEndsNoHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		ctx, leave := context.WithCancel(t.Context())
		s.handle(func(ctx context.Context, _ delivery.Message) error {
			leave()
			time.Sleep(time.Second)
			return ctx.Err()
		})
		s.answer(`{"n":1}`, func(r *http.Request) { *r = *r.WithContext(ctx) })
		if len(s.handed()) != 1 {
			t.Error("it was ended:", s.why())
		}
	})
}

func TestWhatAlwaysFailsGoesToTheDeadLettersHoweverItFails(t *testing.T) {
	for name, fail := range map[string]delivery.Handler{
		"error": func(context.Context, delivery.Message) error { return errors.New("no") },
		"panic": func(context.Context, delivery.Message) error { panic("no") },
		"exit":  func(context.Context, delivery.Message) error { runtime.Goexit(); return nil },
		"late":  func(ctx context.Context, _ delivery.Message) error { <-ctx.Done(); return ctx.Err() },
		"deaf":  func(context.Context, delivery.Message) error { time.Sleep(time.Minute); return errors.New("no") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dead []string
				s := inMemory(t, func(c *webhook.Config) {
					c.MaxAttempts = 3
					c.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
						dead = append(dead, fmt.Sprintf("%s %v", m.Payload, err != nil))
						return nil
					}
				})
				calls := 0
				s.handle(func(ctx context.Context, m delivery.Message) error {
					if string(m.Payload) != `{"n":1}` {
						return nil
					}
					calls++
					if m.Duplicate != (calls > 1) {
						t.Errorf("call %d: duplicate %v", calls, m.Duplicate)
					}
					return fail(ctx, m)
				})
				var last int
				for i := range 4 {
					last = s.answer(`{"n":1}`).Code
					time.Sleep(time.Minute)
					if last == http.StatusOK {
						break
					}
					if w := s.answer(fmt.Sprintf(`{"between":%d}`, i)); w.Code != http.StatusOK { // others between them change nothing
						t.Fatal(w.Code, s.why())
					}
				}
				if last != http.StatusOK || calls != 3 || len(dead) != 1 || dead[0] != `{"n":1} true` {
					t.Error(last, calls, dead)
				}
			})
		})
	}
}

func TestAFailureInAnArrayRepeatsOnlyWhatWasNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		fail := true
		s.handle(func(_ context.Context, m delivery.Message) error {
			if fail && strings.Contains(string(m.Payload), "b") {
				return errors.New("no")
			}
			return nil
		})
		const body = `[{"message_id":"a"},{"message_id":"b"},{"message_id":"c"}]`
		if w := s.answer(body); w.Code != http.StatusServiceUnavailable {
			t.Fatal(w.Code)
		}
		fail = false
		if w := s.answer(body); w.Code != http.StatusOK {
			t.Fatal(w.Code)
		}
		var order string
		for _, m := range s.handed() {
			order += string(m.Payload)
		}
		if order != `{"message_id":"a"}{"message_id":"b"}{"message_id":"c"}` {
			t.Error(order)
		}
	})
}

func TestCloseWaitsForWhatIsInHandAndTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newReceiver(t, func(c *webhook.Config) { c.HandlerTimeout = time.Minute })
		synctest.Wait()
		s.handle(func(ctx context.Context, m delivery.Message) error {
			if string(m.Payload) == `{"short":1}` {
				time.Sleep(5 * time.Second)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		var codes [2]int
		var all sync.WaitGroup
		all.Go(func() { codes[0] = s.answer(`{"short":1}`).Code })
		all.Go(func() { codes[1] = s.answer(`{"long":1}`, s.of(s.other)).Code })
		synctest.Wait()
		began := time.Now()
		all.Go(func() {
			if err := s.receiver.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != 10*time.Second {
				t.Error("Close took", took)
			}
		})
		synctest.Wait()
		if w := s.answer(`{"later":1}`); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Error(w.Code)
		}
		all.Wait()
		if codes != [2]int{http.StatusOK, http.StatusServiceUnavailable} {
			t.Error(codes)
		}
		if err := s.receiver.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAWebhookIDThatIsUsedForSomethingElseIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &records{}
		s := inMemory(t, func(c *webhook.Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		id := with("webhook-id", "msg_1")
		for range 2 {
			if w := s.answer(`{"n":1}`, id); w.Code != http.StatusOK || strings.Contains(log.String(), "webhook-id") {
				t.Fatal(w.Code, log)
			}
		}
		for range 3 {
			if w := s.answer(`{"n":2}`, id); w.Code != http.StatusOK {
				t.Fatal(w.Code)
			}
		}
		if n := strings.Count(log.String(), "a webhook-id came again"); n != 1 || len(s.handed()) != 1 {
			t.Errorf("it was told %d times: %s", n, log)
		}
	})
}

func TestAnArrayThatTakesLongerThanTheHandlersTimeEndsWhenItComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) {
			c.MaxAttempts = 1
			c.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
				t.Errorf("the handler has not failed on %s", m.Payload)
				return nil
			}
		})
		const slow = 10 * time.Second
		s.handle(func(ctx context.Context, _ delivery.Message) error {
			if ctx.Err() != nil {
				t.Error("it is called when its time is over")
			}
			time.Sleep(slow)
			return nil
		})
		const body = `[{"device_id":"a"},{"device_id":"b"},{"device_id":"c"},{"device_id":"a"},{"device_id":"e"}]`
		var codes []int
		for len(codes) == 0 || codes[len(codes)-1] != http.StatusOK && len(codes) < 5 {
			codes = append(codes, s.answer(body, with("webhook-id", "msg_1")).Code)
			time.Sleep(slow)
		}
		var order string
		for _, m := range s.handed() {
			order += string(m.Payload)
		}
		if want := `{"device_id":"a"}{"device_id":"b"}{"device_id":"c"}{"device_id":"a"}{"device_id":"e"}`; order != want || len(codes) != 3 {
			t.Error(codes, order)
		}
		s.answer(body, with("webhook-id", "msg_2"))
		time.Sleep(slow)
		if n := len(s.handed()); n != 7 {
			t.Errorf("of another webhook-id %d were handed over", n-5)
		}
	})
}

func TestAFunctionThatHangsIsAnsweredInTime(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, change := range map[string]func(*webhook.Config){
		"Owner": func(c *webhook.Config) {
			c.Owner = func(ctx context.Context, _ fds.SubscriptionID) (fds.OwnerKey, error) {
				return fds.OwnerKey{}, hang(ctx)
			}
		},
		"Secrets": func(c *webhook.Config) {
			c.Secrets = func(ctx context.Context, _ fds.OwnerKey) ([]fds.Secret, error) { return nil, hang(ctx) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inMemory(t, change)
				began := time.Now()
				w := s.answer(`{"n":1}`)
				if took := time.Since(began); w.Code != http.StatusServiceUnavailable || took != 15*time.Second {
					t.Error(w.Code, took)
				}
			})
		})
	}
}

func TestWhoHasAnAnswerMayComeAgainAtOnce(t *testing.T) {
	s := newReceiver(t, func(c *webhook.Config) { c.MaxInHand, c.MaxInHandOfOwner = 1, 1 })
	defer s.receiver.Close()
	waitFor(t, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
	token := bearing(s.token(s.claims(nil), nil))
	for n := range 5000 {
		if w := s.answer(fmt.Sprintf(`{"n":%d}`, n), token); w.Code != http.StatusOK {
			t.Fatal(n, w.Code, s.why())
		}
	}
}
