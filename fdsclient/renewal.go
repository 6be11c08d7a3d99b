package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const (
	saveAttempts = 3
	saveTimeout  = 30 * time.Second
	// signInTimeout bounds how long a sign-in waits for others to be stored.
	signInTimeout = 2 * time.Minute
)

// renew gives a fresh credential of the grant: the stored one when it will do,
// else a new one from the server. Rejected is a token that the API refused;
// ahead means that the stored one will not do once its renewal is due. Only one
// process at a time renews a grant: refresh tokens rotate, and a server takes
// the second use of one for theft.
func (g *grant) renew(ctx context.Context, rejected Secret, ahead bool) (c *credential, fromServer bool, err error) {
	record, err := g.load(ctx)
	if err != nil {
		return nil, false, err
	}
	// A stored token may be bound to the application's certificate, at which a new
	// process has not looked yet. Where it cannot be had, asking the server says so.
	_ = g.client.auth.Identities.Ready(ctx)
	if c := g.stillGood(record, rejected, ahead); c != nil {
		return c, false, nil
	}
	lease, err := g.client.store.Lock(ctx, g.key)
	if err != nil {
		return nil, false, fmt.Errorf("fdsclient: renewal: wait for the grant's lock: %w", err)
	}
	defer lease.Release()

	// Another process may have renewed it while we waited.
	if record, err = g.load(ctx); err != nil {
		return nil, false, err
	}
	if record, err = g.saveUnsaved(ctx, record); err != nil {
		return nil, false, err
	}
	if c := g.stillGood(record, rejected, ahead); c != nil {
		return c, false, nil
	}
	if err := g.hopeless(record); err != nil {
		return nil, false, err
	}
	// A request that spends a token gets all of its own time, however long the
	// wait for the lock was.
	a, err := g.ask(context.WithoutCancel(ctx), record)
	if errors.Is(err, ErrSignInRequired) {
		// The last doubt: someone who does not share our lock has renewed it.
		if now, loadErr := g.load(ctx); loadErr == nil && !now.RefreshToken.Equal(record.RefreshToken) {
			if c := g.stillGood(now, rejected, ahead); c != nil {
				return c, false, nil
			}
		}
		g.mu.Lock()
		g.dead = record.RefreshToken
		g.mu.Unlock()
	}
	if err != nil {
		return nil, false, err
	}
	c, err = g.keep(ctx, record, a)
	return c, err == nil, err
}

// ask gets new tokens from the server.
func (g *grant) ask(ctx context.Context, record tokenstore.Grant) (authserver.Answer, error) {
	proof, err := g.prover(record)
	if err != nil {
		return authserver.Answer{}, err
	}
	if record.RefreshToken.IsZero() {
		return g.client.auth.ClientCredentials(ctx, proof)
	}
	return g.client.auth.Refresh(ctx, record.RefreshToken, proof)
}

// hopeless says why the server need not be asked.
func (g *grant) hopeless(record tokenstore.Grant) error {
	if record.RefreshToken.IsZero() && record.GrantType == grantClientCredentials {
		return nil
	}
	if record.RefreshToken.IsZero() {
		return fmt.Errorf("fdsclient: renewal: %w: the provider issued no refresh token", ErrSignInRequired)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lapsed != nil && record.RefreshToken.Equal(g.dead) {
		return g.lapsed
	}
	return nil
}

func (g *grant) load(ctx context.Context) (tokenstore.Grant, error) {
	record, err := g.client.store.Load(ctx, g.key)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return record, fmt.Errorf("fdsclient: %w: its grant is no longer stored; sign in", ErrNoOwner)
	case errors.Is(err, tokenstore.ErrCorrupt):
		return record, fmt.Errorf("fdsclient: %w: %w", ErrSignInRequired, err)
	case err != nil:
		g.client.storeUnavailable(err)
		return record, fmt.Errorf("fdsclient: renewal: %w", err)
	}
	return record, nil
}

// stillGood gives the stored token when it is fresh and not the refused one. A
// renewal ahead of expiry takes it only before it is due itself.
func (g *grant) stillGood(record tokenstore.Grant, rejected Secret, ahead bool) *credential {
	if record.AccessToken.IsZero() || (!rejected.IsZero() && record.AccessToken.Equal(rejected)) {
		return nil
	}
	c, err := g.credential(record)
	now := time.Now()
	if err != nil || !c.usableNow(g.client.auth.Identities.Thumbprint()) || (ahead && !now.Before(c.due)) {
		return nil
	}
	if known := g.fresh.Load(); known != nil && known.token.access.Equal(c.token.access) {
		c.due = known.due // drawn once
		if ahead && !now.Before(c.due) {
			return nil
		}
	} else if earliest := now.Add(settle); c.due.Before(earliest) && earliest.Before(c.usable) {
		c.due = earliest
	}
	return c
}

