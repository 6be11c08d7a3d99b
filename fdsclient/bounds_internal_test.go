package fdsclient

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

func TestAttackMessagesOfALongLifeAreRememberedInBoundedMemory(t *testing.T) {
	var r recent
	for i := range uint64(50_000) {
		r.add(digests{what: i, of: i}, recentMost)
		if len(r.entries) > recentMost*5/4+1 {
			t.Fatalf("%d messages are remembered while a gap is open", len(r.entries))
		}
	}
	for i := range uint64(50_000) {
		r.add(digests{what: i, of: i}, recentUsual)
		if len(r.entries) > recentUsual*5/4+1 || i > 0 && cap(r.entries) > 2*recentUsual+recentUsual/2 {
			t.Fatalf("%d messages are remembered, with room for %d", len(r.entries), cap(r.entries))
		}
	}
	for i := range uint64(recentUsual) {
		if !r.holds(digests{what: 49_999 - i}) {
			t.Fatalf("the message %d before the last is forgotten", i)
		}
	}
}

// countedState takes a second for each save, and counts those under way.
type countedState struct {
	MemoryState
	mu              sync.Mutex
	now, most, done int
}

func (s *countedState) Save(ctx context.Context, owner fds.OwnerKey, state OwnerState) error {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now--
	s.done++
	s.mu.Unlock()
	return s.MemoryState.Save(ctx, owner, state)
}

func TestAttackASlowStoreIsGivenFewPositionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 200
		store := new(countedState)
		client := gapClient(t, func(cfg *Config) { cfg.State = store })
		var all []*follower
		for range owners {
			f := followed(t, client, new(webAPI), nil)
			defer f.stop()
			all = append(all, f)
		}
		store.mu.Lock()
		store.most, store.done = 0, 0
		store.mu.Unlock()
		for _, f := range all { // a moment apart, so that none is a batch of its own
			time.Sleep(50 * time.Millisecond)
			f.mu.Lock()
			f.reached = f.position.Add(time.Hour)
			f.mu.Unlock()
			f.acknowledged(push.Message{})
		}
		time.Sleep(time.Minute)
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.most > positionSaves || store.done < owners {
			t.Errorf("%d positions of %d were stored, %d at once", store.done, owners, store.most)
		}
	})
}
