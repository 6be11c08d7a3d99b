package fdsclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Run keeps every stored owner of this Client's issuer and client ID renewed and
// connected, and hands their messages to h, until ctx ends, which gives nil.
// Owners may come and go meanwhile: those signed in or out by this Client at
// once, those of other processes within Push.Rescan. An owner that lapses, is
// taken over or denied is reported (hooks, log) and harms no other.
//
// h is called for one message of an owner at a time, in order, and for several
// owners at once. When ctx ends, handlers at work may finish, and what they
// finish is acknowledged; the broker keeps the sessions. A nil h keeps grants
// renewed and connects no one.
//
// With Config.Poll owners are polled instead of connected.
//
// Only the first look at the store may have a keyring ask its user to unlock it; from then
// on a locked one is an error that is told to hooks and log (tokenstore.Unattended).
//
// An error means that Run could not begin.
func (c *Client) Run(ctx context.Context, h delivery.Handler) error {
	return c.run(ctx, nil, h)
}

// RunOwners is Run for the named owners alone.
func (c *Client) RunOwners(ctx context.Context, owners []fds.OwnerKey, h delivery.Handler) error {
	only := make(map[fds.OwnerKey]bool, len(owners))
	for _, key := range owners {
		only[key] = true
	}
	return c.run(ctx, only, h)
}

// run is one call of Run.
type run struct {
	client  *Client
	only    map[fds.OwnerKey]bool // nil: all
	handler delivery.Handler
	wake    chan struct{}
	work    sync.WaitGroup

	mu      sync.Mutex
	active  map[fds.OwnerKey]*connected
	arrived []*Owner                // signed in since the last look
	cold    []*Owner                // whose grants are to be looked at
	warming int                     // goroutines that do
	later   map[fds.OwnerKey]*Owner // to be looked at once the connection before has ended
}

// connected is an owner's connection in a run.
type connected struct {
	connection *push.Connection // nil without push
	follower   *follower        // nil without push or poll
	grant      *grant           // that the owner had when it began
	cancel     context.CancelFunc
	done       chan struct{}
}

// isOver says whether it has ended though its owner is signed in, as after a
// take-over.
func (a *connected) isOver() bool {
	select {
	case <-a.done:
		return a.follower != nil
	default:
		return false
	}
}

// signedInSince says whether the owner signed in after its connection had ended, be
// it to the same grant and in another process.
func (o *Owner) signedInSince(ctx context.Context, a *connected) bool {
	if a.connection == nil {
		return false
	}
	record, err := o.client.store.Load(ctx, a.grant.key)
	return err == nil && record.Created.After(a.connection.State().Since)
}

func (c *Client) run(ctx context.Context, only map[fds.OwnerKey]bool, h delivery.Handler) error {
	switch {
	case h == nil || c.polls():
	case c.cfg.Provider.BrokerURL == "":
		return fmt.Errorf("fdsclient: run: %w: Provider.BrokerURL is missing; for a provider without a broker set Poll.Interval; with a nil handler Run only renews grants", ErrConfig)
	case c.cfg.Certificates == nil:
		return fmt.Errorf("fdsclient: run: %w: Config.Certificates is missing; a broker knows an owner by its client certificate (M2)", ErrConfig)
	}
	r := &run{
		client:  c,
		only:    only,
		handler: h,
		wake:    make(chan struct{}, 1),
		active:  make(map[fds.OwnerKey]*connected),
		later:   make(map[fds.OwnerKey]*Owner),
	}
	owners, unread, err := c.listOwners(ctx)
	if err != nil {
		return fmt.Errorf("fdsclient: run: %w", err)
	}
	ctx = tokenstore.Unattended(ctx) // nobody sits before what is done from now on
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return fmt.Errorf("fdsclient: run: %w", ErrClosed)
	}
	c.running[r] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.running, r)
		c.mu.Unlock()
		r.work.Wait()
	}()

	timer := time.NewTimer(c.cfg.Push.Rescan)
	defer timer.Stop()
look:
	for {
		if err == nil {
			r.follow(ctx, owners, false)
			if unread == nil {
				r.retireOthers(ctx, owners)
			}
		} else if ctx.Err() == nil {
			c.storeUnavailable(err) // the owners known so far go on
		}
		timer.Reset(c.cfg.Push.Rescan)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
				owners, unread, err = c.listOwners(ctx)
				continue look
			case <-r.wake: // no need to look at ten thousand for one
				r.follow(ctx, r.takeArrived(), true)
			}
		}
	}
}

