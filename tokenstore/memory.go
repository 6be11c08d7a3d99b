package tokenstore

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
)

// Memory keeps grants until the process ends, for tests and demonstrations. It
// refuses what the other stores refuse.
type Memory struct {
	mu     sync.Mutex
	grants map[Key]Grant // whose lists are shared with no caller

	locks keyedLocks
}

var _ Store = (*Memory)(nil)

// OpenMemory gives an empty store.
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
		return Grant{}, &Error{Op: op, Key: key, Class: ErrNotFound}
	}
	grant.Subscriptions, grant.Scopes = slices.Clone(grant.Subscriptions), slices.Clone(grant.Scopes)
	return grant, nil
}

// Save implements [Store]. What it keeps is what another store would read.
func (m *Memory) Save(ctx context.Context, grant Grant) error {
	if err := contextError(ctx, "save grant", grant.Key); err != nil {
		return err
	}
	data, err := grant.Encode()
	if err != nil {
		return err
	}
	if grant, err = DecodeGrant(data); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grants[grant.Key] = grant
	return nil
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
func (m *Memory) Lock(ctx context.Context, key Key) (unlock func(), err error) {
	const op = "lock grant"
	if err := contextError(ctx, op, key); err != nil {
		return nil, err
	}
	unlock, err = m.locks.lock(ctx, key.hash())
	if err != nil {
		return nil, &Error{Op: op, Key: key, Err: err}
	}
	return unlock, nil
}

// contextError is nil while ctx has not ended.
func contextError(ctx context.Context, op string, key Key) error {
	if ctx.Err() == nil {
		return nil
	}
	return &Error{Op: op, Key: key, Err: contextCause(ctx)}
}

// contextCause matches ctx.Err and, where the caller gave one, the cause.
func contextCause(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == cause {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
