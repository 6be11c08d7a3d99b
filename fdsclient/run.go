package fdsclient

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Run keeps every stored owner of this Client's issuer and client ID renewed and
// connected, and hands their messages to h, until ctx ends, which returns nil.
// Owners may come and go meanwhile: those signed in or out by this Client at
// once, those of other processes within Rescan. An owner that lapses, is
// taken over or denied is reported (hooks, log) and harms no other.
//
// h is called for one message of an owner at a time, in order, and for several
// owners at once. When ctx ends, handlers at work may finish, and what they
// finish is acknowledged; the broker keeps the sessions.
//
// A nil h keeps grants renewed, and neither connects nor polls: such a Run has no owner
// to itself, and may run beside any other, in this process or in others.
//
// With Config.Poll owners are polled instead of connected.
//
// An owner is had by one Run with a handler at a time. A second call for some of the same owners
// fails with fds.ErrRunning. Where Config.State is a statestore.Claimer, as a folder is,
// that holds for all processes that use it: an owner whom another process has is
// reported with a *statestore.ClaimedError, which names the process, and tried again
// each Config.Rescan; when it is so of all, Run fails.
//
// Only the first look at the store may have a keyring ask its user to unlock it; from then
// on a locked one is an error that is told to hooks and log (tokenstore.Unattended).
//
// An error means that Run could not begin.
func (c *Client) Run(ctx context.Context, h delivery.Handler) error {
	return c.run(ctx, c.runOf(h))
}

// runOf returns a run that has all owners, and one handler for them.
func (c *Client) runOf(h delivery.Handler) *run {
	if h == nil {
		return &run{}
	}
	return &run{same: &destination{calling: c.calling(h)}}
}

// RunOwners is Run for the named owners alone: at least one, all of this Client's issuer.
// One who is not signed in yet is had once that is so.
func (c *Client) RunOwners(ctx context.Context, owners []fds.OwnerKey, h delivery.Handler) error {
	if len(owners) == 0 {
		return fmt.Errorf("fdsclient: run: %w: no owner is named; Run is for all", fds.ErrConfig)
	}
	only := make(map[fds.OwnerKey]bool, len(owners))
	for _, key := range owners {
		if key.Issuer != c.cfg.Provider.Issuer {
			return fmt.Errorf("fdsclient: run: %w: subscription %s is named with the issuer %q, and this Client's is %q", fds.ErrConfig, key.SubscriptionID, authserver.Describe(key.Issuer), c.cfg.Provider.Issuer)
		}
		only[key] = true
	}
	r := c.runOf(h)
	r.only = only
	r.selection.Where = func(key fds.OwnerKey) bool { return only[key] }
	return c.run(ctx, r)
}

// run is one call of Run.
type run struct {
	client    *Client
	selection Selection
	only      map[fds.OwnerKey]bool // of RunOwners
	same      *destination          // of all owners; nil: see selection.Of
	wake      chan struct{}
	work      sync.WaitGroup

	out map[fds.OwnerKey]*grants.Grant // whom it leaves out, and what rested for that; the Client's choosing

	mu       sync.Mutex
	active   map[fds.OwnerKey]*connected
	refused  map[fds.OwnerKey]error  // whom others have, or the fence forbids
	added    []*Owner                // signed in since the last look
	left     []fds.OwnerKey          // their grants without this process's doing
	later    map[fds.OwnerKey]*Owner // to be looked at once the connection before has ended
	reselect bool                    // Reselect was called since the last look
}

// look is why owners are looked at.
type look uint8

const (
	rescanned  look = iota // it is time to
	arrived                // they signed in
	reselected             // Reselect was called
)

// isBack reports whether what has ended is wanted again: its owner signed in anew, here or
// elsewhere, or the grant that had lapsed is honoured again.
func (o *Owner) isBack(ctx context.Context, a *connected, why look) bool {
	switch {
	case !a.isOver():
		return false
	case why == arrived, a.grant != o.grant.Load():
		return true
	case a.why.Load() != nil:
		phase := o.grant.Load().State().Phase
		return phase != grants.Lapsed && phase != grants.Gone
	case a.connection == nil:
		return false
	}
	record, err := o.client.store.Load(ctx, a.grant.Key)
	return err == nil && record.Created.After(a.connection.State().Since)
}

