package following

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// through is a transport that a test stands in front of.
type through func(*http.Request) (*http.Response, error)

func (t through) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// bare is an answer without a list.
func bare(r *http.Request, status int, header ...string) *http.Response {
	response := &http.Response{StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader("")), Header: make(http.Header)}
	for i := 0; i < len(header); i += 2 {
		response.Header.Set(header[i], header[i+1])
	}
	return response
}

func TestAListThatTheProviderRefusesIsNoReasonNotToReadTheOther(t *testing.T) {
	for name, status := range map[string]int{"not there": 404, "not for this application": 403} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hook, h, api := new(polls), new(had), &polledAPI{from: true}
				all := polled(t, func(cfg *config) { hook.on(cfg) })
				on, off := `{"device_id":"a","on":true}`, `{"device_id":"a","on":false}`
				api.statuses = []string{on}
				f := poller(t, all, fds.NewSubscriptionID(), through(func(r *http.Request) (*http.Response, error) {
					if path.Base(r.URL.Path) == "events" {
						return bare(r, status), nil
					}
					return api.RoundTrip(r)
				}), h.handle)
				pass(30 * time.Minute)
				expect(t, h, on)
				api.change(func() { api.statuses = []string{off} })
				pass(30 * time.Minute)
				f.Stop()
				expect(t, h, off)
				var refusal *pull.Error
				if last := hook.all[len(hook.all)-1]; !errors.As(last.Err, &refusal) || refusal.HTTPStatus != status {
					t.Errorf("told %+v", last)
				}
			})
		})
	}
}

func TestAProviderThatAsksToWaitForHoursIsNotPolledBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true}, new(had)
		var wait atomic.Bool
		var asked []time.Time
		f := poller(t, all, fds.NewSubscriptionID(), through(func(r *http.Request) (*http.Response, error) {
			if wait.Load() {
				asked = append(asked, time.Now())
				return bare(r, 429, "Retry-After", "18000"), nil
			}
			return api.RoundTrip(r)
		}), h.handle)
		synctest.Wait()
		wait.Store(true)
		pass(26 * time.Hour)
		api.event("meanwhile", time.Now().Add(-20*time.Hour))
		wait.Store(false)
		pass(6 * time.Hour)
		f.Stop()
		for i := 1; i < len(asked); i++ {
			if apart := asked[i].Sub(asked[i-1]); apart < 5*time.Hour {
				t.Errorf("asked again after %v", apart)
			}
		}
		if len(asked) != 6 {
			t.Errorf("asked %d times in 26 hours", len(asked))
		}
	})
}

// Whoever the handler talks to does not say when the provider is asked again.
func TestTheWaitThatAHandlerWasToldIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true}, new(had)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		synctest.Wait()
		failed := false
		h.mu.Lock()
		h.fail = func(string) error {
			if failed {
				return nil
			}
			failed = true
			return fmt.Errorf("tag it elsewhere: %w", &pull.Error{HTTPStatus: 429, RetryAfter: 24 * time.Hour})
		}
		h.mu.Unlock()
		api.event("one", time.Now())
		pass(2 * time.Minute)
		api.event("two", time.Now())
		pass(time.Hour)
		expect(t, h, "one", "two")
	})
}

// A run that ends waits for the handler at work, and what that finished does not come
// again; nor is more handed over.
func TestARunThatEndsInTheMiddleOfAPoll(t *testing.T) {
	for name, c := range map[string]struct {
		work  func(context.Context) error // of the second event's handler
		again []string
	}{
		"while the handler works":            {func(context.Context) error { time.Sleep(8 * time.Second); return nil }, []string{"3"}},
		"while the handler hangs":            {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, []string{"2", "3"}},
		"and the handler panics":             {func(context.Context) error { time.Sleep(5 * time.Second); panic("no") }, []string{"2", "3"}},
		"and the handler ends its goroutine": {func(context.Context) error { time.Sleep(5 * time.Second); runtime.Goexit(); return nil }, []string{"2", "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, api, h, id := polled(t, nil), &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
				began := make(chan struct{}, 1)
				f := poller(t, all, id, api, func(ctx context.Context, m delivery.Message) error {
					if strings.Contains(string(m.Payload), `"2"`) {
						began <- struct{}{}
						if err := c.work(ctx); err != nil {
							return err
						}
					}
					return h.handle(ctx, m)
				})
				synctest.Wait()
				for _, n := range []string{"1", "2", "3"} {
					api.event(n, time.Now())
				}
				<-began
				start := time.Now()
				f.Stop()
				if took := time.Since(start); took > handlerGrace {
					t.Errorf("the end took %v", took)
				}
				h.take()
				f = poller(t, all, id, api, h.handle)
				pass(10 * time.Minute)
				f.Stop()
				expect(t, h, c.again...)
			})
		})
	}
}

func TestAHandlerThatEndsItsGoroutineGetsThePolledMessageAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true}, new(had)
		var exits atomic.Int64
		f := poller(t, all, fds.NewSubscriptionID(), api, func(ctx context.Context, m delivery.Message) error {
			if exits.Add(-1) >= 0 {
				runtime.Goexit()
			}
			return h.handle(ctx, m)
		})
		synctest.Wait()
		exits.Store(5)
		for _, n := range []string{"1", "2", "3"} {
			api.event(n, time.Now())
		}
		pass(time.Hour)
		f.Stop()
		expect(t, h, "1", "2", "3")
		all.readers.mu.Lock()
		defer all.readers.mu.Unlock()
		if all.readers.busy != 0 {
			t.Errorf("%d readers are counted where none is", all.readers.busy)
		}
	})
}
