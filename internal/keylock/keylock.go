// Package keylock has a lock for each key, whose wait a context ends.
package keylock

import (
	"context"
	"fmt"
	"sync"
)

// Locks is one lock per key, for the goroutines of this process. The zero value is ready.
// A key that nobody holds or waits for costs no memory.
type Locks[K comparable] struct {
	mu    sync.Mutex
	locks map[K]*lock
}

type lock struct {
	held  chan struct{} // one slot: full while held
	users int           // holders and waiters, guarded by Locks.mu
}

// Lock waits for the key's lock or for the end of ctx, whose error it returns as [Ended]
// does. To unlock more than once does nothing.
func (k *Locks[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[K]*lock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &lock{held: make(chan struct{}, 1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()

	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
	select {
	case l.held <- struct{}{}:
		return sync.OnceFunc(func() {
			<-l.held
			leave()
		}), nil
	case <-ctx.Done():
		leave()
		return nil, Ended(ctx)
	}
}

// Ended returns an error that matches ctx.Err and, where the caller gave one, the cause.
// The context must have ended.
func Ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == cause {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
