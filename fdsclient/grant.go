package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const (
	maxLead       = 5 * time.Minute  // an access token is renewed at most this long before it expires,
	leadShare     = 5                // or a fifth of its lifetime
	maxMargin     = 10 * time.Second // and not handed out any more this shortly before,
	marginShare   = 10               // or a tenth
	settle        = 5 * time.Second  // after a restart, before the first renewal ahead of expiry: a one-shot command is done by then
	rejectedAgain = 10 * time.Second // a token that is refused this soon after its renewal is not renewed again
	lapsedRecheck = 5 * time.Second  // how often a lapsed grant is looked up for a sign-in made elsewhere
	flightTimeout = 90 * time.Second // a renewal with its waits for the store's lock, the server and the store
)

var renewalBackoff = backoff.Policy{Initial: time.Second, Max: 5 * time.Minute, StableAfter: time.Minute}

var errSignedOut = fmt.Errorf("fdsclient: %w: it was signed out", ErrNoOwner)

// credential is an access token with the times that matter. It is immutable but
// for sure.
type credential struct {
	token   Token
	usable  time.Time // handed out until then, by the wall clock
	due     time.Time // renewed from then on
	renewed time.Time
	bound   string       // thumbprint of the client certificate that the token goes with
	sure    atomic.Int64 // since epoch, 0 before the first question; until then the wall clock need not be asked
}

// epoch is where the monotonic clock of this process is counted from.
var epoch = time.Now()

// wallClockCheck is how long the monotonic clock, which costs half as much, stands
// in for the wall clock. It stands still while a laptop sleeps, so not for long.
const wallClockCheck = time.Second

// usableNow says that the token will do. Its certificate counts too: the provider
// would refuse a token that another one was bound to.
func (c *credential) usableNow(thumbprint string) bool {
	if c.bound != thumbprint {
		return false
	}
	now := time.Since(epoch)
	if sure := time.Duration(c.sure.Load()); sure != 0 && now < sure {
		return true
	}
	left := time.Until(c.usable)
	if left <= 0 {
		return false
	}
	c.sure.Store(int64(now + min(left, wallClockCheck)))
	return true
}

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
	lapsed    error            // matches ErrSignInRequired; nil while the grant lives
	dead      Secret           // the refresh token that the server refused for good
	unsaved   *unsaved
	gone      bool // signed out
	epoch     int  // counts sign-ins and sign-outs
	proof     *authserver.Prover
	proofKey  Secret // that proof was read from
}

// flight is a renewal under way, which any number of callers wait for.
type flight struct {
	epoch int
	done  chan struct{}
	got   *credential
	err   error
}

// unsaved is what the server issued and the store would not take: the refresh
// token it replaces is spent.
type unsaved struct {
	spent  Secret
	record tokenstore.Grant
}

func newGrant(c *Client, key tokenstore.Key) *grant {
	return &grant{client: c, key: key}
}

// lose takes an owner from the grant. The Client's mu is held.
func (g *grant) lose(o *Owner) {
	g.owners = slices.DeleteFunc(g.owners, func(other *Owner) bool { return other == o })
}

// token gives the access token: at once while it is fresh, else after a renewal
// that all callers share.
func (g *grant) token(ctx context.Context) (Token, error) {
	if c := g.fresh.Load(); c != nil && c.usableNow(g.client.auth.Identities.Thumbprint()) {
		return c.token, nil
	}
	f, err := g.renewal(ctx, Secret{}, false)
	if err != nil {
		return Token{}, err
	}
	if err := f.wait(ctx); err != nil {
		return Token{}, err
	}
	return f.got.token, nil // even one of the shortest life: asking again would spend another rotation
}

