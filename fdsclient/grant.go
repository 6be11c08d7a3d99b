package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const (
	settle        = 5 * time.Second  // after a restart, before the first renewal ahead of expiry: a one-shot command is done by then
	rejectedAgain = 10 * time.Second // a token that is refused this soon after its renewal is not renewed again
	lapsedRecheck = 5 * time.Second  // how often a lapsed grant is looked up for a sign-in made elsewhere
)

// youngAges are how old a token grows before a request that was refused with it is sent
// again: some providers' Web APIs learn of a token, or begin to take it, seconds after it
// was issued.
var youngAges = [...]time.Duration{2500 * time.Millisecond, 6 * time.Second}

var renewalBackoff = backoff.Policy{Initial: time.Second, Max: 5 * time.Minute, StableAfter: time.Minute}

var errSignedOut = fmt.Errorf("fdsclient: %w: it was signed out", fds.ErrNoOwner)

// grant is one stored grant as this process knows it: what is stored, locked and
// renewed. Its token is read without a lock.
type grant struct {
	client *Client
	key    tokenstore.Key
	owners []*Owner // it is for; under the Client's mu
	fresh  atomic.Pointer[credential]

	planned planned

	mu        sync.Mutex // guards what follows; never held over the network or the store
	flight    *flight
	failures  *backoff.Backoff // nil until the first
	failing   error            // of the last renewal; nil after a success
	since     time.Time        // the first failure in a row
	notBefore time.Time        // no renewal earlier, while failing
	lapsed    error            // matches fds.ErrSignInRequired; nil while the grant lives
	relook    time.Time        // when the server is asked again about a lapsed grant
	unsaved   *unsaved
	over      error // why it is no longer to be used: signed out, taken away; nil: it is
	epoch     int   // counts sign-ins and sign-outs
	proof     *authserver.Prover
	proofKey  fds.Secret // that proof was read from
}

// flight is a renewal under way, which any number of callers wait for.
type flight struct {
	epoch    int
	done     chan struct{}
	got      *credential
	err      error
	troubles []error // with the store, to be told once it is over; under the grant's mu
}

// unsaved is what the server issued and the store would not take: the refresh
// token it replaces is spent.
type unsaved struct {
	spent  fds.Secret
	record tokenstore.Grant
}

func newGrant(c *Client, key tokenstore.Key) *grant {
	return &grant{client: c, key: key}
}

// endedGrant stands in for the grant of an owner who has left it, though it may live on
// for other owners.
func endedGrant(c *Client, key tokenstore.Key, why error) *grant {
	return &grant{client: c, key: key, over: why}
}

// lose takes an owner from the grant. The Client's mu is held.
func (g *grant) lose(o *Owner) {
	g.owners = slices.DeleteFunc(g.owners, func(other *Owner) bool { return other == o })
}

// token returns the access token: at once while it is fresh, else after a renewal
// that all callers share.
func (g *grant) token(ctx context.Context) (Token, error) {
	if c := g.fresh.Load(); c != nil && c.usableNow(g.client.auth.Identities.Thumbprint()) {
		return c.token, nil
	}
	f, err := g.renewal(ctx, fds.Secret{}, false)
	if err != nil {
		return Token{}, err
	}
	if err := f.wait(ctx); err != nil {
		return Token{}, err
	}
	return f.got.token, nil // even one of the shortest life: asking again would spend another rotation
}

// rejected reports whether a request that the API refused with a token is worth sending
// again: with another token, which it may get by a renewal, or with the same one, which
// was so young that it waited for it to grow older.
func (g *grant) rejected(ctx context.Context, token fds.Secret) (bool, error) {
	if c := g.fresh.Load(); c != nil {
		if !c.token.access.Equal(token) {
			return true, nil
		}
		age := time.Since(c.issued)
		for _, grown := range youngAges {
			if age >= 0 && age < grown {
				return true, sleep(ctx, grown-age)
			}
		}
		if c.renewed && age >= 0 && age < rejectedAgain {
			return false, nil // a newer one would fare no better
		}
	}
	for range 2 { // the first may be a renewal under way that knew nothing of the refusal
		f, err := g.renewal(ctx, token, false)
		if err != nil {
			return false, err
		}
		if err := f.wait(ctx); err != nil {
			return false, err
		}
		if !f.got.token.access.Equal(token) {
			return true, nil
		}
	}
	return false, nil
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// renewal joins the renewal under way or starts one, unless the last one failed
// a moment ago. The renewal does not end with the caller's context: what the
// server has rotated must be saved.
func (g *grant) renewal(ctx context.Context, rejected fds.Secret, ahead bool) (*flight, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case g.over != nil:
		return nil, g.over
	case g.flight != nil:
		return g.flight, nil
	case now.Before(g.notBefore) && g.lapsed != nil:
		return nil, g.lapsed
	case now.Before(g.notBefore) && g.failing != nil:
		return nil, g.failing
	}
	if !g.client.begin() {
		return nil, fmt.Errorf("fdsclient: %w", fds.ErrClientClosed)
	}
	g.client.startScheduler()
	f := &flight{epoch: g.epoch, done: make(chan struct{})}
	g.flight = f
	go func() {
		var work renewed
		// The store and the keys that sign may be the application's own.
		work, f.err = contain.Call("what a renewal calls", func() (renewed, error) { return g.renew(context.WithoutCancel(ctx), rejected, ahead) })
		f.got = work.credential
		tell := g.landed(f, work)
		g.client.end()
		tell() // a hook may close the Client, which waits for all work
		close(f.done)
	}()
	return f, nil
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("fdsclient: wait for a renewal: %w", context.Cause(ctx))
	}
}

