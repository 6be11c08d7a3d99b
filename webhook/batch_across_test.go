package webhook_test

import (
	"context"
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

func TestWhatAllFailsOnUsesNoAttemptsOfMessagesThatWereNeverAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(batches)
		h.do = func(context.Context, []string) error { return errNotNow }
		var dead []string
		s := inMemory(t, inBatches(&delivery.Batching{Handler: h.handle}), func(c *webhook.Config) {
			c.MaxAttempts = 3
			c.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
				dead = append(dead, string(m.Payload))
				return nil
			}
		})
		body := array(`{"n":0}`, `{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`, `{"n":5}`, `{"n":6}`, `{"n":7}`)
		for range 4 {
			if w := s.answer(body); w.Code != http.StatusServiceUnavailable {
				t.Fatal(w.Code, s.why())
			}
		}
		if !slices.Equal(dead, []string{`{"n":0}`, `{"n":1}`, `{"n":2}`, `{"n":3}`}) {
			t.Errorf("dead letters %q; calls %q", dead, h.calls)
		}
	})
}

func TestAnAttemptThatOtherOwnersTookTheTimeOfIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(batches)
		release := make(chan struct{})
		h.do = func(_ context.Context, batch []string) error {
			if strings.Contains(batch[0], "slow") {
				<-release
			}
			return nil
		}
		b := &delivery.Batching{Handler: h.handle, Across: true}
		dead := 0
		s := inMemory(t, inBatches(b), func(c *webhook.Config) {
			c.MaxAttempts = 2
			c.DeadLetter = func(context.Context, delivery.Message, error) error { dead++; return nil }
		})
		var other sync.WaitGroup
		slow := inMemory(t, inBatches(b))
		other.Go(func() { slow.answer(`{"n":"slow"}`) })
		time.Sleep(time.Second)
		for range 3 {
			if w := s.answer(`{"n":1}`); w.Code != http.StatusServiceUnavailable {
				t.Error(w.Code, s.why())
			}
			synctest.Wait()
		}
		close(release)
		other.Wait()
		synctest.Wait()
		h.want(t, `{"n":"slow"}`)
		if w := s.answer(`{"n":1}`); w.Code != http.StatusOK || dead > 0 {
			t.Error(w.Code, s.why(), dead)
		}
		h.want(t, `{"n":1}`)
	})
}
