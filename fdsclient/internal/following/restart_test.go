package following

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

// published is what owners' devices have published, all of which the Web API has.
type published struct {
	mu       sync.Mutex
	events   map[fds.OwnerKey][]string
	statuses map[fds.OwnerKey]string
	requests map[fds.OwnerKey]int
	status   int           // it answers; 0: 200
	takes    time.Duration // an answer
}

func newPublished() *published {
	return &published{events: make(map[fds.OwnerKey][]string), statuses: make(map[fds.OwnerKey]string), requests: make(map[fds.OwnerKey]int)}
}

func (p *published) event(owner fds.OwnerKey, item string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events[owner] = append(p.events[owner], item)
	return item
}

func (p *published) stateOf(owner fds.OwnerKey, item string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statuses[owner] = item
	return item
}

func (p *published) api() *webAPI {
	return &webAPI{takes: p.takes, answer: func(owner fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.requests[owner]++
		if p.status != 0 {
			return p.status, ""
		}
		if kind == pull.Statuses {
			return 200, "[" + p.statuses[owner] + "]"
		}
		return 200, "[" + strings.Join(p.events[owner], ",") + "]"
	}}
}

// asked returns how many requests came since it was last asked, and the most of one owner.
func (p *published) asked() (all, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.requests {
		all += n
		most = max(most, n)
	}
	clear(p.requests)
	return all, most
}

// A kept session has what was published meanwhile: what the Web API has beside it was
// handled.
func TestARestartOfOwnersWhoseSessionsWereKeptCostsARequestEachAndTellsNobody(t *testing.T) {
	noIDs := byDate
	noIDs.MessageID = "none"
	for name, dialect := range map[string]fds.Dialect{
		"asked by date": byDate, "the whole collection": {TimeMember: "generic.date_time"}, "without IDs": noIDs,
		"to the second": {TimeMember: "generic.date_time", TimeLayout: time.RFC3339},
	} {
		for end, killed := range map[string]bool{"ended": false, "killed": true} {
			t.Run(name+", "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const owners = 20
					store, world := new(countedStore), newPublished()
					api := world.api()
					first := pushing(t, func(c *config) { c.Dialect, c.Store = dialect, store })
					var fleet []*Follower
					for range owners {
						fleet = append(fleet, followed(t, first, api, new(handled).handle))
					}
					pass(time.Hour)
					layout := first.Dialect.TimeLayout
					item := func(id string, at time.Time) string {
						return fmt.Sprintf(`{"message_id":%q,"device_id":"D","generic":{"date_time":%q}}`, id, at.UTC().Format(layout))
					}
					for n := range 5 {
						for _, f := range fleet {
							pushed(t, f, "D/events", world.event(f.owner.Key, item(fmt.Sprint("e", n), time.Now())), time.Now())
							pushed(t, f, "D/status", world.stateOf(f.owner.Key, item(fmt.Sprint("s", n), time.Now())), time.Now())
						}
						time.Sleep(7 * time.Second)
					}
					for _, f := range fleet { // a gateway was behind: all of them at once, and dated before
						for n := range 3 {
							pushed(t, f, "D/events", world.event(f.owner.Key, item(fmt.Sprint("late", n), time.Now().Add(-10*time.Second))), time.Now())
						}
					}
					if killed {
						time.Sleep(positionInterval + time.Second)
					}
					states := make(map[fds.OwnerKey]record)
					for _, f := range fleet {
						states[f.owner.Key] = first.state(t, f.owner.Key)
						f.Stop()
						if killed {
							first.put(t, f.owner.Key, states[f.owner.Key])
						}
					}
					world.asked()
					store.saves.Store(0)

					var told gaps
					var lines logged
					var again handled
					next := pushing(t, func(c *config) {
						c.Dialect, c.Store = dialect, store
						told.on(c)
						lines.on(c, slog.LevelInfo)
					})
					for n, f := range fleet {
						fleet[n] = next.follow(t, next.owner(t, f.owner.Key.SubscriptionID, api.of(f.owner.Key)), again.handle)
						subscribed(t, fleet[n], push.Subscribed{SessionPresent: true})
					}
					pass(time.Minute)
					if _, most := world.asked(); most > 1 {
						t.Errorf("up to %d requests an owner", most)
					}
					if len(again.messages) > 0 {
						t.Errorf("%d messages were handed over again, as %s", len(again.messages), again.messages[0].Payload)
					}
					if changes := told.told(); len(changes) > 0 || lines.String() != "" {
						t.Errorf("told of %v; logged:\n%s", changes, lines.String())
					}
					if n := store.saves.Load(); n > owners {
						t.Errorf("%d saves, want one an owner", n)
					}
					for _, f := range fleet {
						f.Stop()
					}
				})
			})
		}
	}
}

