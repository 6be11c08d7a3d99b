package fdsclient

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// Selection says whom a RunWhere has, and to what their messages go. Its functions are called with
// no lock held and may call anything of this package. They are to be quick, and safe for concurrent
// use. That one panics is logged, and harms the owner at hand alone.
type Selection struct {
	// Where reports whether this run has an owner. It is asked when an owner is found, each
	// Config.Rescan, and by Reselect; an owner starts and stops as it answers. Who is left out is
	// neither connected, nor claimed, nor renewed, while the broker keeps the session and queues for
	// Push.SessionExpiry: sign out whom no process is to have again. Where every Run of a Client
	// leaves out all owners of a grant, that is not renewed in the background until one selects them
	// or Owner.Token is called for one. After a panic all stays as it is. Nil: all owners.
	Where func(fds.OwnerKey) bool

	// Of returns to what an owner's messages go. It is asked before each start of an owner: another
	// answer takes effect at the next one. To have it at once, let Where leave the owner out, call
	// Reselect, wait for Stopped, and have it again. After a panic, or with an answer that cannot be
	// used, the owner does not start, which log and HookConnection are told, until Reselect or until
	// it signs in again. Nil: grants are renewed, and nobody is connected or polled.
	Of func(fds.OwnerKey) Delivery

	// Fence returns an error when this process may not go on with an owner, as when its lease of the
	// owner is over. It is asked before an owner starts and each time it connects, before each call of
	// the handler, each acknowledgement and each save of what is remembered of the owner, and each
	// Config.Rescan and by Reselect. After an error or a panic the owner ends at once: nothing more is
	// handed over or acknowledged, and the broker keeps the session. The reason matches fds.ErrFenced
	// and the error. While Where selects the owner it is looked at again each Config.Rescan and by
	// Reselect. It has to answer from memory. Nil: none.
	Fence func(fds.OwnerKey) error

	// Stopped is told of an owner of whom nothing is at work any more, once for each start: its
	// handler has returned, the last acknowledgement is written, what is remembered is saved, and
	// other processes may claim it. Why is nil when Where left the owner out or the run ended; else it
	// is the reason, as in HookConnection. No Run of the Client starts the owner before Stopped has
	// returned, nor does this one end. It must not sign that owner out. Nil: nobody is told.
	Stopped func(owner fds.OwnerKey, why error)
}

// Delivery is to what an owner's messages go. The zero value is for an owner whose grant is
// renewed, and who is neither connected nor polled.
type Delivery struct {
	// Topics stand in the place of Config.Push.Topics, for what is pushed, fetched and polled. What
	// the broker has queued on others since the start before is discarded, and those that are new
	// begin with their subscription. None: those of the Config.
	Topics  []string
	Handler delivery.Handler
	// Batch stands in the place of Handler.
	Batch *delivery.Batching
}

// RunWhere is Run for the owners that s selects, each with a handler and topics of its own.
//
// Several may be at work at once. An owner whom two of them select is had by the one that had it
// first, which the log is told, and by the other one once that lets go of it. That others have all
// owners there are, in this process or in others, is no error; a second one without a Where, or
// beside Run, fails as a second Run does.
func (c *Client) RunWhere(ctx context.Context, s Selection) error {
	return c.run(ctx, &run{selection: s})
}

// Reselect has each RunWhere of this Client ask Where of all its owners anew, at once, and does not
// wait for that. Selection.Stopped is told of those who are left out now.
func (c *Client) Reselect() {
	for _, r := range c.runs() {
		r.mu.Lock()
		r.reselect = true
		r.mu.Unlock()
		r.look()
	}
}

// destination is to what messages go, of one owner or of all.
type destination struct {
	topics  []string
	calling *handoff.Settings
	release func() // called once when nothing goes there any more; nil: nobody waits for that
}

// where asks Where of owners, one after the other.
type where struct {
	run    *run
	failed int // how often it has panicked
}

// selects reports whether the run has an owner; known is false after a panic, of which the first is
// logged.
func (w *where) selects(key fds.OwnerKey) (selected, known bool) {
	ask := w.run.selection.Where
	if ask == nil {
		return true, true
	}
	var err error
	call := func() { selected = ask(key) }
	if w.failed == 0 {
		err = contain.Do(w.run.client.log, "Selection.Where", call)
	} else {
		_, err = contain.Call("Selection.Where", func() (struct{}, error) { call(); return struct{}{}, nil })
	}
	if err != nil {
		w.failed++
	}
	return selected, err == nil
}

