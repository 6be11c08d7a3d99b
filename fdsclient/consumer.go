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
		if r.calling != nil && other.calling != nil && overlap(r.only, other.only) {
			return fmt.Errorf("%w: another Run of this Client has some of the same owners; end that one first", fds.ErrRunning)
		}
	}
	c.running[r] = struct{}{}
	return nil
}

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

// claim takes an owner for this run, where the store of states knows of others who have it.
// That one has it is told once.
func (r *run) claim(ctx context.Context, o *Owner) (release func(), has bool) {
	claimer, ok := r.client.cfg.State.(statestore.Claimer)
	if !ok {
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
		delete(r.claimed, o.key)
		r.mu.Unlock()
		return release, true
	}
	r.mu.Lock()
	_, told := r.claimed[o.key]
	r.claimed[o.key] = err
	r.mu.Unlock()
	if !told {
		o.stop(err)
	}
	return nil, false
}

// allClaimed returns why nobody can be had, if others have all owners there are.
func (r *run) allClaimed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.active) > 0 {
		return nil
	}
	for _, err := range r.claimed {
		return err
	}
	return nil
}
