package following

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

func TestAHandlersErrorIsNoAnswerOfTheProvider(t *testing.T) {
	for _, class := range []error{fds.ErrNotImplemented, fds.ErrInvalidParameter, fds.ErrUnchanged} {
		t.Run(class.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hook, h := new(polls), new(had)
				all, api := polled(t, func(cfg *config) { hook.on(cfg) }), &polledAPI{from: true}
				f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
				defer f.Stop()
				synctest.Wait()
				h.mu.Lock()
				h.fail = func(string) error { return fmt.Errorf("read the device's statistics: %w", class) }
				h.mu.Unlock()
				api.event("one", time.Now())
				pass(10 * time.Minute)
				hook.mu.Lock()
				last := hook.all[len(hook.all)-1]
				hook.mu.Unlock()
				if !errors.Is(last.Err, class) || f.polling.events.unbounded {
					t.Errorf("told %v, unbounded %v", last.Err, f.polling.events.unbounded)
				}
				h.mu.Lock()
				h.fail = nil
				h.mu.Unlock()
				pass(10 * time.Minute)
				expect(t, h, "one")
			})
		})
	}
}

func TestAStatusThatTurnsBackBeforeAReadEndedIsHandedOver(t *testing.T) {
	a, b, poison := `{"device_id":"a","on":true}`, `{"device_id":"a","on":false}`, `{"device_id":"z"}`
	for name, restart := range map[string]bool{"in one run": false, "over a restart": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := new(had)
				h.fail = func(payload string) error {
					if payload == poison {
						return errors.New("no")
					}
					return nil
				}
				all, api, id := polled(t, nil), &polledAPI{statuses: []string{a}}, fds.NewSubscriptionID()
				f := poller(t, all, id, api, h.handle)
				pass(10 * time.Minute)
				api.change(func() { api.statuses = []string{b, poison} })
				pass(10 * time.Minute)
				expect(t, h, a, b)
				if restart {
					f.Stop()
				}
				api.change(func() { api.statuses = []string{a} })
				if restart {
					f = poller(t, all, id, api, h.handle)
				}
				pass(10 * time.Minute)
				expect(t, h, a)
				api.change(func() { api.statuses = []string{b} })
				pass(10 * time.Minute)
				f.Stop()
				expect(t, h, b)
			})
		})
	}
}

func TestTheFirstEventAfterAnAnswerWithoutAListIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true, noEvents: true}, new(had)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		pass(10 * time.Minute)
		api.event("long before", time.Now().Add(-time.Hour))
		api.event("first", time.Now())
		api.change(func() { api.noEvents = false })
		pass(2 * time.Minute)
		expect(t, h, "first")
	})
}

func TestAClockThatIsSetBackWhileNobodyPollsHidesNoEvent(t *testing.T) {
	for name, away := range map[string]time.Duration{"for less than it is set back": 30 * time.Minute, "for more": 5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, api, h, id := polled(t, nil), &polledAPI{from: true, ahead: 3 * time.Hour}, new(had), fds.NewSubscriptionID()
				f := poller(t, all, id, api, h.handle)
				synctest.Wait()
				api.event("before", time.Now().Add(3*time.Hour))
				pass(5 * time.Minute)
				expect(t, h, "before")
				f.Stop()
				api.change(func() { api.ahead = 0 })
				api.event("after", time.Now())
				pass(away)
				f = poller(t, all, id, api, h.handle)
				defer f.Stop()
				pass(5 * time.Minute)
				expect(t, h, "after")
			})
		})
	}
}

// expectLate wants each event that is dated an hour before it shows.
func expectLate(t *testing.T, api *polledAPI, h *had) {
	t.Helper()
	synctest.Wait()
	for i := range 4 {
		api.event(fmt.Sprint("event ", i), time.Now().Add(-time.Hour))
		time.Sleep(3 * time.Minute)
		expect(t, h, fmt.Sprint("event ", i))
	}
}

func TestAProviderThatDoesNotTellItsTimeMayBeFarBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true, noDate: true}, new(had)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		expectLate(t, api, h)
	})
}

func TestWhatABrokerBroughtBetweenTwoTimesOfPollingIsNotPolledAgainAndStatusesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h, id := polled(t, nil), &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
		on := `{"device_id":"a","on":true}`
		api.statuses = []string{on}
		f := poller(t, all, id, api, h.handle)
		pass(5 * time.Minute)
		f.Stop()
		expect(t, h, on)
		api.event("pushed", time.Now())
		pass(time.Hour)
		state := all.state(t, f.owner.Key)
		// The broker has brought "pushed" and that the device is off; that it is on
		// again was lost in the gap.
		state.Filters, state.Gap = []string{"fds/v2/x/#"}, &Gap{From: time.Now().Add(-10 * time.Minute), Since: time.Now()}
		state.Position = time.Now()
		all.put(t, f.owner.Key, state)
		api.event("in the gap", time.Now().Add(-8*time.Minute))
		pass(time.Hour)
		f = poller(t, all, id, api, h.handle)
		pass(5 * time.Minute)
		f.Stop()
		expect(t, h, "in the gap", on)
		if state := all.state(t, f.owner.Key); state.Gap != nil {
			t.Errorf("the gap %+v is open after all was read", state.Gap)
		}
	})
}

