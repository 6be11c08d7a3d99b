package following

import (
	"context"
	"io"
	"net/http"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// fleetAPI is the Web API of many owners: it counts who reads at once, from the
// request until the list is closed, and notes who came when.
type fleetAPI struct {
	missed  time.Time // of what it has for each
	takes   time.Duration
	special func(r *http.Request, owner int) (status int) // 0: as all others
	gate    chan struct{}                                 // closed: it answers

	mu         sync.Mutex
	apart      map[int]bool // not counted: those whose handler takes long
	reading    int
	top        int   // the most at once
	first      []int // owners, as each came first
	requests   []int // by owner
	goroutines int   // the most seen
}

type fleetAPIOf struct {
	api   *fleetAPI
	owner int
}

func (a *fleetAPIOf) RoundTrip(r *http.Request) (*http.Response, error) {
	f := a.api
	counts := 1
	f.mu.Lock()
	if f.apart[a.owner] {
		counts = 0
	}
	f.reading += counts
	f.top = max(f.top, f.reading)
	if f.requests[a.owner]++; f.requests[a.owner] == 1 {
		f.first = append(f.first, a.owner)
	}
	f.goroutines = max(f.goroutines, runtime.NumGoroutine())
	f.mu.Unlock()
	done := sync.OnceFunc(func() {
		f.mu.Lock()
		f.reading -= counts
		f.mu.Unlock()
	})
	<-f.gate
	time.Sleep(f.takes)
	status := f.special(r, a.owner)
	if err := r.Context().Err(); err != nil {
		done()
		return nil, err
	}
	if status == 0 {
		status = 200
	}
	return &http.Response{
		StatusCode: status, Request: r,
		Body: &closing{strings.NewReader("[" + dated(path.Base(r.URL.Path), f.missed) + "]"), done},
		Header: http.Header{
			"Content-Type": {"application/json"},
			"Date":         {time.Now().UTC().Format(http.TimeFormat)},
		},
	}, nil
}

// closing is a body that tells when it is closed.
type closing struct {
	io.Reader
	closed func()
}

func (c *closing) Close() error {
	c.closed()
	return nil
}

// All owners lose their connection at once, and four of them are a burden from the
// start: one's handler hangs, one's Web API fails for good, one's does not answer,
// one's connection is lost again whenever its gap is fetched. Some others have a
// handler that is slow.
func TestTenThousandGapsAtOnceAreAllClosedInTurnAndWithinTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners, most = 10_000, 16
		const hangs, fails, silent, flaps, burdens = 0, 1, 2, 3, 4
		all := pushing(t, func(c *config) {
			c.Dialect = byDate
			c.Gaps.Concurrent = most
			c.Gaps.Retry = push.Backoff{Initial: time.Millisecond, Max: time.Millisecond} // each would be first, if it could
		})
		healed := make(chan struct{})
		isHealed := func() bool {
			select {
			case <-healed:
				return true
			default:
				return false
			}
		}
		var fleet []*Follower
		api := &fleetAPI{takes: 100 * time.Millisecond, gate: make(chan struct{}), apart: map[int]bool{hangs: true}, requests: make([]int, owners)}
		api.special = func(r *http.Request, owner int) int {
			switch {
			case isHealed():
			case owner == fails:
				return http.StatusInternalServerError
			case owner == silent:
				select {
				case <-r.Context().Done():
				case <-healed:
				}
			case owner == flaps:
				outageOf(t, fleet[owner], push.Subscribed{})
			}
			return 0
		}
		var mu sync.Mutex
		had := make(map[fds.SubscriptionID]int)
		slow := make(map[fds.SubscriptionID]bool)
		handler := func(_ context.Context, m delivery.Message) error {
			switch {
			case m.Owner == fleet[hangs].owner.Key:
				<-healed
			case slow[m.Owner.SubscriptionID]:
				time.Sleep(2 * releaseAfter)
			}
			mu.Lock()
			defer mu.Unlock()
			had[m.Owner.SubscriptionID]++
			return nil
		}
		for n := range owners {
			f := followed(t, all, new(webAPI), handler)
			f.owner = all.owner(t, f.owner.Key.SubscriptionID, &fleetAPIOf{api, n})
			if n < owners/2 && n%200 == 100 {
				api.apart[n], slow[f.owner.Key.SubscriptionID] = true, true
			}
			fleet = append(fleet, f)
		}
		pass(time.Hour)
		api.missed = time.Now()

		memory := func() uint64 {
			var stats runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&stats)
			return stats.HeapAlloc
		}
		goroutines, heap := runtime.NumGoroutine(), memory()
		var filled []<-chan struct{}
		for _, f := range fleet {
			filled = append(filled, outage(t, f))
		}
		synctest.Wait()
		waiting := memory()
		if n := runtime.NumGoroutine() - goroutines; n > 2*most {
			t.Errorf("%d goroutines more while all gaps wait, want two for each of the %d that are read: one reads ahead", n, most)
		}
		if api.mu.Lock(); api.reading != most-1 { // and the one whose handler will hang
			t.Errorf("%d owners more are read at the beginning, want %d", api.reading, most-1)
		}
		api.mu.Unlock()
		began := time.Now()
		close(api.gate)
		for _, gap := range filled[burdens:] {
			select {
			case <-gap:
			case <-time.After(time.Hour):
				t.Fatal("an owner's gap is not closed within an hour, and no other's since")
			}
		}
		took := time.Since(began)

		api.mu.Lock()
		if api.top != most {
			t.Errorf("up to %d owners were read at once, want %d", api.top, most)
		}
		for rank, owner := range api.first {
			if away := rank - owner; away < -2*most || away > 2*most {
				t.Errorf("owner %d had its first turn as number %d", owner, rank)
				break
			}
		}
		for owner, n := range api.requests {
			switch {
			case owner < burdens && n > 6: // a first turn, a second behind all others, and another while the last are at it
				t.Errorf("owner %d, who is a burden, had %d requests while others waited", owner, n)
			case owner >= burdens && n != 2:
				t.Errorf("owner %d had %d requests, want one for events and one for statuses", owner, n)
			}
		}
		if n := api.goroutines - goroutines; n > 3*most+most/4 { // what a timer calls has one for a moment
			t.Errorf("up to %d goroutines more while the gaps were closed", n)
		}
		t.Logf("%d owners, %d at once: %v on the provider's side; up to %d goroutines more; a gap that waits takes %d bytes, all owners %d MiB",
			owners, api.top, took.Round(time.Second), api.goroutines-goroutines, (int(waiting)-int(heap))/owners, waiting>>20)
		api.mu.Unlock()

		close(healed)
		for n, gap := range filled {
			<-gap
			if state := all.state(t, fleet[n].owner.Key); state.Gap != nil {
				t.Errorf("owner %d: the gap is closed, and stored", n)
			}
		}
		synctest.Wait()
		mu.Lock()
		for n, f := range fleet {
			if got := had[f.owner.Key.SubscriptionID]; got < 2 || n >= burdens && got != 2 {
				t.Errorf("owner %d's handler had %d items, want the event and the status", n, got)
			}
		}
		mu.Unlock()
		all.readers.mu.Lock()
		if b := &all.readers; b.busy != 0 || len(b.queue) != 0 {
			t.Errorf("afterwards %d readers are counted and %d owners wait", b.busy, len(b.queue))
		}
		all.readers.mu.Unlock()
		for _, f := range fleet {
			f.Stop()
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - goroutines; n > 0 {
			t.Errorf("%d goroutines are left", n)
		}
	})
}
