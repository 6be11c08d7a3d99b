package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// failingState is a store that fails while a test says so.
type failingState struct {
	MemoryState
	saves, loads atomic.Bool
}

func (s *failingState) Save(ctx context.Context, owner fds.OwnerKey, state OwnerState) error {
	if s.saves.Load() {
		return errors.New("the disk is full")
	}
	return s.MemoryState.Save(ctx, owner, state)
}

func (s *failingState) Load(ctx context.Context, owner fds.OwnerKey) (OwnerState, error) {
	if s.loads.Load() {
		return OwnerState{}, errors.New("the database starts")
	}
	return s.MemoryState.Load(ctx, owner)
}

func TestWhatCannotBeStoredIsNotHandedOverWithoutEnd(t *testing.T) {
	for name, down := range map[string]bool{"and the provider is there": false, "and the provider fails when the store is well again": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(failingState)
				client := pollClient(t, func(cfg *Config) { cfg.State = store })
				api, h, id := &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
				f := poller(t, client, id, api, h.handle)
				synctest.Wait()
				store.saves.Store(true)
				for i := range 10 {
					api.event(fmt.Sprint("event ", i), time.Now())
				}
				time.Sleep(time.Hour)
				if got := h.take(); len(got) != 1 {
					t.Errorf("handed over while nothing is stored: %q", got)
				}
				store.saves.Store(false)
				if down {
					api.change(func() { api.fails = 1000 })
				}
				time.Sleep(time.Hour)
				// A crash: all that is left is what was stored.
				stored, err := store.Load(t.Context(), f.owner.key)
				if err != nil {
					t.Fatal(err)
				}
				f.stop()
				if err := store.Save(t.Context(), f.owner.key, stored); err != nil {
					t.Fatal(err)
				}
				api.change(func() { api.fails = 0 })
				f = poller(t, client, id, api, h.handle)
				time.Sleep(10 * time.Minute)
				f.stop()
				expect(t, h, "event 1", "event 2", "event 3", "event 4", "event 5", "event 6", "event 7", "event 8", "event 9")
			})
		})
	}
}

func TestAStateThatCannotBeReadForAWhileIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(failingState)
		client := pollClient(t, func(cfg *Config) { cfg.State = store })
		api, h, id := &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
		on := `{"device_id":"a","on":true}`
		api.statuses = []string{on}
		f := poller(t, client, id, api, h.handle)
		time.Sleep(5 * time.Minute)
		api.event("one", time.Now())
		time.Sleep(5 * time.Minute)
		f.stop()
		expect(t, h, on, "one")
		api.event("two", time.Now())
		store.loads.Store(true)
		f = poller(t, client, id, api, h.handle)
		time.Sleep(time.Hour)
		expect(t, h)
		store.loads.Store(false)
		time.Sleep(10 * time.Minute)
		f.stop()
		expect(t, h, "two")
	})
}

func TestADamagedStateMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir()
		folder, err := OpenStateFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		client := pollClient(t, func(cfg *Config) { cfg.State = folder })
		api, h, id := &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
		f := poller(t, client, id, api, h.handle)
		synctest.Wait()
		api.event("one", time.Now())
		time.Sleep(5 * time.Minute)
		f.stop()
		expect(t, h, "one")
		api.event("two", time.Now())
		for n, damage := range []string{"", "{", `{"version":1`, `{"version":2,"state":{}}`} {
			if err := os.WriteFile(folder.file(f.owner.key), []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
			f = poller(t, client, id, api, h.handle)
			time.Sleep(5 * time.Minute)
			f.stop()
			expect(t, h, "one", "two")
			f = poller(t, client, id, api, h.handle)
			time.Sleep(5 * time.Minute)
			f.stop()
			if got := h.take(); len(got) > 0 {
				t.Errorf("after damage %d: once more %q", n, got)
			}
		}
	})
}