func (c *Client) run(ctx context.Context, r *run) error {
	switch {
	case ctx.Err() != nil:
		return nil
	case !r.consumes() || c.polls():
	case c.cfg.Provider.BrokerURL == "":
		return fmt.Errorf("fdsclient: run: %w: Provider.BrokerURL is missing; for a provider without a broker set Poll.Interval; with a nil handler Run only renews grants", fds.ErrConfig)
	case c.cfg.Certificates == nil:
		return fmt.Errorf("fdsclient: run: %w: Config.Certificates is missing; a broker knows an owner by its client certificate (M2)", fds.ErrConfig)
	}
	r.client, r.wake = c, make(chan struct{}, 1)
	r.active, r.refused, r.later = make(map[fds.OwnerKey]*connected), make(map[fds.OwnerKey]error), make(map[fds.OwnerKey]*Owner)
	owners, unread, err := c.listOwners(ctx)
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("fdsclient: run: %w", err)
	}
	ctx = tokenstore.Unattended(ctx) // nobody sits before what is done from now on
	if err := c.beginRun(r); err != nil {
		return fmt.Errorf("fdsclient: run: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		r.cancelAll()
		c.mu.Lock()
		delete(c.running, r)
		c.mu.Unlock()
		r.work.Wait()
		r.letAllGo()
		c.chosenNoMore()
	}()

	timer := time.NewTimer(c.cfg.Rescan)
	defer timer.Stop()
	first := true
look:
	for {
		if err == nil {
			r.follow(ctx, owners, rescanned)
			r.dismissKept()
			if unread == nil {
				r.endOthers(ctx, owners)
			}
		} else if ctx.Err() == nil {
			c.storeUnavailable(err) // the owners known so far go on
		}
		if all := r.allRefused(); first && all != nil && ctx.Err() == nil {
			return fmt.Errorf("fdsclient: run: %w: %w", fds.ErrRunning, all)
		}
		first = false
		timer.Reset(c.cfg.Rescan)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
				owners, unread, err = c.listOwners(ctx)
				continue look
			case <-r.wake: // no need to look at ten thousand for one
				added, left, reselect := r.takeNews()
				for _, key := range left {
					if r.client.known.owner(key) == nil {
						r.ownerLeft(ctx, key)
					}
				}
				r.follow(ctx, added, arrived)
				if reselect {
					r.selectAnew(ctx)
				}
			}
		}
	}
}

// follow starts what is new among the owners, and what had ended and is wanted
// again: since its owner signed in anew, here or elsewhere. It ends what is not selected.
func (r *run) follow(ctx context.Context, owners []*Owner, why look) {
	w := where{run: r}
	for _, o := range owners {
		if ctx.Err() != nil { // what begins now would not notice until cancelAll
			return
		}
		a := r.of(o.key)
		if selected, known := w.selects(o.key); known && !selected {
			r.leaveOut(o, why == arrived)
			continue
		} else if !known && a == nil {
			continue
		}
		if a != nil && r.forbids(a) != nil && a.isOver() {
			r.lose(a)
			a = nil
		}
		if a != nil && (o.isBack(ctx, a, why) || a.isIdle() && why != rescanned && r.selection.Of != nil) {
			r.lose(a)
			a = nil
		} else if a != nil && a.owner != o { // who has left, and has signed in again
			r.supersede(a)
			a = nil
		}
		known := a != nil
		if !known || o.grant.Load().State().Phase == grants.Lapsed {
			r.choose(o)
		}
		if known {
			continue
		}
		if left := r.client.endings.over(o.key); left != nil {
			r.startLater(ctx, o, left)
			continue
		}
		r.start(ctx, o)
		if r.client.known.owner(o.key) != o { // signed out meanwhile
			if a := r.of(o.key); a != nil && r.lose(a) {
				r.ownerGone(o.key, a, grants.ErrSignedOut)
			}
		}
	}
}

// endOthers stops what belongs to none of the owners, who are all that were
// listed. Someone who signed in during the listing, and so got another grant, may
// have been missed: only who is missing from a second one is gone.
func (r *run) endOthers(ctx context.Context, owners []*Owner) {
	gone := r.without(owners)
	if len(gone) == 0 {
		return
	}
	owners, unread, err := r.client.listOwners(ctx)
	if err != nil || unread != nil {
		return // told next time
	}
	still := r.without(owners)
	for key := range gone {
		if still[key] {
			r.ownerLeft(ctx, key)
		}
	}
}

// without names those who are followed and not among the owners.
func (r *run) without(owners []*Owner) map[fds.OwnerKey]bool {
	present := make(map[fds.OwnerKey]bool, len(owners))
	for _, o := range owners {
		present[o.key] = true
	}
	r.client.choosing.Lock()
	maps.DeleteFunc(r.out, func(key fds.OwnerKey, _ *grants.Grant) bool { return !present[key] })
	r.client.choosing.Unlock()
	gone := make(map[fds.OwnerKey]bool)
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, a := range r.active {
		if !present[key] && !a.kept {
			gone[key] = true
		}
	}
	for key := range r.refused {
		if !present[key] {
			delete(r.refused, key)
		}
	}
	return gone
}

func (r *run) takeNews() (added []*Owner, left []fds.OwnerKey, reselect bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	added, left, reselect = r.added, r.left, r.reselect
	r.added, r.left, r.reselect = nil, nil, false
	return added, left, reselect
}

// of returns what the run has of an owner; nil: nothing.
func (r *run) of(key fds.OwnerKey) *connected {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active[key]
}

