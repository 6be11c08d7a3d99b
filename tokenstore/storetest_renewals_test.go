package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/tokenstore/storetest"
)

// breakable is a good store that can be told to take no more.
type breakable struct {
	*tokenstore.Memory
	broken atomic.Bool
}

var lastBreakable *breakable // the one in use, below whatever spoils it

func openBreakable() tokenstore.Store {
	lastBreakable = &breakable{Memory: tokenstore.OpenMemory()}
	return lastBreakable
}

var breakableOptions = storetest.Options{
	LeaseTime: 50 * time.Millisecond,
	Reopen: func(_ *testing.T, s tokenstore.Store) tokenstore.Store {
		if m, ok := s.(*inMemory); ok {
			return m.Store
		}
		return s
	},
	Break: func(*testing.T, tokenstore.Store) func() {
		b := lastBreakable
		b.broken.Store(true)
		return func() { b.broken.Store(false) }
	},
}

var errBroken = &tokenstore.Error{Op: "test", Class: fds.ErrStoreUnavailable}

func (b *breakable) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	if b.broken.Load() && ctx.Err() == nil {
		return "", errBroken
	}
	return b.Memory.Save(ctx, g)
}

func (b *breakable) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	if b.broken.Load() && ctx.Err() == nil {
		return "", errBroken
	}
	return b.Memory.Reserve(ctx, g)
}

// current returns the revision that is stored.
func current(ctx context.Context, s tokenstore.Store, key tokenstore.Key) string {
	g, _ := s.Load(ctx, key)
	return g.Revision
}

// unconditional ignores revisions: those of new grants, or the others.
type unconditional struct {
	tokenstore.Store
	created, changed bool
}

func (s unconditional) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	if g.Revision == "" && s.created || g.Revision != "" && s.changed {
		g.Revision = current(ctx, s.Store, g.Key)
	}
	return s.Store.Save(ctx, g)
}

// rash ignores revisions when it reserves.
type rash struct{ tokenstore.Store }

func (s rash) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	g.Revision = current(ctx, s.Store, g.Key)
	return s.Store.Reserve(ctx, g)
}

// counting has revisions 1, 2, 3, ... of each grant, again from 1 when it was deleted.
type counting struct {
	tokenstore.Store
	mu    sync.Mutex
	count map[tokenstore.Key]int
}

func (s *counting) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	g, err := s.Store.Load(ctx, key)
	g.Revision = fmt.Sprint(s.count[key])
	return g, err
}

func (s *counting) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fmt.Sprint(s.count[g.Key]) != g.Revision && (g.Revision != "" || s.count[g.Key] != 0) {
		return "", fds.ErrConflict
	}
	if s.count == nil {
		s.count = map[tokenstore.Key]int{}
	}
	s.count[g.Key]++
	g.Revision = current(ctx, s.Store, g.Key)
	_, err := s.Store.Save(ctx, g)
	return fmt.Sprint(s.count[g.Key]), err
}

func (s *counting) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	return s.Save(ctx, g)
}

func (s *counting) Delete(ctx context.Context, key tokenstore.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.count, key)
	return s.Store.Delete(ctx, key)
}

// misleading says another revision than the one it has.
type misleading struct{ tokenstore.Store }

func (s misleading) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	_, err := s.Store.Save(ctx, g)
	return g.Revision, err
}

// slow lets others in between its look and its save.
type slow struct{ tokenstore.Store }

func (s slow) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	if now := current(ctx, s.Store, g.Key); now != g.Revision {
		return "", fds.ErrConflict
	}
	time.Sleep(20 * time.Millisecond) // it is what is wrong with it
	for {
		g.Revision = current(ctx, s.Store, g.Key)
		if revision, err := s.Store.Save(ctx, g); !errors.Is(err, fds.ErrConflict) {
			return revision, err
		}
	}
}

// strict does not know its own save again.
type strict struct{ tokenstore.Store }

func (s strict) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	if now := current(ctx, s.Store, g.Key); now != g.Revision {
		return "", fds.ErrConflict
	}
	return s.Store.Save(ctx, g)
}