// destination returns to what an owner's messages go; nil: nobody is connected.
func (r *run) destination(o *Owner) (*destination, error) {
	if r.same != nil || r.selection.Of == nil {
		return r.same, nil
	}
	var d Delivery
	if err := contain.Do(r.client.log, "Selection.Of", func() { d = r.selection.Of(o.key) }); err != nil {
		return nil, err
	}
	var faults fds.ConfigError
	for _, below := range d.Topics {
		if _, err := o.root.Filter(below); err != nil {
			faults.Add("Topics", "", "cannot be subscribed to: %v", err)
		}
	}
	if d.Handler != nil && d.Batch != nil {
		faults.Add("Batch", "leave one of them out", "stands in the place of a handler, and there is one").Other = "Handler"
	}
	if d.Handler == nil && d.Batch == nil && len(d.Topics) > 0 {
		faults.Add("Handler", "set one of the two, or leave Topics out where grants are only to be renewed", "is missing, and there are Topics").Other = "Batch"
	}
	var whole *delivery.Batching
	if d.Batch != nil {
		whole = handoff.Complete(d.Batch, &faults)
	}
	if err := faults.Err(); err != nil {
		return nil, fmt.Errorf("fdsclient: Selection.Of of subscription %s: %w", o.key.SubscriptionID, err)
	}
	if d.Handler == nil && d.Batch == nil {
		return nil, nil // and d has nothing else
	}
	to := &destination{topics: d.Topics, calling: r.client.calling(d.Handler)}
	if d.Batch != nil {
		to.calling.Batch, to.release = handoff.Gather(d.Batch, whole)
	}
	return to, nil
}

// fence returns why this process may not go on with an owner.
func (r *run) fence(key fds.OwnerKey) error {
	if r.selection.Fence == nil {
		return nil
	}
	return handoff.Ask(func(fds.OwnerKey) (err error) {
		if panicked := contain.Do(r.client.log, "Selection.Fence", func() { err = r.selection.Fence(key) }); panicked != nil {
			return panicked
		}
		return err
	}, key)
}

// fenced returns the same calling with a's fence.
func (r *run) fenced(a *connected, calling *handoff.Settings) *handoff.Settings {
	if r.selection.Fence == nil {
		return calling
	}
	with := *calling
	with.Fence = func(fds.OwnerKey) error { return r.forbids(a) }
	return &with
}

// forbids asks the fence of what is started of an owner, ends that if it may not go on, and returns
// why.
func (r *run) forbids(a *connected) error {
	if r.selection.Fence == nil || a.follower == nil {
		return nil
	}
	if why := a.fence.Load(); why != nil {
		return *why
	}
	err := r.fence(a.owner.key)
	if err != nil {
		a.fence.Store(&err)
		a.end(err)
	}
	return err
}

// stopped tells Stopped.
func (r *run) stopped(key fds.OwnerKey, why error) {
	if r.selection.Stopped != nil {
		_ = contain.Do(r.client.log, "Selection.Stopped", func() { r.selection.Stopped(key, why) }) // which logs it
	}
}

// selectAnew asks Where of all who are known.
func (r *run) selectAnew(ctx context.Context) {
	r.follow(ctx, r.client.known.everyone(), reselected)
	r.dismissKept()
}

// dismissKept ends the connections that were kept of owners who are in no grant any more, and whom
// the run does not have any more.
func (r *run) dismissKept() {
	r.mu.Lock()
	var kept []*connected
	for _, a := range r.active {
		if a.kept {
			kept = append(kept, a)
		}
	}
	r.mu.Unlock()
	w := where{run: r}
	for _, a := range kept {
		if selected, known := w.selects(a.owner.key); known && !selected || r.forbids(a) != nil {
			r.supersede(a)
		}
	}
}

// leaveOut ends what the run has of an owner whom it does not select. Anew: the owner signed in.
func (r *run) leaveOut(o *Owner, anew bool) {
	if a := r.of(o.key); a != nil && a.follower == nil {
		r.lose(a)
	} else if a != nil {
		r.client.log.LogAttrs(context.Background(), slog.LevelInfo, "an owner is left out from now on", slog.Any("owner", o.key))
		r.supersede(a)
	}
	r.mu.Lock()
	delete(r.refused, o.key)
	r.mu.Unlock()
	c := r.client
	c.choosing.Lock()
	defer c.choosing.Unlock()
	g := o.grant.Load()
	if r.out[o.key] == g && !anew {
		return
	}
	if r.out == nil {
		r.out = make(map[fds.OwnerKey]*grants.Grant)
	}
	r.out[o.key] = g
	c.restUnchosen(o)
}

// choose has an owner's grant renewed whom the run selects.
func (r *run) choose(o *Owner) {
	c := r.client
	c.choosing.Lock()
	defer c.choosing.Unlock()
	delete(r.out, o.key)
	o.grant.Load().Use()
}

// restUnchosen has an owner's grant rest where no run selects any of its owners. c.choosing is
// held.
func (c *Client) restUnchosen(o *Owner) {
	g := o.grant.Load()
	owners := c.known.ownersOf(g)
	for _, r := range c.runs() {
		for _, of := range owners {
			if _, out := r.out[of.key]; !out {
				return
			}
		}
	}
	g.Rest()
}

// chosenNoMore has the grants rest that no run selects since one has ended. Without any, what was
// renewed goes on being so.
func (c *Client) chosenNoMore() {
	if len(c.runs()) == 0 {
		return
	}
	for _, o := range c.known.everyone() {
		c.choosing.Lock()
		c.restUnchosen(o)
		c.choosing.Unlock()
	}
}
