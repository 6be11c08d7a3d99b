package following

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

// walkAPI has lists in pages of two, to which Link headers lead. Its nth request fails in
// one way.
type walkAPI struct {
	mu       sync.Mutex
	events   []string
	statuses map[string]string // by device
	requests int
	fails    int // the number of the request; 0: none
	way      func(*http.Request, *http.Response) (*http.Response, error)
	failed   bool
}

func (a *walkAPI) event(n int) string {
	item := fmt.Sprintf(`{"message_id":"e%d","generic":{"date_time":%q}}`, n, time.Now().UTC().Format(time.RFC3339Nano))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, item)
	return item
}

func (a *walkAPI) stateOf(device string, n int) string {
	item := fmt.Sprintf(`{"device_id":%q,"n":%d,"generic":{"date_time":%q}}`, device, n, time.Now().UTC().Format(time.RFC3339Nano))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.statuses == nil {
		a.statuses = make(map[string]string)
	}
	a.statuses[device] = item
	return item
}

func (a *walkAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.requests++
	fails := a.requests == a.fails
	query := r.URL.Query()
	var list []string
	if kind := path.Base(r.URL.Path); kind == "statuses" {
		for _, device := range slices.Sorted(maps.Keys(a.statuses)) {
			list = append(list, a.statuses[device])
		}
	} else {
		from, _ := time.Parse(time.RFC3339, query.Get("from"))
		for _, e := range a.events {
			_, date, _ := strings.Cut(e, `"date_time":"`)
			if at, err := time.Parse(time.RFC3339, strings.TrimSuffix(date, `"}}`)); err != nil || !at.Before(from) {
				list = append(list, e)
			}
		}
	}
	a.mu.Unlock()
	var at int
	_, _ = fmt.Sscan(query.Get("at"), &at) // none: the first page
	at = min(at, len(list))
	to := min(at+2, len(list))
	response := &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader("[" + strings.Join(list[at:to], ",") + "]")),
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
	}
	if to < len(list) {
		query.Set("at", fmt.Sprint(to))
		response.Header.Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.Path, query.Encode()))
	}
	if !fails {
		return response, nil
	}
	a.failed = true
	return a.way(r, response)
}

// walkWays are how a request fails.
var walkWays = map[string]func(*http.Request, *http.Response) (*http.Response, error){
	"no answer": func(r *http.Request, _ *http.Response) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	},
	"no connection": func(*http.Request, *http.Response) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	"503":           func(r *http.Request, _ *http.Response) (*http.Response, error) { return bare(r, 503), nil },
	"429": func(r *http.Request, _ *http.Response) (*http.Response, error) {
		return bare(r, 429, "Retry-After", "7"), nil
	},
	"an answer that is cut": func(_ *http.Request, response *http.Response) (*http.Response, error) {
		whole, err := io.ReadAll(response.Body)
		response.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(whole[:2*len(whole)/3])), brokenOff{}))
		return response, err
	},
	"an answer that stops": func(r *http.Request, response *http.Response) (*http.Response, error) {
		whole, err := io.ReadAll(response.Body)
		response.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(whole[:2*len(whole)/3])), silent{r}))
		return response, err
	},
	"no JSON": func(_ *http.Request, response *http.Response) (*http.Response, error) {
		response.Body = io.NopCloser(strings.NewReader("<html>"))
		return response, nil
	},
	"404": func(r *http.Request, _ *http.Response) (*http.Response, error) { return bare(r, 404), nil },
}

type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type silent struct{ request *http.Request }

func (s silent) Read([]byte) (int, error) {
	<-s.request.Context().Done()
	return 0, s.request.Context().Err()
}

// times counts what a handler had.
type times struct {
	mu sync.Mutex
	of map[string]int
}

func (h *times) handle(_ context.Context, m delivery.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = make(map[string]int)
	}
	h.of[string(m.Payload)]++
	return nil
}

// exactly returns what a handler had another number of times than once of what was
// published, and what it had besides.
func (h *times) exactly(published []string) (faults []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, item := range published {
		if n := h.of[item]; n != 1 {
			faults = append(faults, fmt.Sprintf("%d times %s", n, item))
		}
		delete(h.of, item)
	}
	for _, item := range slices.Sorted(maps.Keys(h.of)) {
		faults = append(faults, fmt.Sprintf("%d times too often %s", h.of[item], item))
	}
	return faults
}

