package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

const (
	moveLockTimeout  = 30 * time.Second // a renewal under way may take that long
	moveWriteTimeout = time.Minute
)

// Move moves every grant from one store to another: each is saved there, durably,
// and then deleted here, under the locks of both. Where both have a grant of one
// key the one renewed later stays. No application may use the store that is left:
// one that renews a grant there after it was moved ends it, since refresh tokens
// rotate.
//
// A grant that cannot be moved, also because someone holds its lock for 30
// seconds, stays where it is, is named in the error, and holds up no other; moving
// again goes on. The stores must be two: the lock of a grant cannot be held twice.
// When ctx ends, the grant that is being moved still is, so that none is left in
// both. moved counts those that are in the new
// store and no longer in the old one.
func Move(ctx context.Context, from, to Store) (moved int, err error) {
	if err := to.Probe(ctx); err != nil {
		return 0, fmt.Errorf("tokenstore: move: the new store: %w", err)
	}
	var entries []Entry
	var errs []error
	for e, err := range from.List(ctx) {
		if err != nil {
			errs = append(errs, err) // with what is known of the grant
			continue
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		if err := moveGrant(ctx, from, to, e.Key); err != nil {
			errs = append(errs, fmt.Errorf("grant %q of %q: %w", e.GrantID, e.Issuer, err))
			continue
		}
		moved++
	}
	if err := errors.Join(errs...); err != nil {
		return moved, fmt.Errorf("tokenstore: move: %w", err)
	}
	return moved, nil
}

func moveGrant(ctx context.Context, from, to Store, key Key) error {
	locking, cancel := context.WithTimeoutCause(ctx, moveLockTimeout, errors.New("its lock is held"))
	defer cancel()
	for _, store := range []Store{from, to} {
		lease, err := store.Lock(locking, key)
		if err != nil {
			if ctx.Err() == nil && locking.Err() != nil {
				err = fmt.Errorf("%w: %w", context.Cause(locking), err)
			}
			return err
		}
		defer lease.Release()
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), moveWriteTimeout)
	defer cancel()
	grant, err := from.Load(ctx, key)
	if errors.Is(err, fds.ErrNoGrant) {
		return nil // signed out meanwhile
	}
	if err != nil {
		return err
	}
	there, err := to.Load(ctx, key)
	switch {
	case errors.Is(err, fds.ErrNoGrant):
	case errors.Is(err, fds.ErrCorrupt):
		if err := to.Delete(ctx, key); err != nil {
			return err
		}
	case err != nil:
		return err
	case !grant.Renewed.After(there.Renewed):
		return from.Delete(ctx, key) // moved before, and renewed since
	}
	grant.Revision = there.Revision
	if _, err := to.Save(ctx, grant); err != nil {
		return err
	}
	return from.Delete(ctx, key)
}