type idleReserve struct{ tokenstore.Store }

func (idleReserve) Reserve(_ context.Context, g tokenstore.Grant) (string, error) {
	return g.Revision, nil
}

// unmarking reserves room but writes no mark.
type unmarking struct{ tokenstore.Store }

func (s unmarking) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	g.Renewal = tokenstore.Renewal{}
	return s.Store.Reserve(ctx, g)
}

// existing cannot reserve for a grant that is not there yet.
type existing struct{ tokenstore.Store }

func (s existing) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	if _, err := s.Load(ctx, g.Key); err != nil {
		return "", err
	}
	return s.Store.Reserve(ctx, g)
}

// clinging has a column for the mark, which only Reserve writes.
type clinging struct {
	tokenstore.Store
	mu    sync.Mutex
	marks map[tokenstore.Key]tokenstore.Renewal
}

func (s *clinging) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marks == nil {
		s.marks = map[tokenstore.Key]tokenstore.Renewal{}
	}
	s.marks[g.Key] = g.Renewal
	return s.Store.Reserve(ctx, g)
}

func (s *clinging) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.Store.Load(ctx, key)
	g.Renewal = s.marks[key]
	return g, err
}

// inMemory keeps the mark in the process.
type inMemory struct {
	tokenstore.Store
	mark atomic.Pointer[tokenstore.Renewal]
}

func (s *inMemory) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	s.mark.Store(&g.Renewal)
	g.Renewal = tokenstore.Renewal{}
	return s.Store.Reserve(ctx, g)
}

func (s *inMemory) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	g, err := s.Store.Load(ctx, key)
	if mark := s.mark.Load(); mark != nil {
		g.Renewal = *mark
	}
	return g, err
}

// expiringLocks does not prolong its leases of 50 ms.
type expiringLocks struct{ tokenstore.Store }

func (s expiringLocks) Lock(ctx context.Context, key tokenstore.Key) (tokenstore.Lease, error) {
	lease, err := s.Store.Lock(ctx, key)
	if err == nil {
		time.AfterFunc(50*time.Millisecond, lease.Release)
	}
	return lease, err
}

type endless struct{ tokenstore.Store }

func (s endless) Lock(ctx context.Context, key tokenstore.Key) (tokenstore.Lease, error) {
	lease, err := s.Store.Lock(ctx, key)
	return endlessLease{lease}, err
}

type endlessLease struct{ tokenstore.Lease }

func (endlessLease) Done() <-chan struct{} { return nil }

type hasty struct{ tokenstore.Store }

func (s hasty) Lock(ctx context.Context, key tokenstore.Key) (tokenstore.Lease, error) {
	lease, err := s.Store.Lock(ctx, key)
	return hastyLease{lease}, err
}

type hastyLease struct{ tokenstore.Lease }

func (hastyLease) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// asking is a store that needs a person for everything.
type asking struct{ tokenstore.Store }

func (s asking) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	if tokenstore.IsUnattended(ctx) {
		return tokenstore.Grant{}, errBroken
	}
	return s.Store.Load(ctx, key)
}

// fragile loses the record when it cannot write the next one.
type fragile struct{ tokenstore.Store }

func (s fragile) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	revision, err := s.Store.Save(ctx, g)
	if errors.Is(err, fds.ErrStoreUnavailable) {
		err = errors.Join(err, s.Delete(ctx, g.Key))
	}
	return revision, err
}

// confident says that it has reserved whatever becomes of it.
type confident struct{ tokenstore.Store }

func (s confident) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	revision, err := s.Store.Reserve(ctx, g)
	if errors.Is(err, fds.ErrStoreUnavailable) {
		return g.Revision, nil
	}
	return revision, err
}

// halfway writes the mark before it looks for room.
type halfway struct{ tokenstore.Store }

func (s halfway) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	if _, err := lastBreakable.Memory.Reserve(ctx, g); err != nil {
		return "", err
	}
	return s.Store.Reserve(ctx, g)
}
