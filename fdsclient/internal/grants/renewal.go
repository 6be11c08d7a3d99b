package grants

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Each part of a renewal has a bound of its own, so that the wait for one takes nothing
// from the next. The request's own is authserver's.
const (
	lockTimeout = 4 * time.Minute // another process may wait for its answer meanwhile
	loadTimeout = 30 * time.Second
	// SaveTimeout also bounds what is written before the server is asked.
	SaveTimeout = 30 * time.Second

	saveAttempts = 3
)

// renew returns a fresh credential of the grant: the stored one when it will do,
// else a new one from the server. Rejected is a token that the API refused;
// ahead means that the stored one will not do once its renewal is due. Only one
// process at a time renews a grant: refresh tokens rotate, and a server takes
// the second use of one for theft. Close ends it until the server is about to be asked.
func (g *Grant) renew(ctx context.Context, rejected fds.Secret, ahead bool) (work Landing, err error) {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(g.all.closing, func() { cancel(fmt.Errorf("fdsclient: %w", fds.ErrClientClosed)) })()
	record, err := g.load(waiting)
	if err != nil {
		return Landing{}, err
	}
	defer func() { work.Stored, work.Others = record.Subscriptions, g.all.Others(record) }()
	// A stored token may be bound to the application's certificate, at which a new
	// process has not looked yet. Where it cannot be had, asking the server says so.
	_ = g.all.Server.ClientCerts.Ready(waiting)
	if c := g.stillGood(record, rejected, ahead); c != nil {
		return Landing{credential: c}, nil
	}
	lease, err := g.lock(waiting)
	if err != nil {
		return Landing{}, err
	}
	defer lease.Release()

	// Another process may have renewed it while we waited.
	if record, err = g.load(waiting); err != nil {
		return Landing{}, err
	}
	if record, err = g.saveUnsaved(ctx, record); err != nil {
		return Landing{}, err
	}
	if c := g.stillGood(record, rejected, ahead); c != nil {
		return Landing{credential: c}, nil
	}
	if relook, err := g.hopeless(record); err != nil {
		return Landing{relook: relook}, err
	}
	// What can be waited for without having asked for tokens is waited for before the
	// record says that they were.
	if _, err := g.all.Server.Metadata(waiting); err != nil {
		return Landing{}, err
	}
	if waiting.Err() != nil {
		return Landing{}, context.Cause(waiting)
	}
	return g.spend(ctx, lease, record, rejected, ahead)
}

func (g *Grant) lock(ctx context.Context) (tokenstore.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	lease, err := g.all.Store.Lock(ctx, g.Key)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: renewal: wait for the grant's lock: %w", err)
	}
	return lease, nil
}

func (g *Grant) load(ctx context.Context) (tokenstore.Grant, error) {
	loading, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	record, err := g.all.Store.Load(loading, g.Key)
	switch {
	case errors.Is(err, fds.ErrNoGrant):
		return record, fmt.Errorf("fdsclient: %w: its grant is no longer stored; sign in", fds.ErrNoOwner)
	case errors.Is(err, fds.ErrCorrupt):
		return record, fmt.Errorf("fdsclient: %w: %w", fds.ErrSignInRequired, err)
	case ctx.Err() != nil:
		return record, fmt.Errorf("fdsclient: renewal: %w", err)
	case err != nil:
		g.storeFailed(err)
		return record, fmt.Errorf("fdsclient: renewal: %w", err)
	}
	return record, nil
}

// stillGood returns the stored token when it is fresh and not the refused one, nor of a grant
// that has lapsed. A renewal ahead of expiry takes it only before it is due itself.
func (g *Grant) stillGood(record tokenstore.Grant, rejected fds.Secret, ahead bool) *credential {
	if record.AccessToken.IsZero() || record.Renewal.Lapsed || (!rejected.IsZero() && record.AccessToken.Equal(rejected)) {
		return nil
	}
	c, err := g.credential(record)
	now := time.Now()
	if err != nil || !c.usableNow(g.all.Server.ClientCerts.Thumbprint()) || (ahead && !now.Before(c.due)) {
		return nil
	}
	if known := g.state.Load().credential; known != nil && known.token.Access.Equal(c.token.Access) {
		c.due = known.due // drawn once
		if ahead && !now.Before(c.due) {
			return nil
		}
	} else if earliest := now.Add(settle); c.due.Before(earliest) && earliest.Before(c.usable) {
		c.due = earliest
	}
	return c
}