// landed records how a renewal ended and plans the next. Where the owner was signed in or
// out meanwhile, what is known since then counts. What it returns tells the hooks.
func (g *grant) landed(f *flight, work renewed) (tell func()) {
	told := func() {
		for _, err := range f.troubles {
			g.client.storeUnavailable(err)
		}
	}
	g.mu.Lock()
	g.flight = nil
	if f.epoch != g.epoch {
		defer g.mu.Unlock()
		if f.got, f.err = g.fresh.Load(), nil; f.got == nil {
			f.err = errSignedOut
		}
		return told
	}
	c, err, now := f.got, f.err, time.Now()
	wasLapsed, back := g.lapsed != nil, false
	switch {
	case err == nil:
		if g.failures != nil {
			g.failures.Up()
		}
		g.healthy()
		g.fresh.Store(c)
		back = wasLapsed
	case errors.Is(err, fds.ErrSignInRequired):
		if work.relook == 0 {
			work.relook = spread(lapsedRelook)
		}
		g.lapsed, g.notBefore, g.relook = err, now.Add(lapsedRecheck), now.Add(work.relook)
		g.fresh.Store(nil)
	case errors.Is(err, fds.ErrNoOwner):
		g.over = errSignedOut
		g.fresh.Store(nil)
	default:
		if g.failing == nil {
			g.since = now
		}
		if g.failures == nil {
			g.failures = backoff.New(renewalBackoff)
		}
		g.failing, g.notBefore = err, now.Add(retryAfterOf(err)+g.failures.Next()) // many may have been told the same moment
	}
	since, next, relook, lapsed, over := g.since, g.notBefore, g.relook, g.lapsed != nil, g.over != nil
	g.mu.Unlock()
	parted := g.client.takenAway(g, work.ended)
	if work.stored != nil {
		g.client.leftElsewhere(g, work)
	}

	outcome := func() {}
	switch {
	case over:
		g.client.scheduler.remove(g)
		g.client.forgetGrant(g)
	case lapsed:
		g.client.scheduler.plan(g, relook)
		if !wasLapsed {
			outcome = func() { g.client.signInNeeded(g.client.ownersOf(g.key), err) }
		}
	case err != nil:
		g.client.scheduler.plan(g, next)
		outcome = func() { g.client.renewalFailing(g.key, since, err) }
	default:
		g.client.scheduler.plan(g, c.due)
		outcome = func() {
			if work.fromServer {
				g.client.renewed(g.key, c)
			}
			if back {
				g.client.arrived(g.client.ownersIn(g))
			}
		}
	}
	return func() {
		told()
		outcome()
		parted()
	}
}

// storeFailed notes a failure of the store for the hooks.
func (g *grant) storeFailed(err error) {
	g.mu.Lock()
	f := g.flight
	if f != nil {
		f.troubles = append(f.troubles, err)
	}
	g.mu.Unlock()
	if f == nil {
		g.client.storeUnavailable(err)
	}
}

// healthy forgets all trouble; mu is held.
func (g *grant) healthy() {
	g.failing, g.lapsed = nil, nil
	g.since, g.notBefore, g.relook = time.Time{}, time.Time{}, time.Time{}
}

// due renews ahead of expiry, or looks again at a grant that lapsed; the scheduler calls
// it and waits for it.
func (g *grant) due(ctx context.Context) {
	f, err := g.renewal(tokenstore.Unattended(ctx), fds.Secret{}, true)
	if err == nil {
		_ = f.wait(ctx) // landed has told the hooks and planned the next
		return
	}
	g.mu.Lock()
	next, over := g.notBefore, g.over != nil
	g.mu.Unlock()
	if !over {
		g.client.scheduler.plan(g, next)
	}
}

// forget stops all renewals of a grant that was signed out. The caller holds the
// store's lock of the grant.
func (g *grant) forget() {
	g.mu.Lock()
	g.over, g.unsaved = errSignedOut, nil
	g.epoch++
	g.fresh.Store(nil)
	g.mu.Unlock()
	g.client.scheduler.remove(g)
}

// adopt takes the tokens of a record that was just stored by a sign-in. The
// caller holds the store's lock of the grant.
func (g *grant) adopt(record tokenstore.Grant) {
	c, err := g.credential(record)
	if err != nil {
		return // made from a record of ours, just now
	}
	g.mu.Lock()
	g.healthy()
	g.unsaved, g.over = nil, nil
	g.epoch++
	g.fresh.Store(c)
	g.mu.Unlock()
	g.client.scheduler.plan(g, c.due)
}

// state says how the grant fares.
func (g *grant) state() grantState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return grantState{over: g.over, lapsed: g.lapsed, failing: g.failing, since: g.since}
}

// grantState is the trouble a grant is in, if any.
type grantState struct {
	over, lapsed, failing error
	since                 time.Time // of failing
}

// retryAfterOf returns how long the next attempt must wait after a failed one, or 0.
func retryAfterOf(err error) time.Duration {
	var later *laterError
	if errors.As(err, &later) {
		return later.RetryAfter()
	}
	return authserver.RetryAfter(err)
}
