package following

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

// failingState is a store that fails while a test says so.
type failingState struct {
	statestore.Memory
	saves, loads atomic.Bool
}

func (s *failingState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if s.saves.Load() {
		return "", errors.New("the disk is full")
	}
	return s.Memory.Save(ctx, key, data, revision)
}

func (s *failingState) Load(ctx context.Context, key statestore.Key) (statestore.Record, error) {
	if s.loads.Load() {
		return statestore.Record{}, errors.New("the database starts")
	}
	return s.Memory.Load(ctx, key)
}

func TestWhatCannotBeStoredIsNotHandedOverWithoutEnd(t *testing.T) {
	for name, down := range map[string]bool{"and the provider is there": false, "and the provider fails when the store is well again": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(failingState)
				all := polled(t, func(cfg *config) { cfg.Store = store })
				api, h, id := &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
				f := poller(t, all, id, api, h.handle)
				synctest.Wait()
				store.saves.Store(true)
				for i := range 10 {
					api.event(fmt.Sprint("event ", i), time.Now())
				}
				pass(time.Hour)
				if got := h.take(); len(got) != 1 {
					t.Errorf("handed over while nothing is stored: %q", got)
				}
				store.saves.Store(false)
				if down {
					api.change(func() { api.fails = 1000 })
				}
				pass(time.Hour)
				// A crash: all that is left is what was stored.
				stored := all.state(t, f.owner.Key)
				f.Stop()
				all.put(t, f.owner.Key, stored)
				api.change(func() { api.fails = 0 })
				f = poller(t, all, id, api, h.handle)
				pass(10 * time.Minute)
				f.Stop()
				expect(t, h, "event 1", "event 2", "event 3", "event 4", "event 5", "event 6", "event 7", "event 8", "event 9")
			})
		})
	}
}

func TestAStateThatCannotBeReadForAWhileIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(failingState)
		all := polled(t, func(cfg *config) { cfg.Store = store })
		api, h, id := &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
		on := `{"device_id":"a","on":true}`
		api.statuses = []string{on}
		f := poller(t, all, id, api, h.handle)
		pass(5 * time.Minute)
		api.event("one", time.Now())
		pass(5 * time.Minute)
		f.Stop()
		expect(t, h, on, "one")
		api.event("two", time.Now())
		store.loads.Store(true)
		f = poller(t, all, id, api, h.handle)
		pass(time.Hour)
		expect(t, h)
		store.loads.Store(false)
		pass(10 * time.Minute)
		f.Stop()
		expect(t, h, "two")
	})
}

func TestADamagedStateMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir()
		folder, err := statestore.OpenFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		all := polled(t, func(cfg *config) { cfg.Store = folder })
		api, h, id := &polledAPI{from: true}, new(had), fds.NewSubscriptionID()
		f := poller(t, all, id, api, h.handle)
		synctest.Wait()
		api.event("one", time.Now())
		pass(5 * time.Minute)
		f.Stop()
		expect(t, h, "one")
		api.event("two", time.Now())
		for n, damage := range []string{"", "{", `{"version":1`, `{"version":2,"state":{}}`} {
			files, err := filepath.Glob(filepath.Join(path, "*.json"))
			if err != nil || len(files) != 1 {
				t.Fatalf("files %q, %v", files, err)
			}
			if err := os.WriteFile(files[0], []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
			f = poller(t, all, id, api, h.handle)
			time.Sleep(5 * time.Minute)
			f.Stop()
			expect(t, h, "one", "two")
			f = poller(t, all, id, api, h.handle)
			time.Sleep(5 * time.Minute)
			f.Stop()
			if got := h.take(); len(got) > 0 {
				t.Errorf("after damage %d: once more %q", n, got)
			}
		}
	})
}
