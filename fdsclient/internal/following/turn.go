package following

import (
	"context"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
)

// turns are the owners' turns: whoever calls the handler for one has it, be it this owner's
// follower or the endpoint of a webhook. An owner of whom nobody makes use takes no memory.
type turns struct {
	mu   sync.Mutex
	open map[fds.OwnerKey]*turn
}

// turn is one owner's.
type turn struct {
	baton
	users int // those who may take it, guarded by turns.mu
}

// use returns an owner's turn, for which leave is to be called.
func (t *turns) use(owner fds.OwnerKey) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.open[owner]
	if one == nil {
		if t.open == nil {
			t.open = make(map[fds.OwnerKey]*turn)
		}
		one = &turn{baton: newBaton()}
		t.open[owner] = one
	}
	one.users++
	return one
}

// leave ends what use began.
func (t *turns) leave(owner fds.OwnerKey, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(t.open, owner)
	}
}

// Turn waits until nobody calls the handler for an owner, and has others wait until end is
// called.
func (a *Followers) Turn(ctx context.Context, owner fds.OwnerKey) (end func(), err error) {
	one := a.turns.use(owner)
	if err := one.lockWithin(ctx); err != nil {
		a.turns.leave(owner, one)
		return nil, err
	}
	return func() {
		one.unlock()
		a.turns.leave(owner, one)
	}, nil
}
