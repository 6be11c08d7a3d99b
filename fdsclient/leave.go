package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// whenOver calls left when the handler cannot be at work any more, which may be
// long after everyone has ceased to wait for it. There may have been no connection.
func (a *connected) whenOver(left func()) {
	if a == nil {
		left()
		return
	}
	select {
	case <-a.done:
		left()
	default:
		go func() {
			<-a.done
			left()
		}()
	}
}

// retire ends the connection of an owner who has left the grant.
func (r *run) retire(key fds.OwnerKey, a *connected, why error) {
	if a.follower == nil {
		return
	}
	over := a.isOver()
	a.why.CompareAndSwap(nil, &why)
	left := r.client.leave(key)
	r.work.Go(func() {
		defer a.whenOver(left)
		if over && a.connection != nil { // taken over, as by the sign-out itself, and no more than that was told
			state := a.state(push.State{Owner: key, Phase: push.Stopped, Since: time.Now()})
			a.owner.ended.Store(&state)
			r.client.connectionChanged(key, state)
		}
		ctx, cancel := context.WithTimeout(context.Background(), sessionEndTimeout)
		defer cancel()
		if err := r.client.endConnected(ctx, a); err != nil {
			r.client.log.Warn("the broker's session was not ended", "owner", key, "error", err)
		}
	})
}

// part ends the connection of an owner who has left its grant in another process, or keeps
// it where the provider took the owner away.
func (r *run) part(ctx context.Context, key fds.OwnerKey) {
	c := r.client
	r.mu.Lock()
	a := r.active[key]
	r.mu.Unlock()
	if a == nil {
		return
	}
	now := c.knownOwner(key.SubscriptionID)
	if now != nil && now != a.owner {
		return // it has signed in again
	}
	why, g := errLeft, a.owner.grant.Load()
	record, err := c.store.Load(ctx, g.key)
	switch {
	case err != nil:
	case idSet(record.Subscriptions)[key.SubscriptionID]:
		return // it has signed in again
	case !c.reads(record, key.SubscriptionID):
		why = errTakenAway(key.SubscriptionID)
	}
	if now != nil && (err == nil || errors.Is(err, fds.ErrNoGrant)) {
		c.drop(now, g, why)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.active[key] != a:
	case c.keeps() && errors.Is(why, fds.ErrSubscriptionChanged):
		a.kept = true
	default:
		delete(r.active, key)
		r.retire(key, a, why)
	}
}

// supersede ends a connection that was kept without a grant, and whose owner has one again:
// it knows nothing of that.
func (r *run) supersede(a *connected) {
	r.mu.Lock()
	if r.active[a.owner.key] == a {
		delete(r.active, a.owner.key)
	}
	r.mu.Unlock()
	left := r.client.leave(a.owner.key)
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
	return idSet(record.Subscriptions)[id] || idSet(c.others(record))[id]
}

// honoured returns why the grant is known to have lapsed, at which a process that has just
// begun has not looked yet; nil: it is not known.
func (a *connected) honoured(ctx context.Context) error {
	g := a.grant
	if s := g.state(); g.fresh.Load() != nil || s.lapsed != nil || s.failing != nil {
		return s.lapsed
	}
	record, err := g.client.store.Load(ctx, g.key)
	if err != nil || !record.Renewal.Lapsed {
		return nil // told where the grant is used
	}
	return g.lapsedError(record.Renewal)
}

// departure is a sign-out that still ends a connection and its state.
type departure struct {
	under int // so many are under way
	over  chan struct{}
}

// leave notes that an owner's connection is being ended, until left is called.
func (c *Client) leave(key fds.OwnerKey) (left func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.departures[key]
	if d == nil {
		d = &departure{over: make(chan struct{})}
		c.departures[key] = d
	}
	d.under++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.under--; d.under == 0 {
			delete(c.departures, key)
			close(d.over)
		}
	}
}

// leaving returns a channel that is closed when no connection of the owner is being
// ended any more; nil: none is.
func (c *Client) leaving(key fds.OwnerKey) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.departures[key]; d != nil {
		return d.over
	}
	return nil
}

const sessionEndTimeout = 15 * time.Second // a handler at work may take 10 of them

