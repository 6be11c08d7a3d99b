package fdsclient

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
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

// retire ends the connection of an owner who was signed out by another process.
func (r *run) retire(key fds.OwnerKey, a *connected) {
	if a.follower == nil {
		return
	}
	left := r.client.leave(key)
	r.work.Go(func() {
		defer a.whenOver(left)
		ctx, cancel := context.WithTimeout(context.Background(), sessionEndTimeout)
		defer cancel()
		if err := r.client.endConnected(ctx, a); err != nil {
			r.client.log.Warn("the broker's session was not ended", "owner", key, "error", err)
		}
	})
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

// leaving gives a channel that is closed when no connection of the owner is being
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
		why := fmt.Errorf("fdsclient: %w: %w: the provider took subscription %s out of the grant that it shared with others", ErrSignInRequired, ErrSubscriptionChanged, id)
		left := c.leave(o.key)
		var connection *connected
		again := c.drop(o, g, why)
		if kept := c.cfg.Push.KeepWithoutGrant && c.keepConnected(o.key); kept {
			parts = append(parts, func() {
				left()
				c.signInNeeded([]fds.OwnerKey{o.key}, why)
			})
			continue
		}
		if !again {
			connection = c.takeConnected(o.key)
			o.ended.Store(&push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now(), Err: why})
		}
		parts = append(parts, func() {
			defer connection.whenOver(left)
			if again {
				return
			}
			c.signInNeeded([]fds.OwnerKey{o.key}, why)
			c.connectionChanged(o.key, push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now(), Err: why})
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
	stored := idSet(work.stored)
	for _, key := range c.ownersOf(g.key) {
		if o := c.knownOwner(key.SubscriptionID); o != nil && !stored[key.SubscriptionID] && !slices.Contains(work.ended, key.SubscriptionID) {
			c.drop(o, g, errSignedOut)
		}
	}
}

// keepConnected has runs keep the connection of an owner who is in no grant any more, and
// reports whether there is one.
func (c *Client) keepConnected(key fds.OwnerKey) bool {
	kept := false
	for _, r := range c.runs() {
		r.mu.Lock()
		if a := r.active[key]; a != nil && a.follower != nil {
			a.kept, kept = true, true
		}
		r.mu.Unlock()
	}
	return kept
}

// lapsed ends the connections of owners whose grant is no longer honoured, or was never
// another's to use. The broker keeps their sessions.
func (c *Client) lapsed(owners []fds.OwnerKey, why error) {
	if c.cfg.Push.KeepWithoutGrant {
		return
	}
	for _, r := range c.runs() {
		for _, key := range owners {
			r.mu.Lock()
			a := r.active[key]
			r.mu.Unlock()
			if a != nil && a.follower != nil {
				a.why.CompareAndSwap(nil, &why)
				a.cancel()
			}
		}
	}
}

// takeConnected takes an owner's connection out of the run that has it.
func (c *Client) takeConnected(key fds.OwnerKey) *connected {
	for _, r := range c.runs() {
		r.mu.Lock()
		a := r.active[key]
		delete(r.active, key)
		r.mu.Unlock()
		if a != nil && a.follower != nil {
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
