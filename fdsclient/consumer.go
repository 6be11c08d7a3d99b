package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

// beginRun makes a call of Run one that is at work, unless another one has some of its
// owners.
func (c *Client) beginRun(r *run) error {
	if c.grants.Closed() {
		return fds.ErrClientClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.running {
		if r.consumes() && other.consumes() && r.isSettled() && other.isSettled() && overlap(r.only, other.only) {
			return fmt.Errorf("%w: another Run of this Client has some of the same owners; end that one first", fds.ErrRunning)
		}
	}
	c.running[r] = struct{}{}
	return nil
}

// consumes reports whether the run has owners to itself.
func (r *run) consumes() bool { return r.same != nil || r.selection.Of != nil }

// isSettled reports whether it is known whose run it is, once and for all. Of others it is decided
// owner by owner.
func (r *run) isSettled() bool { return r.selection.Where == nil || r.only != nil }

// overlap reports whether two sets have an owner in common; nil stands for all there are.
func overlap(a, b map[fds.OwnerKey]bool) bool {
	if a == nil || b == nil {
		return true
	}
	for key := range a {
		if b[key] {
			return true
		}
	}
	return false
}

// hold takes an owner for this run among those of the Client, until letGo.
func (r *run) hold(key fds.OwnerKey) bool {
	c := r.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.held[key]; other != nil && other != r {
		return false
	}
	c.held[key] = r
	return true
}

// letGo ends what hold began, and has the other runs look at the owner who wait for it.
func (r *run) letGo(key fds.OwnerKey) {
	c := r.client
	c.mu.Lock()
	had := c.held[key] == r
	if had {
		delete(c.held, key)
	}
	c.mu.Unlock()
	if !had {
		return
	}
	for _, other := range c.runs() {
		other.mu.Lock()
		_, waits := other.refused[key]
		other.mu.Unlock()
		if o := c.known.owner(key); waits && other != r && o != nil {
			other.ownerAdded(o)
		}
	}
}

// letAllGo does so of all owners that the run has.
func (r *run) letAllGo() {
	c := r.client
	c.mu.Lock()
	var keys []fds.OwnerKey
	for key, by := range c.held {
		if by == r {
			keys = append(keys, key)
		}
	}
	c.mu.Unlock()
	for _, key := range keys {
		r.letGo(key)
	}
}

// refuse notes why the run cannot have an owner now, which is tried again, and reports whether that
// is to be told: it is so the first time.
func (r *run) refuse(key fds.OwnerKey, why error) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, told := r.refused[key]
	r.refused[key] = why
	return !told
}

// claim takes an owner for this run, unless another one has it, of this Client or, where the store of
// states knows of them, of others. That one has it is told once.
func (r *run) claim(ctx context.Context, o *Owner) (release func(), has bool) {
	if !r.hold(o.key) {
		first := r.refuse(o.key, fmt.Errorf("another Run of this Client has subscription %s", o.key.SubscriptionID))
		if !r.hold(o.key) { // else it let go before it could know that this one waits
			if first { // to hooks its connection is the other's
				r.client.log.LogAttrs(ctx, slog.LevelInfo, "an owner is had by another Run of this Client, and by this one once that lets go of it", slog.Any("owner", o.key))
			}
			return nil, false
		}
	}
	if release, has = r.claimAmongProcesses(ctx, o); !has {
		r.letGo(o.key)
	}
	return release, has
}

func (r *run) claimAmongProcesses(ctx context.Context, o *Owner) (release func(), has bool) {
	claimer, ok := r.client.cfg.State.(statestore.Claimer)
	if !ok {
		r.mu.Lock()
		delete(r.refused, o.key)
		r.mu.Unlock()
		return func() {}, true
	}
	release, err := claimer.Claim(ctx, o.key)
	var claimed *statestore.ClaimedError
	switch {
	case errors.As(err, &claimed):
	case ctx.Err() != nil:
		if release != nil {
			release()
		}
		return nil, false
	default: // no claim is no reason to deliver nothing
		if err != nil {
			r.client.noClaims.Do(func() {
				r.client.log.LogAttrs(ctx, slog.LevelWarn, "nothing keeps another process from having the same owners", slog.Any("error", err))
			})
		}
		if release == nil {
			release = func() {}
		}
		r.mu.Lock()
		delete(r.refused, o.key)
		r.mu.Unlock()
		return release, true
	}
	if r.refuse(o.key, err) {
		o.stop(err)
	}
	return nil, false
}

// allRefused returns why nobody can be had, if others have all owners of a Run or RunOwners.
func (r *run) allRefused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.same == nil || len(r.active) > 0 {
		return nil
	}
	for _, err := range r.refused {
		return err
	}
	return nil
}
