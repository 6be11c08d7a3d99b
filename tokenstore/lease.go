package tokenstore

import "sync"

// Lease is a held lock.
type Lease interface {
	// Done returns a channel that is closed once the lock is no longer held: it was
	// released, or the store noticed that it is lost.
	Done() <-chan struct{}
	// Release gives the lock back. It must be called, and may be called again.
	Release()
}

// lease is a Lease that free gives back.
type lease struct {
	done     chan struct{}
	lost     sync.Once
	released sync.Once
	free     func()
}

func newLease(free func()) *lease { return &lease{done: make(chan struct{}), free: free} }

func (l *lease) Done() <-chan struct{} { return l.done }

// lose says that the lock is held no longer.
func (l *lease) lose() { l.lost.Do(func() { close(l.done) }) }

func (l *lease) Release() {
	l.released.Do(func() {
		l.lose() // first: from here on someone else may have it
		l.free()
	})
}
