package following

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/statestore"
)

func TestAttackMessagesOfALongLifeAreRememberedInBoundedMemory(t *testing.T) {
	var r seen
	for i := range uint64(50_000) {
		r.add(digests{what: 2 * i, of: i}, true)
		if len(r.entries) > seenMost*5/4+1 {
			t.Fatalf("%d messages are remembered while a gap is open", len(r.entries))
		}
	}
	for i := range uint64(50_000) {
		r.add(digests{what: 2 * i, of: i}, false)
		if len(r.entries) > seenUsual*5/4+1 || i > 0 && cap(r.entries) > 2*seenUsual+seenUsual/2 {
			t.Fatalf("%d messages are remembered, with room for %d", len(r.entries), cap(r.entries))
		}
	}
	for i := range uint64(seenUsual) {
		if !r.holds(digests{what: 2 * (49_999 - i)}) {
			t.Fatalf("the message %d before the last is forgotten", i)
		}
	}
}

// countedState takes a second for each save, and counts those under way.
type countedState struct {
	statestore.Memory
	mu              sync.Mutex
	now, most, done int
}

func (s *countedState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now--
	s.done++
	s.mu.Unlock()
	return s.Memory.Save(ctx, key, data, revision)
}

func TestAttackASlowStoreIsGivenFewPositionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners = 200
		store := new(countedState)
		client := pushing(t, func(c *config) { c.Store = store })
		var all []*Follower
		for range owners {
			f := followed(t, client, new(webAPI), nil)
			defer f.Stop()
			all = append(all, f)
		}
		store.mu.Lock()
		store.most, store.done = 0, 0
		store.mu.Unlock()
		for _, f := range all { // a moment apart, so that none is a batch of its own
			time.Sleep(50 * time.Millisecond)
			f.mu.Lock()
			f.position.reached = f.position.at.Add(time.Hour)
			f.mu.Unlock()
			f.Acknowledged(delivery.Message{})
		}
		pass(time.Minute)
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.most > positionSaves || store.done < owners {
			t.Errorf("%d positions of %d were stored, %d at once", store.done, owners, store.most)
		}
	})
}

// hangingState does nothing, once it hangs, until its context ends.
type hangingState struct {
	statestore.Memory
	hangs atomic.Bool
}

func (s *hangingState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.Memory.Save(ctx, key, data, revision)
}

func (s *hangingState) Delete(ctx context.Context, key statestore.Key, revision string) error {
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Memory.Delete(ctx, key, revision)
}

func TestAttackAStoreThatHangsHoldsUpNoEnd(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *Follower){
		"of a run":                       func(_ *testing.T, f *Follower) { f.Stop() },
		"of an owner who signs out":      func(_ *testing.T, f *Follower) { f.Stop(); _ = f.Forget(context.Background(), true) },
		"of one whose session goes on":   func(_ *testing.T, f *Follower) { f.Stop(); _ = f.Forget(context.Background(), false) },
		"of one whose caller has no end": func(t *testing.T, f *Follower) { f.Stop(); _ = f.Forget(t.Context(), true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(hangingState)
				client := pushing(t, func(c *config) { c.Store = store })
				f := followed(t, client, new(webAPI), nil)
				pass(time.Second)
				f.mu.Lock()
				f.position.at = f.position.at.Add(time.Minute)
				f.mu.Unlock()
				store.hangs.Store(true)
				began := time.Now()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					end(t, f)
				}()
				select {
				case <-ended:
				case <-time.After(time.Hour):
					t.Fatal("it never ends")
				}
				if took := time.Since(began); took > 2*lastSaveTimeout+time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
