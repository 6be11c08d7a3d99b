package following

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
)

// Whoever has signed in is there to receive, though the provider is not.
func TestEventsSinceTheFirstAttemptAreNewHoweverLongThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		ahead  time.Duration // the provider's clock
		noDate bool
		from   bool
		member string // dates items
	}{
		"by the same clock":           {from: true, member: "generic.date_time"},
		"by a clock that is ahead":    {ahead: 20 * time.Minute, from: true, member: "generic.date_time"},
		"by a clock that is behind":   {ahead: -20 * time.Minute, member: "generic.date_time"},
		"by a clock that is not told": {noDate: true, member: "generic.date_time"},
	} {
		for how, restarts := range map[string]string{"in one run": "", "over restarts": "ended", "over processes that are killed": "killed"} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := new(statestore.Memory)
					start := func(api *polledAPI, id fds.SubscriptionID, h *had) (*fixture, *Follower) {
						all := polled(t, func(cfg *config) { cfg.Store = store; cfg.Dialect.TimeMember = c.member })
						return all, poller(t, all, id, api, h.handle)
					}
					api, h, id := &polledAPI{from: c.from, ahead: c.ahead, noDate: c.noDate, fails: 1 << 30}, new(had), fds.NewSubscriptionID()
					api.event("long before", time.Now().Add(c.ahead-time.Hour))
					api.event("just before", time.Now().Add(c.ahead-10*time.Second))
					all, f := start(api, id, h)
					var want []string
					for n := range 6 {
						time.Sleep(time.Hour)
						want = append(want, fmt.Sprint("event ", n))
						api.event(want[n], time.Now().Add(c.ahead))
						if restarts == "" {
							continue
						}
						stored := all.state(t, f.owner.Key)
						f.Stop()
						if restarts == "killed" {
							all.put(t, f.owner.Key, stored)
						}
						time.Sleep(time.Hour)
						all, f = start(api, id, h)
					}
					expect(t, h)
					api.change(func() { api.fails = 0 })
					pass(time.Hour)
					f.Stop()
					expect(t, h, want...)
					_, f = start(api, id, h)
					pass(time.Hour)
					f.Stop()
					expect(t, h)
				})
			})
		}
	}
}

func TestAFirstReadThatFailsInTheMiddleIsGoneOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h, id := polled(t, nil), new(polledAPI), new(had), fds.NewSubscriptionID()
		api.event("before", time.Now().Add(-time.Hour))
		var heals atomic.Bool
		h.fail = func(payload string) error {
			if !heals.Load() && strings.Contains(payload, "poison") {
				return errors.New("no")
			}
			return nil
		}
		api.change(func() { api.fails = 1 })
		f := poller(t, all, id, api, h.handle)
		pass(500 * time.Millisecond) // before the second attempt
		for _, name := range []string{"first", "poison", "last"} {
			api.event(name, time.Now())
		}
		pass(10 * time.Minute)
		expect(t, h, "first")
		f.Stop()
		f = poller(t, all, id, api, h.handle)
		pass(10 * time.Minute)
		heals.Store(true)
		pass(10 * time.Minute)
		f.Stop()
		expect(t, h, "poison", "last")
	})
}

func TestAPanicOrTheEndOfAGoroutineInAPollIsAFailureOfTheHandler(t *testing.T) {
	for name, fail := range map[string]func(){"a panic": func() { panic("no") }, "the end": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hook, h := new(polls), new(had)
				all := polled(t, func(cfg *config) { hook.on(cfg); cfg.Gaps.Concurrent = 1 })
				api, bad := &polledAPI{from: true}, 2
				f := poller(t, all, fds.NewSubscriptionID(), api, func(ctx context.Context, m delivery.Message) error {
					if strings.Contains(string(m.Payload), "two") {
						if bad--; bad >= 0 {
							fail()
						}
					}
					return h.handle(ctx, m)
				})
				defer f.Stop()
				synctest.Wait()
				for _, name := range []string{"one", "two", "three"} {
					api.event(name, time.Now())
				}
				pass(10 * time.Minute)
				expect(t, h, "one", "two", "three")
				failed := 0
				hook.mu.Lock()
				for _, e := range hook.all {
					if e.Err != nil {
						failed++
					}
				}
				hook.mu.Unlock()
				if failed != 2 {
					t.Errorf("%d reads failed, want 2", failed)
				}
				if _, fails := f.hand.Failing(); fails {
					t.Error("the message is still shown as failing")
				}
			})
		})
	}
}

// A hook may be a test's, which fails.
func TestHooksThatEndTheirGoroutineEndNoPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(had)
		all := polled(t, func(cfg *config) { cfg.OnPoll = func(PollEvent) { runtime.Goexit() }; cfg.Gaps.Concurrent = 1 })
		api := &polledAPI{from: true}
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		other := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		synctest.Wait()
		for n := range 3 {
			api.event(fmt.Sprint(n), time.Now())
			time.Sleep(5 * time.Minute)
			expect(t, h, fmt.Sprint(n), fmt.Sprint(n))
		}
		f.Stop()
		other.Stop()
	})
}

func TestAnEventThatIsPublishedWhileTheFirstReadWaitsIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := new(polledAPI)
		api.from = true
		h := new(had)
		all := polled(t, func(cfg *config) { cfg.Gaps.Concurrent = 1 })
		// The read of another owner takes the only reader for a minute.
		slow := &webAPI{takes: time.Minute, answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) { return 200, "[]" }}
		other := fds.NewSubscriptionID()
		g := poller(t, all, other, slow.of(fds.OwnerKey{Issuer: issuer, SubscriptionID: other}), new(had).handle)
		synctest.Wait()
		api.event("before", time.Now().Add(-time.Minute))
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		pass(30 * time.Second)
		api.event("meanwhile", time.Now())
		pass(10 * time.Minute)
		f.Stop()
		g.Stop()
		pass(2 * time.Minute)
		expect(t, h, "meanwhile")
	})
}