// rejected renews after the API refused a token. It says whether another token
// is at hand than the one that was refused.
func (g *grant) rejected(ctx context.Context, token Secret) (bool, error) {
	if c := g.fresh.Load(); c != nil {
		if !c.token.access.Equal(token) {
			return true, nil
		}
		if time.Since(c.renewed) < rejectedAgain {
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

// renewal joins the renewal under way or starts one, unless the last one failed
// a moment ago. The renewal does not end with the caller's context: what the
// server has rotated must be saved.
func (g *grant) renewal(ctx context.Context, rejected Secret, ahead bool) (*flight, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case g.gone:
		return nil, errSignedOut
	case g.flight != nil:
		return g.flight, nil
	case now.Before(g.notBefore) && g.lapsed != nil:
		return nil, g.lapsed
	case now.Before(g.notBefore) && g.failing != nil:
		return nil, g.failing
	}
	if !g.client.begin() {
		return nil, fmt.Errorf("fdsclient: %w", ErrClosed)
	}
	g.client.startScheduler()
	f := &flight{epoch: g.epoch, done: make(chan struct{})}
	g.flight = f
	go func() {
		defer g.client.end()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
		defer cancel()
		var fromServer bool
		f.got, fromServer, f.err = g.renew(ctx, rejected, ahead)
		g.landed(f, fromServer)
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

// landed records how a renewal ended, plans the next, and tells the hooks. Where
// the owner was signed in or out meanwhile, what is known since then counts.
func (g *grant) landed(f *flight, fromServer bool) {
	g.mu.Lock()
	g.flight = nil
	if f.epoch != g.epoch {
		defer g.mu.Unlock()
		if f.got, f.err = g.fresh.Load(), nil; f.got == nil {
			f.err = errSignedOut
		}
		return
	}
	c, err, now := f.got, f.err, time.Now()
	wasLapsed := g.lapsed != nil
	switch {
	case err == nil:
		if g.failures != nil {
			g.failures.Up()
		}
		g.healthy()
		g.fresh.Store(c)
	case errors.Is(err, ErrSignInRequired):
		g.lapsed, g.notBefore = err, now.Add(lapsedRecheck)
		g.fresh.Store(nil)
	case errors.Is(err, ErrNoOwner):
		g.gone = true
		g.fresh.Store(nil)
	default:
		if g.failing == nil {
			g.since = now
		}
		if g.failures == nil {
			g.failures = backoff.New(renewalBackoff)
		}
		g.failing, g.notBefore = err, now.Add(authserver.RetryAfter(err)+g.failures.Next()) // many may have been told the same moment
	}
	since, next, lapsed, gone := g.since, g.notBefore, g.lapsed != nil, g.gone
	g.mu.Unlock()

	switch {
	case gone:
		g.client.scheduler.remove(g)
		g.client.forgetGrant(g)
	case lapsed:
		g.client.scheduler.remove(g)
		if !wasLapsed {
			g.client.signInNeeded(g.key, err)
		}
	case err != nil:
		g.client.scheduler.plan(g, next)
		g.client.renewalFailing(g.key, since, err)
	default:
		g.client.scheduler.plan(g, c.due)
		if fromServer {
			g.client.renewed(g.key, c)
		}
	}
}

// healthy forgets all trouble; mu is held.
func (g *grant) healthy() {
	g.failing, g.lapsed, g.dead = nil, nil, Secret{}
	g.since, g.notBefore = time.Time{}, time.Time{}
}

// due renews ahead of expiry; the scheduler calls it and waits for it.
func (g *grant) due(ctx context.Context) {
	f, err := g.renewal(ctx, Secret{}, true)
	if err == nil {
		_ = f.wait(ctx) // landed has told the hooks and planned the next
		return
	}
	g.mu.Lock()
	next, dead := g.notBefore, g.gone || g.lapsed != nil
	g.mu.Unlock()
	if !dead {
		g.client.scheduler.plan(g, next)
	}
}

// forget stops all renewals of a grant that was signed out. The caller holds the
// store's lock of the grant.
func (g *grant) forget() {
	g.mu.Lock()
	g.gone, g.unsaved = true, nil
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
	g.unsaved, g.gone = nil, false
	g.epoch++
	g.fresh.Store(c)
	g.mu.Unlock()
	g.client.scheduler.plan(g, c.due)
}

// state says how the grant fares.
func (g *grant) state() grantState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return grantState{lapsed: g.lapsed, failing: g.failing, since: g.since}
}

// grantState is the trouble a grant is in, if any.
type grantState struct {
	lapsed, failing error
	since           time.Time // of failing
}

// credential computes the times of a stored token. It is renewed ahead of its
// expiry by a fifth of its lifetime, at most 5 minutes, earlier by up to half of
// that again so that grants of one moment spread; and so that an idle refresh
// token does not lapse, ahead of that one's expiry too, or after the configured
// interval where the provider does not tell it.
func (g *grant) credential(r tokenstore.Grant) (*credential, error) {
	proof, err := g.prover(r)
	if err != nil {
		return nil, err
	}
	lifetime := r.AccessExpiry.Sub(r.Renewed)
	if lifetime <= 0 {
		lifetime = time.Minute
	}
	c := &credential{
		token:  Token{&issued{access: r.AccessToken, kind: r.TokenType, expiry: r.AccessExpiry}},
		bound:  r.CertificateThumbprint,
		usable: r.AccessExpiry.Add(-min(maxMargin, lifetime/marginShare)),
		due:    r.AccessExpiry.Add(-spread(min(maxLead, lifetime/leadShare))),
	}
	if !r.Renewed.Equal(r.Created) { // a token of the sign-in itself is renewed at its first refusal
		c.renewed = r.Renewed
	}
	if r.TokenType == authserver.KindDPoP {
		c.token.proof = proof
	}
	if r.RefreshToken.IsZero() {
		return c, nil
	}
	lapses := r.RefreshExpiry
	if lapses.IsZero() {
		lapses = r.Renewed.Add(g.client.cfg.Provider.RefreshInterval)
	}
	if due := lapses.Add(-spread(min(24*time.Hour, lapses.Sub(r.Renewed)/leadShare))); due.Before(c.due) {
		c.due = due
	}
	return c, nil
}

// prover gives the prover of the grant's key, the same one as long as the key is;
// nil when it has none.
func (g *grant) prover(r tokenstore.Grant) (*authserver.Prover, error) {
	if r.ProofKey.IsZero() {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.proof == nil || !g.proofKey.Equal(r.ProofKey) {
		proof, err := g.client.auth.ReadProver(r.ProofKey)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSignInRequired, err)
		}
		g.proof, g.proofKey = proof, r.ProofKey
	}
	return g.proof, nil
}

// spread gives between one and one and a half times d.
func spread(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d/2)+1))
}