// walk runs a scenario without a failure, and then with each of its requests failing once
// in each way: the handler must have had everything once.
func walk(t *testing.T, scenario func(*testing.T, *walkAPI, *times) (published []string)) {
	t.Helper()
	run := func(t *testing.T, fails int, way func(*http.Request, *http.Response) (*http.Response, error)) (requests int) {
		synctest.Test(t, func(t *testing.T) {
			api, h := &walkAPI{fails: fails, way: way}, new(times)
			published := scenario(t, api, h)
			if faults := h.exactly(published); len(faults) > 0 {
				t.Errorf("request %d failed: the handler had %s", fails, strings.Join(faults, ",\n"))
			}
			if requests = api.requests; fails > 0 && !api.failed {
				requests = 0
			}
		})
		return requests
	}
	requests := run(t, 0, nil)
	if t.Failed() || requests < 10 {
		t.Fatalf("%d requests without a failure", requests)
	}
	for name, way := range walkWays {
		t.Run(name, func(t *testing.T) {
			n := 1
			for run(t, n, way) > 0 && !t.Failed() { // their number is random
				n++
			}
			if n < requests/2 && !t.Failed() {
				t.Errorf("only %d requests have failed", n)
			}
		})
	}
}

// walkDialects are providers that say more or less of their items.
var walkDialects = map[string]fds.Dialect{
	"by date":                 {FromParameter: "from", TimeMember: "generic.date_time"},
	"by date, without IDs":    {FromParameter: "from", TimeMember: "generic.date_time", MessageID: "none"},
	"the whole, dated":        {TimeMember: "generic.date_time"},
	"the whole, without IDs":  {TimeMember: "generic.date_time", MessageID: "none"},
	"the whole, without date": {},
}

func TestPollingMissesAndRepeatsNothingWhicheverRequestFails(t *testing.T) {
	for name, dialect := range walkDialects {
		t.Run(name, func(t *testing.T) {
			walk(t, func(t *testing.T, api *walkAPI, h *times) (published []string) {
				for n := range 3 { // before there was anybody
					api.event(-n - 1)
				}
				time.Sleep(time.Hour)
				store, id := new(statestore.Memory), fds.NewSubscriptionID()
				start := func() *Follower {
					all := polled(t, func(cfg *config) { cfg.Dialect, cfg.Store, cfg.Poll.Interval = dialect, store, 3*time.Minute })
					return poller(t, all, id, api, h.handle)
				}
				for _, device := range []string{"A", "B", "C"} {
					published = append(published, api.stateOf(device, 0))
				}
				f := start()
				time.Sleep(2 * time.Minute)
				n := 0
				for step := range 4 {
					for range 3 {
						published = append(published, api.event(n))
						n++
						time.Sleep(time.Second)
					}
					published = append(published, api.stateOf([]string{"A", "B", "C"}[step%3], n))
					if step == 1 {
						f.Stop()
						published = append(published, api.event(n))
						n++
						time.Sleep(10 * time.Minute)
						f = start()
					}
					time.Sleep(5 * time.Minute)
				}
				f.Stop()
				f = start()
				time.Sleep(5 * time.Minute)
				f.Stop()
				return published
			})
		})
	}
}

func TestABackfillMissesAndRepeatsNothingWhicheverRequestFails(t *testing.T) {
	for name, dialect := range walkDialects {
		if dialect.TimeMember == "" {
			continue // all that there ever was may be missing
		}
		t.Run(name, func(t *testing.T) {
			walk(t, func(t *testing.T, api *walkAPI, h *times) (published []string) {
				store, id := new(statestore.Memory), fds.NewSubscriptionID()
				start := func() *Follower {
					all := pushing(t, func(cfg *config) { cfg.Dialect, cfg.Store, cfg.Gaps.DropDuplicates = dialect, store, true })
					return all.follow(t, all.owner(t, id, api), h.handle)
				}
				f := start()
				if err := f.SaveFilters(t.Context(), []string{root(f) + "#"}); err != nil {
					t.Fatal(err)
				}
				subscribed(t, f, push.Subscribed{})
				n := 0
				event := func() string {
					n++
					published = append(published, api.event(n))
					return published[len(published)-1]
				}
				status := func(device string) string {
					n++
					published = append(published, api.stateOf(device, n))
					return published[len(published)-1]
				}
				live := func() {
					for range 3 {
						pushed(t, f, "events", event(), time.Now())
						time.Sleep(5 * time.Second)
					}
					for _, device := range []string{"A", "B", "C"} {
						pushed(t, f, device+"/status", status(device), time.Now())
					}
					time.Sleep(3 * time.Minute)
				}
				live()
				for _, how := range []push.Subscribed{{Last: errLost}, {Last: errLost, SessionPresent: true}, {}, {SessionPresent: true}} {
					var queued []string
					for i := range 5 { // while nobody is there
						item := event()
						if i%2 == 0 {
							queued = append(queued, item)
						}
						time.Sleep(10 * time.Second)
					}
					status("D") // of which the Web API has the last one only
					if how.Last == nil {
						f.Stop()
						f = start()
					}
					subscribed(t, f, how)
					for _, item := range queued { // the broker had kept them
						pushed(t, f, "events", item, time.Now())
					}
					live()
				}
				subscribed(t, f, push.Subscribed{Last: errLost}) // nothing was missed
				time.Sleep(10 * time.Minute)
				f.Stop()
				return published
			})
		})
	}
}
