package statestore

import (
	"context"
	"sync"
)

// keyedLocks is one lock a number, for the goroutines of this process. The zero value is
// ready. A number that nobody holds or waits for costs no memory.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[int64]*keyedLock
}

type keyedLock struct {
	held  chan struct{} // one slot: full while held
	users int           // holders and waiters, guarded by keyedLocks.mu
}

// lock waits for the lock or for the end of ctx.
func (k *keyedLocks) lock(ctx context.Context, number int64) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[int64]*keyedLock{}
	}
	l := k.locks[number]
	if l == nil {
		l = &keyedLock{held: make(chan struct{}, 1)}
		k.locks[number] = l
	}
	l.users++
	k.mu.Unlock()

	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, number)
		}
	}
	select {
	case l.held <- struct{}{}:
		return func() {
			<-l.held
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ended(ctx)
	}
}
