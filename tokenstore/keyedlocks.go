package tokenstore

import (
	"context"
	"sync"
)

// keyedLocks is one lock per name, for the goroutines of this process. The zero
// value is ready. A name that nobody holds or waits for costs no memory.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[string]*keyedLock
}

type keyedLock struct {
	held  chan struct{} // one slot: full while held
	users int           // holders and waiters, guarded by keyedLocks.mu
}

// lock waits for the name's lock or for the end of ctx, whose error it returns.
func (k *keyedLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyedLock{}
	}
	l := k.locks[name]
	if l == nil {
		l = &keyedLock{held: make(chan struct{}, 1)}
		k.locks[name] = l
	}
	l.users++
	k.mu.Unlock()

	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, name)
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
		return nil, contextCause(ctx)
	}
}