// keep saves what the server issued and only then gives it out.
func (g *grant) keep(ctx context.Context, record tokenstore.Grant, a authserver.Answer) (*credential, error) {
	spent := record.RefreshToken
	record.Renewed = time.Now().Round(0)
	record.AccessToken, record.TokenType, record.AccessExpiry = a.Access, a.Kind, a.Expiry
	record.CertificateThumbprint = a.Thumbprint
	if !a.Refresh.IsZero() { // else the old one goes on (RFC 6749 section 6)
		record.RefreshToken = a.Refresh
	}
	if !a.RefreshExpiry.IsZero() || !spent.Equal(record.RefreshToken) {
		record.RefreshExpiry = a.RefreshExpiry
	}
	if a.Scopes != nil {
		record.Scopes = a.Scopes
	}
	refused := a.Unusable
	if refused == nil {
		refused = g.sameOwners(record, a)
	}
	if refused != nil {
		// The refresh token was rotated all the same; the access token is no good
		// or someone else's, and is not kept.
		record.AccessToken, record.AccessExpiry = Secret{}, time.Time{}
	}
	if err := g.save(ctx, record, spent); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return g.credential(record)
}

// sameOwners refuses a renewed token that names other subscription IDs: an
// owner's ID never changes. A token that names none is taken.
func (g *grant) sameOwners(record tokenstore.Grant, a authserver.Answer) error {
	ids, found, err := g.client.auth.Subscriptions(a)
	if err != nil {
		return fmt.Errorf("fdsclient: renewal: %w: %w", ErrSubscriptionChanged, err)
	}
	if !found {
		return nil
	}
	named := make(map[fds.SubscriptionID]bool)
	for _, spelling := range ids {
		id, err := fds.ParseSubscriptionID(spelling)
		if err != nil {
			return err // parsed before
		}
		named[id] = true
	}
	for _, spelling := range record.Subscriptions {
		id, err := fds.ParseSubscriptionID(spelling)
		if err != nil || !named[id] {
			return fmt.Errorf("fdsclient: renewal: %w: subscription %s is missing in it; ask the provider", ErrSubscriptionChanged, authserver.Describe(spelling))
		}
	}
	return nil
}

// save stores a rotated grant on a time of its own: no caller may cancel it. What
// the store will not take is kept in memory and saved before anything else is
// tried, since the stored refresh token is spent.
func (g *grant) save(ctx context.Context, record tokenstore.Grant, spent Secret) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	var err error
	for attempt := range saveAttempts {
		if attempt > 0 {
			select {
			case <-time.After(time.Duration(attempt) * 200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		var revision string
		if revision, err = g.client.store.Save(ctx, record); err == nil {
			g.mu.Lock()
			g.unsaved = nil
			g.mu.Unlock()
			return nil
		}
		if revision != "" { // a part of it is saved
			record.Revision = revision
		}
	}
	g.mu.Lock()
	g.unsaved = &unsaved{spent: spent, record: record}
	g.mu.Unlock()
	g.client.storeUnavailable(err)
	return fmt.Errorf("fdsclient: renewal: the renewed grant is not saved yet, and kept in memory: %w", err)
}

// saveUnsaved saves what an earlier renewal could not, unless the store has a
// newer grant by now.
func (g *grant) saveUnsaved(ctx context.Context, stored tokenstore.Grant) (tokenstore.Grant, error) {
	record, newer := g.newest(stored)
	if !newer {
		return stored, nil
	}
	if err := g.save(ctx, record, stored.RefreshToken); err != nil {
		return stored, err
	}
	return record, nil
}

// newest gives the stored grant with the tokens that could not be saved yet, and
// says whether there are any. Who its owners are the store knows better: one may
// have signed out meanwhile.
func (g *grant) newest(stored tokenstore.Grant) (record tokenstore.Grant, newer bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unsaved == nil || !stored.RefreshToken.Equal(g.unsaved.spent) {
		g.unsaved = nil
		return stored, false
	}
	record = g.unsaved.record
	record.Subscriptions, record.Revision = stored.Subscriptions, stored.Revision
	return record, true
}

// saveAtLast tries once more to save what no renewal will come to save: the
// Client is closing.
func (g *grant) saveAtLast() error {
	g.mu.Lock()
	pending := g.unsaved != nil
	g.mu.Unlock()
	if !pending {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	lease, err := g.client.store.Lock(ctx, g.key)
	if err != nil {
		return fmt.Errorf("fdsclient: close: a renewed grant is lost: %w", err)
	}
	defer lease.Release()
	stored, err := g.client.store.Load(ctx, g.key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = g.saveUnsaved(ctx, stored)
	}
	if err != nil {
		return fmt.Errorf("fdsclient: close: a renewed grant is lost and its owners may have to sign in again: %w", err)
	}
	return nil
}
