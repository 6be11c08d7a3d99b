package tokenstore

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/keylock"
)

// Memory keeps grants until the process ends, for tests and demonstrations. It
// refuses what the other stores refuse.
type Memory struct {
	mu     sync.Mutex
	grants map[Key]Grant // whose lists are shared with no caller
	saved  int           // saves so far, which are the revisions

	locks keylock.Locks[string]
}

var _ Store = (*Memory)(nil)

// OpenMemory returns an empty store.
func OpenMemory() *Memory {
	return &Memory{grants: map[Key]Grant{}}
}

// Probe always succeeds, unless ctx has ended.
func (m *Memory) Probe(ctx context.Context) error { return contextError(ctx, "probe memory", Key{}) }

// List implements [Store], in the order of keys.
func (m *Memory) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m.mu.Lock()
		grants := maps.Clone(m.grants)
		m.mu.Unlock()
		for _, key := range slices.SortedFunc(maps.Keys(grants), compareKeys) {
			if err := contextError(ctx, "list grants", Key{}); err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(grants[key].Entry(), nil) {
				return
			}
		}
	}
}

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, key Key) (Grant, error) {
	const op = "load grant"
	if err := contextError(ctx, op, key); err != nil {
		return Grant{}, err
	}
	m.mu.Lock()
	grant, ok := m.grants[key]
	m.mu.Unlock()
	if !ok {
		return Grant{}, &Error{Op: op, Key: key, Class: fds.ErrNoGrant}
	}
	grant.Subscriptions, grant.Scopes = slices.Clone(grant.Subscriptions), slices.Clone(grant.Scopes)
	return grant, nil
}

// Reserve implements [Store]: there is always room.
func (m *Memory) Reserve(ctx context.Context, grant Grant) (revision string, err error) {
	return m.put(ctx, "reserve grant", grant)
}

// Save implements [Store]. What it keeps is what another store would read.
func (m *Memory) Save(ctx context.Context, grant Grant) (revision string, err error) {
	return m.put(ctx, "save grant", grant)
}

func (m *Memory) put(ctx context.Context, op string, grant Grant) (revision string, err error) {
	if err := contextError(ctx, op, grant.Key); err != nil {
		return "", err
	}
	loaded := grant.Revision
	data, err := grant.Encode()
	if err != nil {
		return "", err
	}
	if grant, err = DecodeGrant(data); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.grants[grant.Key]; now.Revision != loaded {
		if now.Revision != "" && now.Equal(grant) {
			return now.Revision, nil
		}
		return "", conflict(op, grant.Key, now.Revision != "", loaded)
	}
	m.saved++
	grant.Revision = strconv.Itoa(m.saved)
	m.grants[grant.Key] = grant
	return grant.Revision, nil
}

// conflict is the error about a record that is not the one that was loaded.
func conflict(op string, key Key, stored bool, loaded string) error {
	err := errors.New("it was changed since it was loaded")
	switch {
	case loaded == "":
		err = errors.New("there is one already")
	case !stored:
		err = errors.New("it was deleted since it was loaded")
	}
	return &Error{Op: op, Key: key, Class: fds.ErrConflict, Err: err, Hint: "load it again"}
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key Key) error {
	if err := contextError(ctx, "delete grant", key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.grants, key)
	return nil
}

// Lock implements [Store] within this process.
func (m *Memory) Lock(ctx context.Context, key Key) (Lease, error) {
	const op = "lock grant"
	if err := contextError(ctx, op, key); err != nil {
		return nil, err
	}
	unlock, err := m.locks.Lock(ctx, key.hash())
	if err != nil {
		return nil, &Error{Op: op, Key: key, Err: err}
	}
	return newLease(unlock), nil
}

// contextError is nil while ctx has not ended.
func contextError(ctx context.Context, op string, key Key) error {
	if ctx.Err() == nil {
		return nil
	}
	return &Error{Op: op, Key: key, Err: keylock.Ended(ctx)}
}
