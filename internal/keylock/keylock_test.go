package keylock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestAKeyHasOneHolderAndCostsNothingAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks Locks[string]
		first, err := locks.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, err := locks.Lock(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()

		got := make(chan func(), 1)
		go func() {
			unlock, _ := locks.Lock(t.Context(), "a")
			got <- unlock
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("two hold one key")
		default:
		}
		first()
		second := <-got
		first() // does not unlock what the second holds
		if len(locks.locks) != 1 {
			t.Errorf("%d locks are kept, want 1", len(locks.locks))
		}
		second()
		if len(locks.locks) != 0 {
			t.Errorf("%d locks are kept, want none", len(locks.locks))
		}
	})
}

func TestAContextEndsTheWaitWithItsCause(t *testing.T) {
	var locks Locks[int64]
	unlock, err := locks.Lock(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := locks.Lock(ctx, 1); !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Errorf("the wait ended with %v, want the context's error and its cause", err)
	}
	unlock()
	if len(locks.locks) != 0 {
		t.Errorf("%d locks are kept, want none", len(locks.locks))
	}
}
