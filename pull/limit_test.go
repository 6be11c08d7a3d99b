package pull_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

func limited(l *fds.Limit) func(*pull.Config) { return func(c *pull.Config) { c.Limit = l } }

func TestNoMoreRequestsAtOnceThanTheLimitAllowsHoweverManyClients(t *testing.T) {
	for _, places := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int64
			transport := script(func(r *http.Request) (*http.Response, error) {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				body := &slowBody{ctx: r.Context(), each: time.Second, parts: []string{"[{}", ",{}", "]"}}
				response := stream(r, 200, body)
				response.Body = counted{body, &now}
				return response, nil
			})
			limit := &fds.Limit{Concurrent: places}
			start := time.Now()
			var all sync.WaitGroup
			for range 12 {
				all.Go(func() {
					client := offline(t, transport, limited(limit))
					if items, err := pull.Collect(client.Spaces(t.Context(), pull.Query{})); len(items) != 2 || err != nil {
						t.Errorf("%d items, %v", len(items), err)
					}
				})
			}
			all.Wait()
			atOnce := places
			if places == 0 {
				atOnce = 12
			}
			if took := time.Since(start); most.Load() != int64(atOnce) || took != time.Duration(12/atOnce)*3*time.Second {
				t.Errorf("%d places: %d at once, %v", places, most.Load(), took)
			}
		})
	}
}

// counted is a body that is in use until it is closed.
type counted struct {
	io.ReadCloser
	now *atomic.Int64
}

func (c counted) Close() error { c.now.Add(-1); return nil }

func TestALoopThatTakesItsTimeHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &fds.Limit{Concurrent: 1}
		long := "[" + strings.Repeat(`{"note":"`+strings.Repeat("x", 1000)+`"},`, 5000) + "{}]"
		for _, err := range offline(t, script(func(r *http.Request) (*http.Response, error) { return reply(r, 200, long), nil }), limited(limit)).Items(t.Context(), pull.Spaces, pull.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // as much as is read ahead is there
			start := time.Now()
			if _, err := pull.Collect(offline(t, &recorder{}, limited(limit)).Spaces(t.Context(), pull.Query{})); err != nil || time.Since(start) != 0 {
				t.Errorf("another list took %v, %v", time.Since(start), err)
			}
			break
		}
	})
}

func TestRequestsPerSecondAreBounded(t *testing.T) {
	for _, test := range []struct {
		perSecond float64
		requests  int
		took      time.Duration
	}{
		{4, 4, 0}, // a burst of a second's worth
		{4, 12, 2 * time.Second},
		{0.5, 3, 4 * time.Second},
		{0, 50, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			limit := &fds.Limit{PerSecond: test.perSecond}
			start := time.Now()
			for range test.requests {
				if _, err := pull.Collect(offline(t, &recorder{}, limited(limit)).Spaces(t.Context(), pull.Query{})); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(start).Round(time.Millisecond); took != test.took {
				t.Errorf("%d requests at %v a second took %v, want %v", test.requests, test.perSecond, took, test.took)
			}
		})
	}
}

func TestAWaitForAPlaceEndsWithItsContext(t *testing.T) {
	for name, limit := range map[string]*fds.Limit{"places": &fds.Limit{Concurrent: 1}, "rate": &fds.Limit{PerSecond: 0.01}} {
		synctest.Test(t, func(t *testing.T) {
			holds := make(chan struct{})
			release, cancelHolder := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() {
				_, _ = pull.Collect(offline(t, script(func(r *http.Request) (*http.Response, error) {
					close(holds)
					<-r.Context().Done()
					return nil, r.Context().Err()
				}), limited(limit), func(c *pull.Config) { c.Timeout = time.Hour }).Spaces(release, pull.Query{}))
			})
			<-holds
			asked := &recorder{}
			client := offline(t, asked, limited(limit))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			_, err := pull.Collect(client.Spaces(ctx, pull.Query{}))
			if !errors.Is(err, context.Canceled) || !isOnly(err, nil) || time.Since(start) != time.Second || len(asked.urls) != 0 {
				t.Errorf("%s: %v after %v, %d requests", name, err, time.Since(start), len(asked.urls))
			}
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			_, err = pull.Collect(client.Spaces(ctx, pull.Query{}))
			if !errors.Is(err, context.DeadlineExceeded) || !isOnly(err, nil) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			cancelHolder()
			all.Wait()
		})
	}
}

func TestAPlaceIsGivenBackHoweverAnExchangeEnds(t *testing.T) {
	for name, transport := range map[string]script{
		"whole":      func(r *http.Request) (*http.Response, error) { return reply(r, 200, `[{}]`), nil },
		"refused":    func(r *http.Request) (*http.Response, error) { return reply(r, 403, ``), nil },
		"challenged": func(r *http.Request) (*http.Response, error) { return reply(r, 401, ``), nil },
		"redirected": func(r *http.Request) (*http.Response, error) { return reply(r, 302, ``, "Location", "/fds/v2/x"), nil },
		"elsewhere": func(r *http.Request) (*http.Response, error) {
			return reply(r, 302, ``, "Location", "https://evil.example/"), nil
		},
		"no answer": func(*http.Request) (*http.Response, error) { return nil, errLost },
		"not JSON": func(r *http.Request) (*http.Response, error) {
			return reply(r, 200, `<`, "Content-Type", "text/html"), nil
		},
		"cut short": func(r *http.Request) (*http.Response, error) { return reply(r, 200, `[{}`), nil },
		"wrong link": func(r *http.Request) (*http.Response, error) {
			return reply(r, 200, `[]`, "Link", "<http://x/>; rel=next"), nil
		},
		"late":    func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
		"panic":   func(*http.Request) (*http.Response, error) { panic("transport") },
		"its end": func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"panic in the body": func(r *http.Request) (*http.Response, error) {
			return stream(r, 200, panicking{}), nil
		},
		"panic in a refusal": func(r *http.Request) (*http.Response, error) {
			return stream(r, 403, panicking{}), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := &fds.Limit{Concurrent: 1}
				owner := &bearer{token: secret, renew: func(*http.Response) (string, bool, error) { return "fresh", true, nil }}
				client := offline(t, transport, limited(limit), func(c *pull.Config) { c.Authorizer = owner })
				for _, do := range []func(){
					func() { _, _ = raws(client.Items(t.Context(), pull.Spaces, pull.Query{})) },
					func() { _, _ = client.CreateTag(t.Context(), 1) },
					func() { _ = client.DeleteTag(t.Context(), "a") },
					func() {
						for range client.Items(t.Context(), pull.Spaces, pull.Query{Version: new(pull.Version)}) {
							break
						}
					},
				} {
					var done sync.WaitGroup
					done.Go(func() { // some of them end it
						defer func() { _ = recover() }()
						do()
					})
					done.Wait()
					synctest.Wait()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if _, err := pull.Collect(offline(t, &recorder{}, limited(limit)).Spaces(ctx, pull.Query{})); err != nil {
						t.Fatalf("the place is still taken: %v", err)
					}
					cancel()
				}
			})
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("body") }