// follow starts what is new among the owners, and what had ended and is wanted
// again: since its owner signed in anew, here (arrived) or elsewhere.
func (r *run) follow(ctx context.Context, owners []*Owner, arrived bool) {
	for _, o := range owners {
		if r.only != nil && !r.only[o.key] {
			continue
		}
		r.mu.Lock()
		a := r.active[o.key]
		r.mu.Unlock()
		if a != nil && a.isOver() && (arrived || a.grant != o.grant.Load() || o.signedInSince(ctx, a)) {
			r.mu.Lock()
			if r.active[o.key] == a {
				delete(r.active, o.key)
			}
			r.mu.Unlock()
			a = nil
		}
		known := a != nil
		if !known || o.grant.Load().state().lapsed != nil {
			r.warm(ctx, o)
		}
		if known {
			continue
		}
		if left := r.client.leaving(o.key); left != nil {
			r.startLater(ctx, o, left)
			continue
		}
		r.start(ctx, o)
		if !r.client.knows(o) { // signed out meanwhile
			r.mu.Lock()
			a := r.active[o.key]
			delete(r.active, o.key)
			r.mu.Unlock()
			if a != nil {
				r.retire(o.key, a)
			}
		}
	}
}

// retireOthers stops what belongs to none of the owners, who are all that were
// listed. Someone who signed in during the listing, and so got another grant, may
// have been missed: only who is missing from a second one is gone.
func (r *run) retireOthers(ctx context.Context, owners []*Owner) {
	gone := r.without(owners)
	if len(gone) == 0 {
		return
	}
	owners, unread, err := r.client.listOwners(ctx)
	if err != nil || unread != nil {
		return // told next time
	}
	still := r.without(owners)
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range gone {
		if a := r.active[key]; a != nil && still[key] {
			delete(r.active, key)
			r.retire(key, a)
		}
	}
}

// without names those who are followed and not among the owners.
func (r *run) without(owners []*Owner) map[fds.OwnerKey]bool {
	present := make(map[fds.OwnerKey]bool, len(owners))
	for _, o := range owners {
		present[o.key] = true
	}
	gone := make(map[fds.OwnerKey]bool)
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.active {
		if !present[key] {
			gone[key] = true
		}
	}
	return gone
}

func (r *run) takeArrived() []*Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	owners := r.arrived
	r.arrived = nil
	return owners
}

// warm puts an owner's grant under the scheduler, and looks whether a lapsed one
// has come back. A fresh stored token costs no renewal.
func (r *run) warm(ctx context.Context, o *Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cold = append(r.cold, o)
	if r.warming < renewalWorkers {
		r.warming++
		r.work.Go(func() { r.warmAll(ctx) })
	}
}

// warmAll looks at grants until none is left. Few do: a goroutine for each of ten
// thousand owners would leave the stacks of those that stay scattered.
func (r *run) warmAll(ctx context.Context) {
	for o := r.nextCold(ctx); o != nil; o = r.nextCold(ctx) {
		_, _ = o.Token(ctx) // its failure is told to hooks and log
	}
}

// nextCold gives the next owner to warm; nil: the caller is no longer needed.
func (r *run) nextCold(ctx context.Context) *Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cold) == 0 || ctx.Err() != nil {
		r.warming--
		return nil
	}
	o := r.cold[0]
	r.cold = r.cold[1:]
	return o
}

// start opens an owner's connection. What a run can do nothing about stays
// stopped, and reported. It is called by one goroutine alone and holds no lock
// while it reads state and tells hooks.
func (r *run) start(ctx context.Context, o *Owner) {
	a := &connected{grant: o.grant.Load(), done: make(chan struct{}), cancel: func() {}}
	var err error
	switch {
	case r.handler == nil:
	case r.client.polls():
		a.follower = r.client.follow(ctx, o, r.handler)
	default:
		a.connection, a.follower, err = r.client.connection(ctx, o, r.handler)
	}
	if a.follower != nil {
		ctx, a.cancel = context.WithCancel(ctx)
	}
	r.mu.Lock()
	r.active[o.key] = a
	r.mu.Unlock()
	switch {
	case err != nil:
		r.client.log.LogAttrs(ctx, slog.LevelWarn, "an owner cannot be connected", slog.Any("owner", o.key), slog.Any("error", err))
		r.client.connectionChanged(o.key, push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now(), Err: err})
		fallthrough
	case a.follower == nil:
		close(a.done)
	case a.connection == nil:
		r.work.Add(1)
		a.follower.startPolling()
		context.AfterFunc(ctx, func() { // an owner between two reads costs no goroutine
			defer r.work.Done()
			defer close(a.done)
			a.follower.stop()
		})
	default:
		r.work.Go(func() {
			defer close(a.done)
			// The connection reports how it ended through OnState.
			_ = a.connection.Run(ctx, a.follower.live)
			a.follower.stop()
		})
	}
}

