package tokenstore

import (
	"context"
	"errors"
	"fmt"
)

// Move moves every grant from one store to another: each is saved there, durably,
// and then deleted here, under the locks of both. Where both have a grant of one
// key the one renewed later stays. No application may use the store that is left:
// one that renews a grant there after it was moved ends it, since refresh tokens
// rotate.
//
// A grant that cannot be moved stays where it is, is named in the error, and
// holds up no other; moving again goes on. moved counts those that are in the new
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
			errs = append(errs, err)
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
	for _, store := range []Store{from, to} {
		unlock, err := store.Lock(ctx, key)
		if err != nil {
			return err
		}
		defer unlock()
	}
	grant, err := from.Load(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil // signed out meanwhile
	}
	if err != nil {
		return err
	}
	there, err := to.Load(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt):
	case err != nil:
		return err
	case !grant.Renewed.After(there.Renewed):
		return from.Delete(ctx, key) // moved before, and renewed since
	}
	if err := to.Save(ctx, grant); err != nil {
		return err
	}
	return from.Delete(ctx, key)
}