// restarted is an owner who was followed for an hour, whose next process is at the moment
// before it subscribes.
func restarted(t *testing.T, world *published, h *handled, change func(*config)) (*fixture, *Follower) {
	t.Helper()
	store, api := new(statestore.Memory), world.api()
	all := pushing(t, func(c *config) { c.Dialect, c.Store = byDate, store })
	f := followed(t, all, api, h.handle)
	time.Sleep(time.Hour)
	pushed(t, f, "D/events", world.event(f.owner.Key, dated("handled", time.Now())), time.Now())
	pushed(t, f, "D/status", world.stateOf(f.owner.Key, dated("D", time.Now())), time.Now())
	f.Stop()
	time.Sleep(10 * time.Second)
	all = pushing(t, func(c *config) {
		c.Dialect, c.Store = byDate, store
		if change != nil {
			change(c)
		}
	})
	world.asked()
	return all, all.follow(t, f.owner, h.handle)
}

func TestWhatABrokerLostThoughItKeptTheSessionIsFoundAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told gaps
		var got handled
		world := newPublished()
		_, f := restarted(t, world, &got, told.on)
		defer f.Stop()
		world.event(f.owner.Key, dated("missed", time.Now()))
		changed := world.stateOf(f.owner.Key, dated("D", time.Now()))
		subscribed(t, f, push.Subscribed{SessionPresent: true})
		if got.has("missed") != 1 || got.has("handled") != 1 || got.has(changed) != 1 {
			t.Errorf("the event was handed over %d times, the device's state %d, and what was handled before %d", got.has("missed"), got.has(changed), got.has("handled"))
		}
		if changes := told.told(); !slices.Equal(changes, []Change{Opened, Closed}) {
			t.Errorf("told of %v", changes)
		}
		if all, _ := world.asked(); all != 2 {
			t.Errorf("%d requests, want one for events and one for statuses", all)
		}
	})
}

func TestACheckAfterARestartThatFailsIsToldAsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told gaps
		var got handled
		world := newPublished()
		_, f := restarted(t, world, &got, told.on)
		defer f.Stop()
		world.mu.Lock()
		world.status = 503
		world.mu.Unlock()
		time.AfterFunc(time.Second, func() {
			world.mu.Lock()
			defer world.mu.Unlock()
			world.status = 0
		})
		subscribed(t, f, push.Subscribed{SessionPresent: true})
		if changes := told.told(); len(changes) < 3 || changes[0] != Opened || changes[1] != Failing || changes[len(changes)-1] != Closed {
			t.Errorf("told of %v", changes)
		}
		if got.has("handled") != 1 {
			t.Errorf("what was handled was handed over %d times", got.has("handled"))
		}
	})
}

func TestACheckAfterARestartThatTakesTooLongIsToldAsAGapAndStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told gaps
		var got handled
		var lines logged
		world := newPublished()
		world.takes = 50 * time.Second // below the time that an answer may take
		all, f := restarted(t, world, &got, func(c *config) { told.on(c); lines.on(c, slog.LevelWarn) })
		defer f.Stop()
		began := time.Now()
		subscribed(t, f, push.Subscribed{SessionPresent: true})
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("live messages waited for %v", took)
		}
		if changes := told.told(); !slices.Equal(changes, []Change{Opened}) || f.Seen().Gap == nil || all.state(t, f.owner.Key).Gap == nil {
			t.Errorf("told of %v; seen %v, stored %v", changes, f.Seen().Gap, all.state(t, f.owner.Key).Gap)
		}
		if n := strings.Count(lines.String(), "\n"); n != 1 {
			t.Errorf("logged:\n%s", lines.String())
		}
		pass(10 * time.Minute)
		if f.open() || all.state(t, f.owner.Key).Gap != nil {
			t.Error("the gap is not closed")
		}
	})
}