// polls says whether owners are polled.
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
	r.client.log.Info("an owner is connected once the connection before has ended, and its handler returned", "subscription", o.key.SubscriptionID.String())
	r.work.Go(func() {
		select {
		case <-left:
			r.mu.Lock()
			o := r.later[o.key]
			delete(r.later, o.key)
			r.mu.Unlock()
			r.arrive(o)
		case <-ctx.Done():
		}
	})
}

// arrive has the run look at owners who signed in.
func (r *run) arrive(owners ...*Owner) {
	r.mu.Lock()
	r.arrived = append(r.arrived, owners...)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// connection makes the push connection of an owner, and its follower, to be
// stopped. h is nil when it serves only to end the session.
func (c *Client) connection(ctx context.Context, o *Owner, h delivery.Handler) (*push.Connection, *follower, error) {
	f := c.follow(ctx, o, h)
	cfg := c.pushConfig(o.key, o.root, f.stored)
	cfg.SaveSubscribed = f.saveFilters
	cfg.BeforeMessages = f.subscribed
	cfg.OnAcknowledged = f.acknowledged
	cfg.OnState = func(s push.State) {
		f.connectionIs(s.Phase)
		c.connectionChanged(o.key, s)
	}
	connection, err := push.New(cfg)
	if err != nil {
		f.stop()
		return nil, nil, err
	}
	return connection, f, nil
}

func (c *Client) pushConfig(key fds.OwnerKey, root fds.Root, state OwnerState) push.Config {
	settings := c.cfg.Push
	// A session is its client ID's, to the letter: filters below another spelling
	// of the subscription ID are those of another session.
	own := "fds/v2/" + root.ClientID() + "/"
	known := slices.DeleteFunc(slices.Clone(state.Filters), func(filter string) bool { return !strings.HasPrefix(filter, own) })
	roots := c.cfg.Provider.Roots
	if roots != nil {
		roots = func(ctx context.Context) (*x509.CertPool, error) {
			return contained("Provider.Roots", func() (*x509.CertPool, error) { return c.cfg.Provider.Roots(ctx) })
		}
	}
	return push.Config{
		Owner:          key,
		Root:           root,
		BrokerURL:      c.cfg.Provider.BrokerURL,
		Fallbacks:      c.cfg.Provider.BrokerFallbacks,
		AllowedServers: c.cfg.Provider.AllowedServers,
		RootCAs:        c.cfg.Provider.RootCAs,
		Roots:          roots,
		ExactlyTLS12:   c.cfg.Provider.ExactlyTLS12,
		Certificate: func(ctx context.Context) (*tls.Certificate, error) {
			return c.ownersCertificate(ctx, key)
		},
		Topics:           settings.Topics,
		Subscribed:       known,
		CertificateCheck: settings.CertificateCheck,
		TakenOverRetry:   settings.TakenOverRetry,
		MaxAttempts:      settings.MaxAttempts,
		DeadLetter:       settings.DeadLetter,
		SlowHandler:      settings.SlowHandler,
		SessionExpiry:    settings.SessionExpiry,
		KeepAlive:        settings.KeepAlive,
		MaxPacketSize:    settings.MaxPacketSize,
		Limiter:          c.limiter,
		Logger:           c.log,
		OnState:          func(s push.State) { c.connectionChanged(key, s) },
		Hooks:            pushHooks{c},
	}
}

// connectionChanged tells hooks; the log has it from the connection itself.
func (c *Client) connectionChanged(key fds.OwnerKey, s push.State) {
	tell(c, func(h HookConnection) { h.OnConnection(key, s) })
}

// runs gives the calls of Run at this moment.
func (c *Client) runs() []*run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.running))
}

// Connection gives the state of the owner's push connection at this moment, with
// since when and why; push.Stopped when no Run has it. HookConnection is told
// every change.
func (o *Owner) Connection() push.State {
	for _, r := range o.client.runs() {
		r.mu.Lock()
		a := r.active[o.key]
		r.mu.Unlock()
		if a != nil && a.connection != nil {
			return a.connection.State()
		}
	}
	return push.State{Owner: o.key, Phase: push.Stopped}
}
