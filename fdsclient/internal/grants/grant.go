package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// ErrSignedOut is why a grant is Gone that was signed out.
var ErrSignedOut = fmt.Errorf("fdsclient: %w: it was signed out", fds.ErrNoOwner)

// Grant is one stored grant as this process knows it: what is stored, locked and
// renewed. Its token is read without a lock.
type Grant struct {
	Key tokenstore.Key

	all     *Grants
	state   atomic.Pointer[state] // replaced by move alone
	planned planned

	mu       sync.Mutex       // of moves, and of what follows; never held over the network or the store
	failures *backoff.Backoff // nil until the first
	proof    *authserver.Prover
	proofKey fds.Secret // that proof was read from
}

// flight is a renewal under way, which any number of callers wait for.
type flight struct {
	done      chan struct{}
	got       *credential
	err       error
	overtaken bool    // by a sign-in or a sign-out; under the grant's mu
	troubles  []error // with the store, to be told once it is over; under the grant's mu
}

// pending is what the server issued and the store would not take: the refresh
// token it replaces is spent.
type pending struct {
	spent  fds.Secret
	record tokenstore.Grant
}

// move puts the state that change makes of the one of before in its place.
func (g *Grant) move(change func(state) state) {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := change(*g.state.Load())
	g.state.Store(&next)
}

// State returns how the grant fares.
func (g *Grant) State() State { return g.state.Load().State }

// Token returns the access token: at once while it is fresh, which takes no lock and no
// allocation, else after a renewal that all callers share.
func (g *Grant) Token(ctx context.Context) (*Token, error) {
	if c := g.state.Load().credential; c != nil && c.usableNow(g.all.Server.ClientCerts.Thumbprint()) {
		return c.token, nil
	}
	g.all.scheduler.rouse(g)
	f, err := g.renewal(ctx, fds.Secret{}, false)
	if err != nil {
		return nil, err
	}
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	return f.got.token, nil // even one of the shortest life: asking again would spend another rotation
}

// Shared reports whether the access token reads the data of several owners; known is false
// while there is none.
func (g *Grant) Shared() (shared, known bool) {
	c := g.state.Load().credential
	return c != nil && c.shared, c != nil
}

