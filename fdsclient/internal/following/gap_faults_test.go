package following

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

func TestAHandlersErrorIsNoAnswerOfTheProviderToABackfill(t *testing.T) {
	for _, class := range []error{fds.ErrNotImplemented, fds.ErrInvalidParameter, fds.ErrUnchanged} {
		t.Run(class.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := pushing(t, func(c *config) { c.Dialect = byDate })
				unbounded, asked, events := 0, 0, "["+dated("missed", time.Now())+"]"
				api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, r *http.Request) (int, string) {
					asked++
					if r.URL.Query().Get("from") == "" {
						unbounded++
					}
					if kind == pull.Events {
						return 200, events
					}
					return 200, "[]"
				}}
				failing := true
				var got handled
				f := followed(t, all, api, func(ctx context.Context, m delivery.Message) error {
					if failing {
						return fmt.Errorf("read the device's statistics: %w", class)
					}
					return got.handle(ctx, m)
				})
				defer f.Stop()
				filled := outage(t, f)
				pass(10 * time.Minute)
				if !f.open() {
					t.Error("the gap is closed, though the handler has failed")
				}
				f.turn.lock()
				failing = false
				f.turn.unlock()
				<-filled
				if got.has("missed") != 1 {
					t.Errorf("what was missed was handed over %d times", got.has("missed"))
				}
				api.change(func() {
					if unbounded > 0 {
						t.Errorf("%d of %d requests asked for the whole collection", unbounded, asked)
					}
				})
			})
		})
	}
}

// A handler that is not configured is another matter.
func TestLiveMessagesWaitThoughAHandlerSaysWhatTheConfigurationWouldSay(t *testing.T) {
	for _, class := range []error{fds.ErrConfig, fds.ErrOwner} {
		synctest.Test(t, func(t *testing.T) {
			all := pushing(t, func(c *config) { c.Dialect = byDate })
			f := followed(t, all, &webAPI{answer: oneEach}, func(context.Context, delivery.Message) error { return fmt.Errorf("no database: %w", class) })
			defer f.Stop()
			began := time.Now()
			subscribed(t, f, push.Subscribed{Last: errLost})
			if took := time.Since(began); took != all.Wait {
				t.Errorf("%v: live messages waited for %v", class, took)
			}
		})
	}
}

func TestABackfillDoesNotWaitAsLongAsAHandlerWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		events := "[" + dated("missed", time.Now()) + "]"
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, events
			}
			return 200, "[]"
		}}
		failed := false
		var got handled
		f := followed(t, all, api, func(ctx context.Context, m delivery.Message) error {
			if !failed {
				failed = true
				return fmt.Errorf("tag the device at another provider: %w", &pull.Error{HTTPStatus: 429, RetryAfter: 24 * time.Hour})
			}
			return got.handle(ctx, m)
		})
		defer f.Stop()
		outage(t, f)
		pass(10 * time.Minute) // the longest back-off is 5
		if f.open() || got.has("missed") != 1 {
			t.Errorf("the gap is open: %v; what was missed was handed over %d times", f.open(), got.has("missed"))
		}
	})
}
