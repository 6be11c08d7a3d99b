package fdsclient

import (
	"context"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// sessionEndTimeout bounds the end of an owner's session: a handler at work may take what
// Push.DrainTimeout says of it.
func (c *Client) sessionEndTimeout() time.Duration {
	return max(15*time.Second, c.cfg.Push.DrainTimeout+5*time.Second)
}

// endSession makes the broker forget an owner that signs out: on the connection
// that a Run had, if there is one, else on a short one of its own. Where nothing
// was ever subscribed there is no session.
func (c *Client) endSession(ctx context.Context, o *Owner, a *connected) error {
	ctx, cancel := context.WithTimeout(ctx, c.sessionEndTimeout())
	defer cancel()
	if a != nil {
		return c.endConnected(ctx, a)
	}
	filters, err := c.followers.Stored(ctx, o.key)
	if err != nil || len(filters) == 0 || c.cfg.Certificates == nil || c.cfg.Provider.BrokerURL == "" {
		return join(err, c.followers.Delete(ctx, o.key))
	}
	brief := &connected{follower: c.follow(ctx, o, nil, nil)}
	defer brief.follower.Stop()
	if brief.connection, err = c.connection(o, brief, nil); err != nil {
		return err
	}
	return c.endConnected(ctx, brief)
}

// takeConnected takes an owner's connection out of the run that has it, to be ended.
func (c *Client) takeConnected(key fds.OwnerKey, why error) *connected {
	for _, r := range c.runs() {
		if a := r.of(key); a != nil && r.lose(a) && a.follower != nil {
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
	if a.done != nil { // a run has it
		a.cancel()
		select {
		case <-a.done:
		case <-ctx.Done():
		}
	}
	return join(err, a.follower.Forget(ctx, err == nil))
}

// endings are the connections that are being ended, by their owners: each with the broker's
// session and the owner's state.
type endings struct {
	mu    sync.Mutex
	under map[fds.OwnerKey]*ending
}

// ending is what is under way of one owner.
type ending struct {
	connections int
	over        chan struct{}
}

// begin notes that an owner's connection is being ended, until ended is called.
func (e *endings) begin(key fds.OwnerKey) (ended func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one := e.under[key]
	if one == nil {
		one = &ending{over: make(chan struct{})}
		e.under[key] = one
	}
	one.connections++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if one.connections--; one.connections == 0 {
			delete(e.under, key)
			close(one.over)
		}
	}
}

// over returns a channel that is closed when no connection of the owner is being ended any
// more; nil: none is.
func (e *endings) over(key fds.OwnerKey) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if one := e.under[key]; one != nil {
		return one.over
	}
	return nil
}