// endSession makes the broker forget an owner that signs out: on the connection
// that a Run had, if there is one, else on a short one of its own. Where nothing
// was ever subscribed there is no session.
func (c *Client) endSession(ctx context.Context, o *Owner, a *connected) error {
	ctx, cancel := context.WithTimeout(ctx, sessionEndTimeout)
	defer cancel()
	if a != nil {
		return c.endConnected(ctx, a)
	}
	filters, err := c.followers.Stored(ctx, o.key)
	if err != nil || len(filters) == 0 || c.cfg.Certificates == nil || c.cfg.Provider.BrokerURL == "" {
		return join(err, c.followers.Delete(ctx, o.key))
	}
	brief := &connected{follower: c.follow(ctx, o, nil)}
	defer brief.follower.Stop()
	if brief.connection, err = c.connection(o, brief); err != nil {
		return err
	}
	return c.endConnected(ctx, brief)
}

// takenAway ends the owners whom the provider took out of a grant that goes on for others.
// What it returns tells of them, and ends their connections.
func (c *Client) takenAway(g *grant, ids []fds.SubscriptionID) (tell func()) {
	var parts []func()
	for _, id := range ids {
		o := c.knownOwner(id)
		if o == nil {
			continue
		}
		why := errTakenAway(id)
		left := c.leave(o.key)
		var connection *connected
		again := c.drop(o, g, why)
		if c.keeps() && !again { // another process may have the connection
			c.keepConnected(o.key)
			parts = append(parts, func() {
				left()
				c.signInNeeded([]fds.OwnerKey{o.key}, why)
			})
			continue
		}
		if !again {
			connection = c.takeConnected(o.key, why)
			o.ended.Store(&push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now(), Err: why})
		}
		parts = append(parts, func() {
			defer connection.whenOver(left)
			if again {
				return
			}
			c.signInNeeded([]fds.OwnerKey{o.key}, why)
			if connection == nil { // which would tell it
				c.connectionChanged(o.key, push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now(), Err: why})
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
func (c *Client) leftElsewhere(g *grant, work renewed) {
	stored, others := idSet(work.stored), idSet(work.others)
	for _, key := range c.ownersOf(g.key) {
		if o := c.knownOwner(key.SubscriptionID); o != nil && !stored[key.SubscriptionID] && !slices.Contains(work.ended, key.SubscriptionID) {
			why := errSignedOut
			if !others[key.SubscriptionID] {
				why = errTakenAway(key.SubscriptionID)
			}
			if c.drop(o, g, why) { // it has signed in again
				continue
			}
			for _, r := range c.runs() {
				r.mu.Lock()
				r.left = append(r.left, key)
				r.mu.Unlock()
				r.look()
			}
		}
	}
}

// keepConnected has runs keep the connection of an owner who is in no grant any more.
func (c *Client) keepConnected(key fds.OwnerKey) {
	for _, r := range c.runs() {
		r.mu.Lock()
		if a := r.active[key]; a != nil && a.follower != nil {
			a.kept = true
		}
		r.mu.Unlock()
	}
}

// lapsed ends the connections of owners whose grant is no longer honoured, or was never
// another's to use. The broker keeps their sessions.
func (c *Client) lapsed(owners []fds.OwnerKey, why error) {
	if c.keeps() {
		return
	}
	for _, r := range c.runs() {
		for _, key := range owners {
			r.mu.Lock()
			a := r.active[key]
			r.mu.Unlock()
			if a != nil && a.follower != nil {
				a.end(why)
			}
		}
	}
}

// takeConnected takes an owner's connection out of the run that has it, to be ended.
func (c *Client) takeConnected(key fds.OwnerKey, why error) *connected {
	for _, r := range c.runs() {
		r.mu.Lock()
		a := r.active[key]
		delete(r.active, key)
		r.mu.Unlock()
		if a != nil && a.follower != nil {
			a.why.CompareAndSwap(nil, &why)
			return a
		}
	}
	return nil
}

// endConnected ends a connection together with the broker's session, and forgets
// what the session held, but for its filters where the broker could not be told: by
// them the next sign-out knows that there is a session to end. It does not wait for
// a handler longer than ctx allows: the handler may be the one that signs out.
func (c *Client) endConnected(ctx context.Context, a *connected) error {
	var err error
	if a.connection != nil {
		err = a.connection.EndSession(ctx)
	}
	if a.cancel != nil {
		a.cancel()
		select {
		case <-a.done:
		case <-ctx.Done():
		}
	}
	return join(err, a.follower.Forget(ctx, err == nil))
}