func TestAReadOfAnyLengthThatIsBrokenOffIsRemembered(t *testing.T) {
	for _, events := range []int{maxHanded, maxHanded + 20_000} {
		t.Run(fmt.Sprint(events), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				folder, err := statestore.OpenFolder(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				all := polled(t, func(cfg *config) { cfg.Store = folder })
				api, id, n := &polledAPI{from: true}, fds.NewSubscriptionID(), 0
				for i := range maxSeen {
					api.event(fmt.Sprint("old ", i), time.Now().Add(-time.Minute))
				}
				f := poller(t, all, id, api, func(context.Context, delivery.Message) error {
					if n++; n > events {
						return errors.New("no")
					}
					return nil
				})
				synctest.Wait()
				for i := range events + 10 {
					api.event(fmt.Sprint("event ", i), time.Now())
				}
				pass(2 * time.Minute)
				f.Stop()
				again := 0
				f = poller(t, all, id, api, func(context.Context, delivery.Message) error { again++; return nil })
				pass(2 * time.Minute)
				f.Stop()
				if want := 10 + max(0, events-maxHanded); again != want {
					t.Errorf("%d events came after a restart, want %d: the 10 that were not handled, and what is over %d", again, want, maxHanded)
				}
			})
		})
	}
}

func TestAttemptsOfAnItemThatWasHandledAtLastDoNotCountForItsNextTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails, dead atomic.Int64
		on, off := `{"device_id":"a","on":true}`, `{"device_id":"a","on":false}`
		all := polled(t, func(cfg *config) {
			cfg.MaxAttempts = 3
			cfg.DeadLetter = func(context.Context, delivery.Message, error) error { dead.Add(1); return nil }
		})
		api := &polledAPI{statuses: []string{on}}
		f := poller(t, all, fds.NewSubscriptionID(), api, func(context.Context, delivery.Message) error {
			if fails.Add(-1) >= 0 {
				return errors.New("no")
			}
			return nil
		})
		defer f.Stop()
		synctest.Wait()
		for _, status := range []string{off, on, off, on} {
			fails.Store(0)
			if status == on {
				fails.Store(2)
			}
			api.change(func() { api.statuses = []string{status} })
			time.Sleep(20 * time.Minute)
		}
		if n := dead.Load(); n != 0 {
			t.Errorf("%d dead letters of a status that failed twice each time; three failures make one", n)
		}
	})
}

// shiftingAPI returns its events in pages of two. Once its first page was read, the
// oldest event is gone.
type shiftingAPI struct {
	polledAPI
	drop bool
}

func (a *shiftingAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := "[]"
	if page := r.URL.Query().Get("page"); path.Base(r.URL.Path) == "events" {
		var from int
		_, _ = fmt.Sscan(page, &from)
		from = min(2*from, len(a.events))
		list = "[" + strings.Join(a.events[from:min(from+2, len(a.events))], ",") + "]"
		if a.drop && page == "0" {
			a.drop, a.events = false, a.events[1:]
		}
	} else if page != "0" {
		list = "[]"
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(list)),
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
	}, nil
}

func TestPagesThatShiftWhileTheyAreReadHideNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := polled(t, func(cfg *config) {
			cfg.Dialect = fds.Dialect{FromParameter: "from", TimeMember: "generic.date_time", Paging: fds.Paging{PageParameter: "page"}}
		})
		api, h, id := new(shiftingAPI), new(had), fds.NewSubscriptionID()
		f := poller(t, all, id, api, h.handle)
		synctest.Wait()
		// What a month away leaves: none of it is within the margin of the next read.
		f.Stop()
		pass(time.Minute)
		for i := range 5 {
			api.event(fmt.Sprint("event ", i), time.Now())
			time.Sleep(time.Hour)
		}
		pass(30 * 24 * time.Hour)
		api.change(func() { api.drop = true })
		f = poller(t, all, id, api, h.handle)
		pass(5 * time.Minute)
		f.Stop()
		got := h.take()
		slices.Sort(got)
		if want := []string{"event 0", "event 1", "event 2", "event 3", "event 4"}; !slices.Equal(got, want) {
			t.Errorf("handed over: %q", got)
		}
	})
}

func TestWhatComesBeforeAPoisonedEventInEachReadDoesNotKeepItAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(had)
		var dead atomic.Int64
		h.fail = func(payload string) error {
			if strings.Contains(payload, "poison") {
				return errors.New("no")
			}
			return nil
		}
		all := polled(t, func(cfg *config) {
			cfg.MaxAttempts = 3
			cfg.Dialect.FromParameter = ""
			cfg.DeadLetter = func(context.Context, delivery.Message, error) error { dead.Add(1); return nil }
		})
		api := new(polledAPI)
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		synctest.Wait()
		for _, id := range []string{"behind", "poison"} {
			api.event(id, time.Now())
		}
		for n := range 300 { // the newest first
			api.event(fmt.Sprint("event ", n), time.Now())
			api.change(func() {
				slices.SortStableFunc(api.events, func(a, b string) int {
					return strings.Compare(b[strings.Index(b, "date_time"):], a[strings.Index(a, "date_time"):])
				})
			})
			time.Sleep(time.Second)
		}
		_, failing := f.hand.Failing()
		f.Stop()
		if got := h.take(); dead.Load() != 1 || failing || !slices.Contains(got, "behind") || len(got) < 200 {
			t.Errorf("%d dead letters, failing %v, %d messages handed over", dead.Load(), failing, len(got))
		}
	})
}
