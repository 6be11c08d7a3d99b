package grants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// oddClaimRest is how long a grant rests whose renewed tokens name their owner in no way
// that can be read.
const oddClaimRest = 10 * time.Minute

// keep saves what the server issued and only then hands it out. Failed is what is wrong
// with the answer besides; the refresh token in it is saved all the same.
func (g *Grant) keep(ctx context.Context, record tokenstore.Grant, a authserver.Answer, failed error) (Landing, error) {
	spent := record.RefreshToken
	record.Renewed = time.Now().Round(0)
	record.AccessToken, record.TokenType, record.AccessExpiry = a.Access, a.Kind, a.Expiry
	record.CertificateThumbprint = a.Thumbprint
	record.Renewal = tokenstore.Renewal{}
	if !a.Refresh.IsZero() && !a.Refresh.Equal(spent) { // else the old one goes on (RFC 6749 section 6)
		record.RefreshToken = a.Refresh
		record.Renewal.Former = spent
	}
	if !a.RefreshExpiry.IsZero() || !spent.Equal(record.RefreshToken) {
		record.RefreshExpiry = a.RefreshExpiry
	}
	if a.Scopes != nil {
		record.Scopes = a.Scopes
	}
	if failed == nil {
		failed = a.Unusable
	} else if errors.Is(failed, fds.ErrSignInRequired) { // in an answer that renewed the grant all the same
		failed = &unconfirmed{text: failed.Error(), said: failed}
	}
	var gone []fds.SubscriptionID
	if failed == nil {
		ids, found, err := g.all.Server.Renewed(a)
		if err == nil && !found && g.all.Server.Introspects(ctx) {
			// Before anyone is asked again, what cannot be had again is saved.
			safe := record
			safe.AccessToken, safe.AccessExpiry = fds.Secret{}, time.Time{}
			saved, unsaved := g.save(ctx, safe, spent)
			if unsaved != nil {
				return Landing{}, unsaved
			}
			record.Revision, spent = saved.Revision, saved.RefreshToken
			ids, found, err = g.all.Server.Introspected(ctx, a)
		}
		switch {
		case err != nil:
			failed = &laterError{ // each attempt spends a rotation
				err:  &unconfirmed{text: fmt.Sprintf("fdsclient: renewal: it cannot be told whose the renewed token is; ask the provider: %v", err), said: err},
				when: record.Renewed.Add(oddClaimRest),
			}
		case found:
			record.Subscriptions, gone, failed = stillFor(record.Subscriptions, IDs(ids))
			if failed == nil {
				record.Others = ids
				record.Others = g.all.Others(record)
			}
		}
	}
	if failed != nil {
		// The refresh token was rotated all the same; the access token is no good
		// or someone else's, and is not kept.
		record.AccessToken, record.AccessExpiry = fds.Secret{}, time.Time{}
	}
	if errors.Is(failed, fds.ErrSubscriptionChanged) { // nothing that time mends
		record.Renewal.Refused, record.Renewal.Looked, record.Renewal.Lapsed = record.Renewed, record.Renewed, true
	}
	if _, err := g.save(ctx, record, spent); err != nil {
		return Landing{Ended: gone}, err
	}
	if failed != nil {
		return Landing{relook: spread(lapsedRelook)}, failed
	}
	c, err := g.credential(record)
	return Landing{credential: c, Expiry: record.AccessExpiry, Ended: gone}, err
}

// save stores a rotated grant on a time of its own: no caller may cancel it. What
// the store will not take is kept in memory and saved before anything else is
// tried, since the stored refresh token is spent.
func (g *Grant) save(ctx context.Context, record tokenstore.Grant, spent fds.Secret) (tokenstore.Grant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), SaveTimeout)
	defer cancel()
	var err error
	for attempt := range saveAttempts {
		if attempt > 0 {
			_ = sleep(ctx, time.Duration(attempt)*200*time.Millisecond)
		}
		saved := record
		saved.Revision, err = g.all.Store.Save(ctx, record)
		if errors.Is(err, fds.ErrConflict) {
			saved, err = g.rebase(ctx, record, spent)
		}
		if errors.Is(err, fds.ErrPartlySaved) { // what cannot be had again is safe
			g.storeFailed(err)
			err = nil
		}
		if err == nil {
			g.unsaved(nil)
			return saved, nil
		}
	}
	g.unsaved(&pending{spent: spent, record: record})
	g.storeFailed(err)
	return record, fmt.Errorf("fdsclient: renewal: the renewed grant is not saved yet, and kept in memory: %w", err)
}

// rebase saves a record upon one that was stored by someone who does not hold the grant's
// lock. A sign-in made meanwhile stays; who may have left the grant stays away.
func (g *Grant) rebase(ctx context.Context, record tokenstore.Grant, spent fds.Secret) (tokenstore.Grant, error) {
	stored, err := g.all.Store.Load(ctx, g.Key)
	switch {
	case err != nil:
		return record, err
	case !stored.Created.Equal(record.Created) && !stored.RefreshToken.Equal(spent):
		return record, nil // nothing to save any more
	}
	record.Revision = stored.Revision
	left := IDs(record.Subscriptions)
	for id := range IDs(stored.Subscriptions) {
		delete(left, id)
	}
	record = Without(record, left)
	revision, err := g.all.Store.Save(ctx, record)
	record.Revision = revision
	return record, err
}

// saveUnsaved saves what an earlier renewal could not, unless the store has a
// newer grant by now.
func (g *Grant) saveUnsaved(ctx context.Context, stored tokenstore.Grant) (tokenstore.Grant, error) {
	record, newer := g.Newest(stored)
	if !newer {
		return stored, nil
	}
	saved, err := g.save(ctx, record, stored.RefreshToken)
	if err != nil {
		return stored, err
	}
	return saved, nil
}

// Newest returns the stored grant with the tokens that could not be saved yet, and
// reports whether there are any. Who its owners are the store knows better: one may
// have signed out meanwhile.
func (g *Grant) Newest(stored tokenstore.Grant) (record tokenstore.Grant, newer bool) {
	pending := g.state.Load().unsaved
	if pending == nil {
		return stored, false
	}
	if !stored.RefreshToken.Equal(pending.spent) {
		g.unsaved(nil)
		return stored, false
	}
	record = pending.record
	record.Subscriptions, record.Others, record.Revision = stored.Subscriptions, stored.Others, stored.Revision
	return record, true
}

// unsaved is a move that notes what the store lacks; nil: nothing.
func (g *Grant) unsaved(p *pending) {
	g.move(func(s state) state {
		s.unsaved = p
		return s
	})
}

// SaveAtLast tries once more to save what no renewal will come to save: the
// Client is closing.
func (g *Grant) SaveAtLast() error {
	if g.state.Load().unsaved == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), SaveTimeout)
	defer cancel()
	lease, err := g.all.Store.Lock(ctx, g.Key)
	if err != nil {
		return fmt.Errorf("fdsclient: close: a renewed grant is lost: %w", err)
	}
	defer lease.Release()
	stored, err := g.all.Store.Load(ctx, g.Key)
	if errors.Is(err, fds.ErrNoGrant) {
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
