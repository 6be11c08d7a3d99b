package following

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
)

// TestAttackOwnersArePolledApart: who were found together would else come together for
// ever.
func TestAttackOwnersArePolledApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := new(polls)
		all := polled(t, func(cfg *config) { hook.on(cfg) })
		f := poller(t, all, fds.NewSubscriptionID(), &polledAPI{from: true}, new(had).handle)
		pass(3 * time.Hour)
		f.Stop()
		hook.mu.Lock()
		defer hook.mu.Unlock()
		early, late := 0, 0
		for i := 1; i < len(hook.all); i++ {
			switch between := hook.all[i].NextAt.Sub(hook.all[i-1].NextAt); {
			case between < 54*time.Second || between > 66*time.Second:
				t.Errorf("%v from one read to the next", between)
			case between < 58*time.Second:
				early++
			case between > 62*time.Second:
				late++
			}
		}
		if early < 10 || late < 10 {
			t.Errorf("of %d reads %d came early and %d late", len(hook.all), early, late)
		}
	})
}

// TestAttackAnAnswerThatTheHandlerGotIsNotTheProviders: a handler that asks the Web API
// itself may fail with what that says, which is no reason to go on with another list.
func TestAttackAnAnswerThatTheHandlerGotIsNotTheProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusing, err := pull.New(pull.Config{BaseURL: "https://api.example", Authorizer: anyone{}, Settings: pull.Settings{RetryFor: -1}, Transport: through(func(r *http.Request) (*http.Response, error) {
			return bare(r, http.StatusForbidden), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		_, refusal := pull.Collect(refusing.Spaces(t.Context(), pull.Query{}))
		hook := new(polls)
		all, api := polled(t, func(cfg *config) { hook.on(cfg) }), &polledAPI{from: true}
		statuses := 0
		f := poller(t, all, fds.NewSubscriptionID(), api, func(_ context.Context, m delivery.Message) error {
			if m.Kind == delivery.KindStatus {
				statuses++
				return nil
			}
			return refusal
		})
		defer f.Stop()
		synctest.Wait()
		api.event("one", time.Now())
		api.change(func() { api.statuses = []string{`{"device_id":"a"}`} })
		pass(10 * time.Minute)
		hook.mu.Lock()
		defer hook.mu.Unlock()
		if last := hook.all[len(hook.all)-1]; !errors.Is(last.Err, errHandler) || statuses > 0 {
			t.Errorf("told %v, and %d statuses were handed over", last.Err, statuses)
		}
	})
}

// TestAttackAHandlerThatEndsItsGoroutineIsPolledMoreAndMoreSeldom: it has failed.
func TestAttackAHandlerThatEndsItsGoroutineIsPolledMoreAndMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := new(polls)
		all, api := polled(t, func(cfg *config) { hook.on(cfg); cfg.Poll.Interval = time.Second }), &polledAPI{from: true}
		calls := 0
		f := poller(t, all, fds.NewSubscriptionID(), api, func(context.Context, delivery.Message) error { calls++; runtime.Goexit(); return nil })
		synctest.Wait()
		api.event("one", time.Now())
		pass(10 * time.Hour)
		f.Stop()
		hook.mu.Lock()
		defer hook.mu.Unlock()
		if last := hook.all[len(hook.all)-1]; !errors.Is(last.Err, handoff.ErrExited) || calls > 1000 {
			t.Errorf("told %v after %d calls", last.Err, calls)
		}
	})
}

// TestAttackWhatIsRememberedOfPollingFitsIntoAStateFile: however many events a provider
// has, takes away and has again.
func TestAttackWhatIsRememberedOfPollingFitsIntoAStateFile(t *testing.T) {
	digests := func(from, n int) []uint64 {
		all := make([]uint64, n)
		for i := range all {
			all[i] = uint64(from+i)<<1 | lasting
		}
		return all
	}
	l := list{kind: pull.Events}
	for i := range 3 * maxHanded {
		l.hand(uint64(i), uint64(i))
	}
	if n := len(l.store().Handed); n > 2*digestBytes*maxHanded {
		t.Errorf("%d bytes are stored of what was handed over in a read", n)
	}
	at := 0
	for _, n := range []int{maxSeen, 0, maxSeen, 100, maxSeen / 2, maxSeen, 3, 2, 1, 0, 0} {
		l.take(time.Now(), digests(at, n), false)
		at += n
		if len(l.seen)+len(l.gone) > maxSeen {
			t.Errorf("%d events are remembered, and %d that are gone", len(l.seen), len(l.gone))
		}
		if most := max(maxGone, n); len(l.gone) > most {
			t.Errorf("%d events that are gone are remembered beside %d", len(l.gone), n)
		}
	}
	full := list{kind: pull.Events, seen: digests(0, maxSeen)}
	for i := range maxHanded {
		full.hand(uint64(i)<<32, uint64(i))
	}
	stored := full.store()
	folder, err := statestore.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	all := polled(t, func(cfg *config) { cfg.Store = folder })
	owner := fds.OwnerKey{Issuer: issuer, SubscriptionID: fds.NewSubscriptionID()}
	if _, err := all.write(t.Context(), owner, &record{Polled: &polledRecord{Events: stored, Statuses: stored}}, nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := all.state(t, owner).Polled; len(got.Statuses.Seen) != digestBytes*maxSeen || len(got.Events.Handed) != 2*digestBytes*maxHanded {
		t.Errorf("%d bytes of digests are there, and %d of what was handed over", len(got.Statuses.Seen), len(got.Events.Handed))
	}
}
