package fdsclient

import (
	"sync"

	"github.com/fds-sdk/fds-go/fds"
)

// endings are the connections that are being ended, by their owners: each with the broker's
// session and the owner's state.
type endings struct {
	mu    sync.Mutex
	under map[fds.OwnerKey]*ending
}

// ending is what is under way of one owner.
type ending struct {
	connections int
	over        chan struct{}
}

// begin notes that an owner's connection is being ended, until ended is called.
func (e *endings) begin(key fds.OwnerKey) (ended func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one := e.under[key]
	if one == nil {
		one = &ending{over: make(chan struct{})}
		if e.under == nil {
			e.under = make(map[fds.OwnerKey]*ending)
		}
		e.under[key] = one
	}
	one.connections++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if one.connections--; one.connections == 0 {
			delete(e.under, key)
			close(one.over)
		}
	}
}

// over returns a channel that is closed when no connection of the owner is being ended any
// more; nil: none is.
func (e *endings) over(key fds.OwnerKey) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if one := e.under[key]; one != nil {
		return one.over
	}
	return nil
}