// What moves no position, as one that is dated before the last, is remembered all the same.
func TestWhatTheHandlerHadLastIsStoredThoughTheStoreIsSlowOrFails(t *testing.T) {
	late := func(t *testing.T, f *Follower, id string) {
		pushed(t, f, "D/events", dated(id, time.Now().Add(-time.Minute)), time.Now())
	}
	knows := func(t *testing.T, all *fixture, f *Follower, ids ...string) {
		t.Helper()
		var r seen
		r.restore(all.state(t, f.owner.Key).Recent)
		for _, id := range ids {
			if !r.holds(digests{what: digestOfSeen([]byte("id " + id))}) {
				t.Errorf("%q is not known to the next process", id)
			}
		}
	}
	t.Run("it is slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			all := pushing(t, func(c *config) {
				c.Dialect = byDate
				c.Store = &slowState{slow: func(s record) time.Duration { return time.Duration(len(s.Recent)) * time.Second }}
			})
			f := followed(t, all, new(webAPI), new(handled).handle)
			pass(time.Hour)
			pushed(t, f, "D/events", dated("last", time.Now()), time.Now())
			pass(positionInterval + time.Second) // it is being stored
			late(t, f, "late")
			pass(time.Minute)
			knows(t, all, f, "last", "late")
			f.Stop()
		})
	})
	t.Run("it fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := new(failingState)
			all := pushing(t, func(c *config) { c.Dialect, c.Store = byDate, store })
			f := followed(t, all, new(webAPI), new(handled).handle)
			pass(time.Hour)
			pushed(t, f, "D/events", dated("last", time.Now()), time.Now())
			pass(time.Minute)
			store.saves.Store(true)
			late(t, f, "late")
			pass(positionInterval + 100*time.Millisecond)
			store.saves.Store(false)
			f.Stop()
			knows(t, all, f, "last", "late")
		})
	})
}

// Where dates are coarse, a device that is as it was before has the same status to the byte.
func TestAStateThatAnotherOneFollowedIsNotKnownToTheNextProcessAsTheLast(t *testing.T) {
	event := func(payload string) digests { return digests{what: digestOfSeen([]byte(payload))} }
	state := func(payload string) digests {
		d := event(payload)
		d.of = 7
		return d
	}
	var first, next, last seen
	for _, d := range []digests{state("on"), state("off"), event("e")} {
		first.add(d, false)
	}
	next.restore(first.bytes())
	last.restore(next.bytes())
	for n, r := range []*seen{&first, &next, &last} {
		if r.holds(state("on")) || !r.holds(state("off")) || !r.holds(event("e")) || !r.holds(event("on")) {
			t.Errorf("process %d: knows the first state %v, the last %v, an event %v, and what may have been one %v", n, r.holds(state("on")), r.holds(state("off")), r.holds(event("e")), r.holds(event("on")))
		}
	}
}

// A process that dies while live messages flow and the gap is open has not forgotten it.
func TestAGapIsStoredOnceLiveMessagesGoOnBeforeItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(countedStore)
		all := pushing(t, func(c *config) { c.Dialect, c.Store = byDate, store })
		down := atomic.Bool{}
		api := &webAPI{answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) {
			if down.Load() {
				return 503, ""
			}
			return 200, "[]"
		}}
		f := followed(t, all, api, new(handled).handle)
		store.saves.Store(0)
		pass(time.Hour)
		subscribed(t, f, push.Subscribed{Last: errLost})
		if n := store.saves.Load(); n != 0 {
			t.Errorf("%d saves for a gap that was closed before live messages came", n)
		}
		pass(2 * positionInterval)
		if at := all.state(t, f.owner.Key).Position; time.Since(at) > time.Minute || store.saves.Load() != 1 {
			t.Errorf("the position is %v old, after %d saves", time.Since(at), store.saves.Load())
		}
		down.Store(true)
		subscribed(t, f, push.Subscribed{Last: errLost})
		state := all.state(t, f.owner.Key)
		if state.Gap == nil || state.Gap.From.IsZero() || f.Seen().Gap == nil {
			t.Errorf("live messages go on, and the gap is stored as %+v", state.Gap)
		}
		f.Stop()
		down.Store(false)
		f = all.follow(t, f.owner, new(handled).handle)
		defer f.Stop()
		subscribed(t, f, push.Subscribed{SessionPresent: true, Planned: true}) // there is one of an earlier process
		if all.state(t, f.owner.Key).Gap != nil || f.open() {
			t.Error("the gap of the process before is not closed")
		}
	})
}