// Rejected reports whether a request that the API refused with a token is worth sending
// again: with another token, which it may get by a renewal, or with the same one, which
// was so young that it waited for it to grow older.
func (g *Grant) Rejected(ctx context.Context, token fds.Secret) (bool, error) {
	if c := g.state.Load().credential; c != nil {
		if !c.token.Access.Equal(token) {
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
	g.all.scheduler.rouse(g)
	for range 2 { // the first may be a renewal under way that knew nothing of the refusal
		f, err := g.renewal(ctx, token, false)
		if err != nil {
			return false, err
		}
		if err := f.wait(ctx); err != nil {
			return false, err
		}
		if !f.got.token.Access.Equal(token) {
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
func (g *Grant) renewal(ctx context.Context, rejected fds.Secret, ahead bool) (*flight, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := *g.state.Load()
	if s.flight != nil && s.Phase != Gone {
		return s.flight, nil
	}
	if err := s.mayRenew(time.Now()); err != nil {
		return nil, err
	}
	if !g.all.Begin() {
		return nil, fmt.Errorf("fdsclient: %w", fds.ErrClientClosed)
	}
	g.all.Start()
	f := &flight{done: make(chan struct{})}
	s.flight = f
	g.state.Store(&s)
	go func() {
		var work Landing
		// The store and the keys that sign may be the application's own.
		work, f.err = contain.Call("what a renewal calls", func() (Landing, error) { return g.renew(context.WithoutCancel(ctx), rejected, ahead) })
		f.got = work.credential
		tell := g.land(f, work)
		g.all.End()
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

// land moves the grant by how a renewal ended, and plans the next. What it returns tells of
// it.
func (g *Grant) land(f *flight, landing Landing) (tell func()) {
	overtaken := false
	g.move(func(s state) state {
		landing.Was = s.Phase
		if overtaken = f.overtaken; overtaken {
			if f.got, f.err = s.credential, nil; f.got == nil {
				f.err = ErrSignedOut
			}
		} else {
			s = g.after(s, f, landing.relook)
		}
		s.flight = nil
		landing.State = s.State
		return s
	})
	landed := func() {}
	if !overtaken {
		g.plan()
		landed = g.all.Landed(g, landing)
	}
	return func() {
		for _, err := range f.troubles {
			g.all.StoreFailed(err)
		}
		landed()
	}
}

// after returns the state after a renewal; mu is held.
func (g *Grant) after(s state, f *flight, relook time.Duration) state {
	now := time.Now()
	switch {
	case f.err == nil:
		if g.failures != nil {
			g.failures.Up()
		}
		return s.renewed(f.got)
	case errors.Is(f.err, fds.ErrSignInRequired):
		return s.refused(f.err, now.Add(lapsedRecheck), now.Add(cmp.Or(relook, spread(lapsedRelook))))
	case errors.Is(f.err, fds.ErrNoOwner):
		return s.ended(ErrSignedOut)
	}
	if g.failures == nil {
		g.failures = backoff.New(renewalBackoff)
	}
	return s.failed(f.err, now, now.Add(retryAfterOf(f.err)+g.failures.Next())) // many may have been told the same moment
}

// storeFailed notes a failure of the store, to be told when no renewal is under way.
func (g *Grant) storeFailed(err error) {
	g.mu.Lock()
	f := g.state.Load().flight
	if f != nil {
		f.troubles = append(f.troubles, err)
	}
	g.mu.Unlock()
	if f == nil {
		g.all.StoreFailed(err)
	}
}

// plan has the scheduler renew the grant, or look at it again, when that is due.
func (g *Grant) plan() {
	if at, ever := g.state.Load().due(); ever {
		g.all.scheduler.plan(g, at)
	} else {
		g.all.scheduler.remove(g)
	}
}

// due renews ahead of expiry, or looks again at a grant that lapsed; the scheduler calls
// it and waits for it.
func (g *Grant) due(ctx context.Context) {
	ahead := g.State().Phase != Unread // at first the stored token will do, if it can be used
	f, err := g.renewal(tokenstore.Unattended(ctx), fds.Secret{}, ahead)
	if err != nil {
		g.plan()
		return
	}
	_ = f.wait(ctx) // land has told of it and planned the next
}

// Look has the grant renewed ahead of its expiry from now on, unless it rests, and one that has
// lapsed looked at, also when it rests: it may be back. What is found is told as of any renewal. A
// fresh stored token costs none.
func (g *Grant) Look() {
	switch g.State().Phase {
	case Unread:
		g.all.Start()
		g.all.scheduler.plan(g, time.Now())
	case Lapsed:
		g.all.Start()
		g.all.scheduler.lookNow(g)
	}
}

// Use is Look for a grant that may rest, which it does no more.
func (g *Grant) Use() {
	if g.all.scheduler.rouse(g) {
		g.plan()
	}
	g.Look()
}

// Rest has the grant not renewed ahead of its expiry any more: nobody here makes use of it, until
// Use, or until somebody asks for its token.
func (g *Grant) Rest() { g.all.scheduler.rest(g) }

// RenewSoon renews the grant within a minute, if it has a token: the certificate that this
// is bound to was replaced.
func (g *Grant) RenewSoon() {
	if g.state.Load().credential != nil {
		g.all.scheduler.plan(g, time.Now().Add(rand.N(time.Minute)))
	}
}

// Forget ends all renewals of a grant that was signed out. The caller holds the store's
// lock of the grant.
func (g *Grant) Forget() {
	g.overtake(func(s state) state { return s.ended(ErrSignedOut) })
}

// Adopt takes the tokens of a record that was just stored by a sign-in. The caller holds
// the store's lock of the grant.
func (g *Grant) Adopt(record tokenstore.Grant) {
	c, err := g.credential(record)
	if err != nil {
		return // made from a record of ours, just now
	}
	g.overtake(func(s state) state { return s.signedIn(c) })
}

// overtake is a move after which a renewal under way lands without one.
func (g *Grant) overtake(change func(state) state) {
	g.move(func(s state) state {
		if s.flight != nil {
			s.flight.overtaken = true
		}
		return change(s)
	})
	g.plan()
}

// Honoured returns why the grant is known to have lapsed, at which a process that has just
// begun has not looked yet; nil: it is not known.
func (g *Grant) Honoured(ctx context.Context) error {
	record := tokenstore.Grant{}
	switch g.State().Phase {
	case Lapsed, Fresh, Failing: // which need no look
	default:
		var err error
		if record, err = g.all.Store.Load(ctx, g.Key); err != nil {
			return nil // told where the grant is used
		}
	}
	return g.HonouredBy(record)
}

// HonouredBy is Honoured for whoever has loaded the record.
func (g *Grant) HonouredBy(record tokenstore.Grant) error {
	switch s := g.State(); s.Phase {
	case Lapsed:
		return s.Err
	case Fresh, Failing:
		return nil
	}
	if !record.Renewal.Lapsed {
		return nil
	}
	return g.lapsedError(record.Renewal)
}

// retryAfterOf returns how long the next attempt must wait after a failed one, or 0.
func retryAfterOf(err error) time.Duration {
	var later *laterError
	if errors.As(err, &later) {
		return later.RetryAfter()
	}
	return authserver.RetryAfter(err)
}