// SecondLook is how long after the first refusal a server is asked again: "sign in again"
// is told when it refuses twice. Some refuse a good token while another request with it is
// at work. Tests shorten it.
var SecondLook = 30 * time.Second

// The rules by which a server is asked again with a refresh token that may be spent, or
// that it refused for good.
const (
	// lostRetry is how long after an answer was lost the request is repeated. Servers
	// give the same answer again for about half a minute.
	lostRetry = 2 * time.Second
	// afterLost is how long it rests once that was in vain too.
	afterLost = 10 * time.Second
	// lapsedRelook is how rarely a server is asked about a grant that lapsed,
	lapsedRelook = 24 * time.Hour
	// and relookRest the time between two such questions, whatever the grants.
	relookRest = 10 * time.Second
)

// hopeless says why the server is not asked now, and when it may be again if the grant
// has lapsed.
func (g *Grant) hopeless(record tokenstore.Grant) (relook time.Duration, err error) {
	if record.RefreshToken.IsZero() && record.GrantType == ClientCredentials {
		return 0, nil
	}
	if record.RefreshToken.IsZero() {
		return lapsedRelook, fmt.Errorf("fdsclient: renewal: %w: the provider issued no refresh token", fds.ErrSignInRequired)
	}
	switch r := record.Renewal; {
	case r.Lapsed && within(r.Looked, lapsedRelook):
		return time.Until(r.Looked.Add(spread(lapsedRelook))), g.lapsedError(r)
	case r.Lapsed && !g.all.relooks.Allow():
		return rand.N(time.Hour), g.lapsedError(r)
	case r.Lapsed:
		return 0, nil
	case !r.Refused.IsZero() && within(r.Refused, SecondLook):
		return 0, refusedOnce(nil, r)
	}
	return 0, nil
}

// within reports whether less than d has passed since then. A time that lies ahead, as
// after the clock was set, is not.
func within(then time.Time, d time.Duration) bool {
	passed := time.Since(then)
	return passed >= 0 && passed < d
}

// lapsedError says again what made the grant lapse, perhaps in another process.
func (g *Grant) lapsedError(r tokenstore.Renewal) error {
	if s := g.State(); s.Phase == Lapsed {
		return s.Err
	}
	return fmt.Errorf("fdsclient: renewal: %w: the provider refused the grant at %s, and when it was last asked, at %s", fds.ErrSignInRequired, r.Refused.UTC().Format(time.RFC3339), r.Looked.UTC().Format(time.RFC3339))
}

// laterError is a failure after which the server is asked no sooner than it says. What
// the server said does not make it match fds.ErrSignInRequired.
type laterError struct {
	err  error
	when time.Time
}

// refusedOnce is the first of the two refusals that it takes to tell "sign in again". Said
// is the server's answer, if it was just given.
func refusedOnce(said error, r tokenstore.Renewal) error {
	text := "the provider refused the grant at " + r.Refused.UTC().Format(time.RFC3339)
	if said != nil {
		text = said.Error()
	}
	return &laterError{
		err:  &unconfirmed{text: text, said: said},
		when: r.Refused.Add(SecondLook),
	}
}

// Error adds when the server is asked again.
func (e *laterError) Error() string {
	return fmt.Sprintf("%v; it is asked again after %s", e.err, e.when.UTC().Format(time.RFC3339))
}

func (e *laterError) Unwrap() error { return e.err }

// RetryAfter returns how long it is until then.
func (e *laterError) RetryAfter() time.Duration { return max(0, time.Until(e.when)) }

// unconfirmed is a failure that may pass, whatever was said: it matches fds.ErrUnavailable, and
// returns what the server said to errors.As alone.
type unconfirmed struct {
	text string
	said error
}

func (e *unconfirmed) Error() string        { return e.text }
func (e *unconfirmed) Is(target error) bool { return target == fds.ErrUnavailable }
func (e *unconfirmed) As(target any) bool   { return e.said != nil && errors.As(e.said, target) }

// ask gets new tokens from the server. With an error too there may be a refresh token.
func (g *Grant) ask(ctx context.Context, record tokenstore.Grant, refreshToken fds.Secret) (authserver.Answer, error) {
	proof, err := g.prover(record)
	if err != nil {
		return authserver.Answer{}, err
	}
	if refreshToken.IsZero() {
		return g.all.Server.ClientCredentials(ctx, proof)
	}
	return g.all.Server.Refresh(ctx, refreshToken, proof)
}