func TestWhatIsNoOutageOpensNoGap(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config)
		s      push.Subscribed
		want   int // requests
	}{
		"a planned one with the session":               {nil, push.Subscribed{SessionPresent: true, Planned: true, Last: errLost}, 0},
		"a planned one without":                        {nil, push.Subscribed{Planned: true, Last: errLost}, 2},
		"a lost one with the session":                  {nil, push.Subscribed{SessionPresent: true, Last: errLost}, 2},
		"a lost one with the session, that is trusted": {func(c *config) { c.Gaps.TrustSession = true }, push.Subscribed{SessionPresent: true, Last: errLost}, 0},
		"the first one with it":                        {func(c *config) { c.Gaps.TrustSession = true }, push.Subscribed{SessionPresent: true}, 0},
		"a lost one without":                           {func(c *config) { c.Gaps.TrustSession = true }, push.Subscribed{Last: errLost}, 2},
		"when gaps are off":                            {func(c *config) { c.Gaps.Off = true }, push.Subscribed{Last: errLost}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told gaps
				world := newPublished()
				all := pushing(t, func(cfg *config) {
					cfg.Dialect = byDate
					told.on(cfg)
					if c.change != nil {
						c.change(cfg)
					}
				})
				f := followed(t, all, world.api(), new(handled).handle)
				defer f.Stop()
				pass(time.Minute)
				subscribed(t, f, c.s)
				n, _ := world.asked()
				if changes := told.told(); n != c.want || (len(changes) > 0) != (c.want > 0) {
					t.Errorf("%d requests, want %d; told of %v", n, c.want, changes)
				}
			})
		})
	}
}

// Waiting makes neither better.
func TestLiveMessagesDoNotWaitForWhatTheConfigurationKeepsFromBeingFetched(t *testing.T) {
	for name, change := range map[string]func(*config){
		"no Web API":                   func(c *config) { c.NoAPI = true },
		"topics that items do not say": func(c *config) { c.Topics = []string{"D/events"} },
		"a joint grant":                func(c *config) { c.Shared = joint },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told gaps
				world := newPublished()
				all := pushing(t, func(c *config) { c.Dialect = byDate; told.on(c); change(c) })
				f := followed(t, all, world.api(), new(handled).handle)
				defer f.Stop()
				pass(time.Minute)
				began := time.Now()
				subscribed(t, f, push.Subscribed{Last: errLost})
				if took := time.Since(began); took > time.Second {
					t.Errorf("live messages waited for %v", took)
				}
				if changes := told.told(); !slices.Equal(changes, []Change{Opened, Failing}) || all.state(t, f.owner.Key).Gap == nil {
					t.Errorf("told of %v; stored %v", changes, all.state(t, f.owner.Key).Gap)
				}
				if n, _ := world.asked(); n > 0 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

func TestACollectionThatIsNotImplementedHoldsUpNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		missed := ""
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Statuses {
				return 501, `{"status":204,"message":"not_implemented"}`
			}
			return 200, "[" + missed + "]"
		}}
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		pass(time.Minute)
		missed = dated("missed", time.Now())
		subscribed(t, f, push.Subscribed{Last: errLost})
		if f.open() || got.has("missed") != 1 {
			t.Errorf("open %v; what was missed was handed over %d times", f.open(), got.has("missed"))
		}
	})
}
