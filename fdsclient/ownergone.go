package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// ownerGone ends the connection of an owner who has left the grant.
func (r *run) ownerGone(key fds.OwnerKey, a *connected, why error) {
	if a.follower == nil {
		return
	}
	over := a.isOver()
	a.why.CompareAndSwap(nil, &why)
	left := r.client.endings.begin(key)
	r.work.Go(func() {
		defer a.whenOver(left)
		if over && a.connection != nil { // taken over, and perhaps no more than that was told
			if ended := a.owner.ended.Load(); ended == nil || ended.Phase != push.Stopped {
				a.owner.stop(*a.why.Load())
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), r.client.sessionEndTimeout())
		defer cancel()
		if err := r.client.endConnected(ctx, a); err != nil {
			r.client.log.Warn("the broker's session was not ended", "owner", key, "error", err)
		}
	})
}

// takenOver looks whether the connection that has taken over is that of a sign-out in another
// process, which ends the broker's session, and notes that it was ended for that.
func (c *Client) takenOver(a *connected) {
	if c.keeps() {
		return
	}
	ctx, cancel := context.WithTimeout(tokenstore.Unattended(context.Background()), grants.SaveTimeout)
	defer cancel()
	if _, err := c.Owner(ctx, a.owner.key.SubscriptionID); errors.Is(err, fds.ErrNoOwner) {
		a.why.CompareAndSwap(nil, &errLeft)
		_ = a.follower.Leave(ctx) // else something stays stored, which harms nothing
	}
}

// ownerLeft ends the connection of an owner who has left its grant in another process, or keeps
// it where the provider took the owner away.
func (r *run) ownerLeft(ctx context.Context, key fds.OwnerKey) {
	c := r.client
	a := r.of(key)
	if a == nil {
		return
	}
	now := c.known.owner(key)
	if now != nil && now != a.owner {
		return // it has signed in again
	}
	why, g := errLeft, a.owner.grant.Load()
	record, err := c.store.Load(ctx, g.Key)
	switch {
	case err != nil:
	case grants.IDs(record.Subscriptions)[key.SubscriptionID]:
		return // it has signed in again
	case !c.reads(record, key.SubscriptionID):
		why = errTakenAway(key.SubscriptionID)
	}
	if now != nil && (err == nil || errors.Is(err, fds.ErrNoGrant)) {
		c.known.drop(now, g, why)
	}
	switch {
	case c.keeps() && errors.Is(why, fds.ErrSubscriptionChanged):
		r.keep(a)
	case r.lose(a):
		r.ownerGone(key, a, why)
	}
}

// supersede ends a connection whose owner is left out, or which was kept without a grant and whose
// owner has one again: it knows nothing of that.
func (r *run) supersede(a *connected) {
	r.lose(a)
	left := r.client.endings.begin(a.owner.key)
	a.cancel()
	a.whenOver(left)
}

// errLeft is why the connection ends of an owner who has left the grant without this
// process's doing.
var errLeft = fmt.Errorf("fdsclient: %w: another process signed it out", fds.ErrNoOwner)

// errTakenAway is why an owner has no part any more in a grant that goes on for others.
func errTakenAway(id fds.SubscriptionID) error {
	return fmt.Errorf("fdsclient: %w: %w: the provider took subscription %s out of the grant that it shared with others", fds.ErrSignInRequired, fds.ErrSubscriptionChanged, id)
}

// keeps reports whether connections of owners without a grant go on. Who is polled cannot be
// read without one.
func (c *Client) keeps() bool { return c.cfg.KeepWithoutGrant && !c.polls() }

// reads reports whether a grant's tokens are those of an owner, signed in or not.
func (c *Client) reads(record tokenstore.Grant, id fds.SubscriptionID) bool {
	return grants.IDs(record.Subscriptions)[id] || grants.IDs(c.grants.Others(record))[id]
}

// takenAway ends the owners whom the provider took out of a grant that goes on for others.
// What it returns tells of them, and ends their connections.
func (c *Client) takenAway(g *grants.Grant, ids []fds.SubscriptionID) (tell func()) {
	var parts []func()
	for _, id := range ids {
		o := c.known.owner(c.key(id))
		if o == nil {
			continue
		}
		why := errTakenAway(id)
		left := c.endings.begin(o.key)
		var connection *connected
		again, keeps := c.known.drop(o, g, why), c.keeps()
		switch {
		case again:
			left()
			continue
		case keeps: // another process may have the connection
			for _, r := range c.runs() {
				if a := r.of(o.key); a != nil {
					r.keep(a)
				}
			}
		default:
			connection = c.takeConnected(o.key, why)
			o.ended.Store(&push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now(), Err: why})
		}
		parts = append(parts, func() {
			defer connection.whenOver(left)
			c.signInNeeded([]fds.OwnerKey{o.key}, why)
			if keeps {
				return
			}
			if connection == nil { // which would tell it
				o.stop(why)
			}
			if err := c.endSession(context.Background(), o, connection); err != nil {
				c.log.Warn("the broker's session was not ended", "owner", o.key, "error", err)
			}
		})
	}
	return func() {
		for _, part := range parts {
			go part()
		}
	}
}

// leftElsewhere forgets the owners who have left a grant that goes on for others without
// this process's doing: another one signed them out, or noticed that the provider took them
// away. What renews the grant from now on is not theirs.
func (c *Client) leftElsewhere(g *grants.Grant, l grants.Landing) {
	stored, others := grants.IDs(l.Stored), grants.IDs(l.Others)
	for _, o := range c.known.ownersOf(g) {
		id := o.key.SubscriptionID
		if stored[id] || slices.Contains(l.Ended, id) {
			continue
		}
		why := grants.ErrSignedOut
		if !others[id] {
			why = errTakenAway(id)
		}
		if c.known.drop(o, g, why) { // it has signed in again
			continue
		}
		for _, r := range c.runs() {
			r.mu.Lock()
			r.left = append(r.left, o.key)
			r.mu.Unlock()
			r.look()
		}
	}
}

// keep keeps the connection of an owner who is in no grant any more.
func (r *run) keep(a *connected) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.kept = a.kept || r.active[a.owner.key] == a
}

// lapsed ends the connections of owners whose grant is no longer honoured, or was never
// another's to use. The broker keeps their sessions.
func (c *Client) lapsed(owners []fds.OwnerKey, why error) {
	if c.keeps() {
		return
	}
	for _, r := range c.runs() {
		for _, key := range owners {
			if a := r.of(key); a != nil && a.follower != nil {
				a.end(why)
			}
		}
	}
}