// lose takes a out of the run, and reports whether it was there.
func (r *run) lose(a *connected) bool {
	r.mu.Lock()
	was := r.active[a.owner.key] == a
	if was {
		delete(r.active, a.owner.key)
	}
	free := was && a.ended
	r.mu.Unlock()
	if free {
		r.letGo(a.owner.key)
	}
	return was
}

// start opens an owner's connection. What a run can do nothing about stays
// stopped, and reported. It is called by one goroutine alone and holds no lock
// while it reads state and tells hooks.
func (r *run) start(ctx context.Context, o *Owner) {
	a := &connected{owner: o, grant: o.grant.Load(), done: make(chan struct{})}
	release := func() {}
	d, err := r.destination(o)
	if err == nil && d != nil {
		if d.release != nil {
			defer func() {
				if a.follower == nil { // it has not begun
					d.release()
				}
			}()
		}
		if why := r.fence(o.key); why != nil {
			if r.refuse(o.key, why) {
				o.stop(why)
			}
			return
		}
		var has bool
		if release, has = r.claim(ctx, o); !has {
			return
		}
		d = &destination{d.topics, r.fenced(a, d.calling), d.release}
		a.follower = r.client.follow(ctx, o, d.topics, d.calling)
		if !r.client.polls() {
			if a.connection, err = r.client.connection(o, a, d); err != nil {
				a.follower.Stop()
				a.follower = nil
				release()
				r.letGo(o.key)
			}
		}
	}
	o.ended.Store(nil)
	r.mu.Lock()
	r.active[o.key] = a
	r.mu.Unlock()
	if s := a.grant.State(); s.Phase == grants.Lapsed && !r.client.keeps() { // told before the run had it
		a.end(s.Err)
	}
	if err != nil {
		r.client.log.LogAttrs(ctx, slog.LevelError, "an owner cannot be started", slog.Any("owner", o.key), slog.Any("error", err))
		o.stop(err)
	}
	if a.follower == nil {
		close(a.done)
		return
	}
	r.work.Add(1)
	ended := func(error) { r.over(a, d, release) } // which a says
	if a.connection == nil {
		a.follower.Poll()
		ctx, cancel := context.WithCancel(ctx)
		a.begun(cancel)
		context.AfterFunc(ctx, func() { ended(nil) }) // an owner between two reads costs no goroutine
		return
	}
	stop, err := a.listen(context.WithoutCancel(ctx), d, ended) // see cancelAll
	if err != nil {                                             // nobody else has it
		ended(err)
		return
	}
	a.begun(stop)
}

// cancelAll ends the connections of a run that ends. To have each watch over the run's context
// would cost memory for every owner.
func (r *run) cancelAll() {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.active))
	r.mu.Unlock()
	for _, a := range all {
		a.cancel()
	}
}

// over sees to all that follows when the connection or the polling of an owner has ended, with no
// handler at work.
func (r *run) over(a *connected, d *destination, release func()) {
	defer r.work.Done()
	defer r.free(a) // also when a function of the application ends the goroutine
	a.follower.Stop()
	if d.release != nil {
		d.release()
	}
	state := a.noteEnd()
	release()
	if a.connection == nil && state.Err != nil { // a connection reports how it ended through OnState
		r.client.connectionChanged(a.owner.key, *state)
	}
	r.stopped(a.owner.key, state.Err)
}

// free notes that nothing of a is at work any more, so that its owner may be started again.
func (r *run) free(a *connected) {
	key := a.owner.key
	r.mu.Lock()
	a.ended = true
	fenced := a.fence.Load() != nil // it is to be looked at again
	lost := r.active[key] != a
	r.mu.Unlock()
	if lost || fenced { // before this run may take it anew
		r.letGo(key)
	}
	r.mu.Lock()
	if fenced && r.active[key] == a {
		delete(r.active, key)
	}
	r.mu.Unlock()
	close(a.done)
}

// polls reports whether owners are polled.
func (c *Client) polls() bool { return c.cfg.Poll.Interval > 0 }

// startLater looks at an owner again who signed in while the connection of before
// is being ended: that would end the new one, and delete its state, or its handler
// is still at work.
func (r *run) startLater(ctx context.Context, o *Owner, left <-chan struct{}) {
	r.mu.Lock()
	_, waits := r.later[o.key]
	r.later[o.key] = o
	r.mu.Unlock()
	if waits {
		return
	}
	r.client.log.Info("an owner is connected once the connection before has ended, and its handler returned", "owner", o.key)
	r.work.Go(func() {
		select {
		case <-left:
			r.mu.Lock()
			o := r.later[o.key]
			delete(r.later, o.key)
			r.mu.Unlock()
			r.ownerAdded(o)
		case <-ctx.Done():
		}
	})
}

// ownerAdded has the run look at owners who signed in.
func (r *run) ownerAdded(owners ...*Owner) {
	r.mu.Lock()
	r.added = append(r.added, owners...)
	r.mu.Unlock()
	r.look()
}

// look has the run look at once at those of whom there is news.
func (r *run) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// runs returns the calls of Run at this moment.
func (c *Client) runs() []*run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.running))
}
