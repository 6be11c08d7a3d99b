package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// oddClaimRest is how long a grant rests whose renewed tokens name their owner in no way
// that can be read.
const oddClaimRest = 10 * time.Minute

// keep saves what the server issued and only then returns it out. Failed is what is wrong
// with the answer besides; the refresh token in it is saved all the same.
func (g *grant) keep(ctx context.Context, record tokenstore.Grant, a authserver.Answer, failed error) (renewed, error) {
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
		ids, found, err := g.client.auth.Renewed(a)
		if err == nil && !found && g.client.auth.Introspects(ctx) {
			// Before anyone is asked again, what cannot be had again is saved.
			safe := record
			safe.AccessToken, safe.AccessExpiry = fds.Secret{}, time.Time{}
			saved, unsaved := g.save(ctx, safe, spent)
			if unsaved != nil {
				return renewed{}, unsaved
			}
			record.Revision, spent = saved.Revision, saved.RefreshToken
			ids, found, err = g.client.auth.Introspected(ctx, a)
		}
		switch {
		case err != nil:
			failed = &laterError{ // each attempt spends a rotation
				err:  &unconfirmed{text: fmt.Sprintf("fdsclient: renewal: it cannot be told whose the renewed token is; ask the provider: %v", err), said: err},
				when: record.Renewed.Add(oddClaimRest),
			}
		case found:
			record.Subscriptions, gone, failed = stillFor(record.Subscriptions, idSet(ids))
			if failed == nil {
				record.Others = ids
				record.Others = g.client.others(record)
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
		return renewed{ended: gone}, err
	}
	if failed != nil {
		return renewed{relook: spread(lapsedRelook)}, failed
	}
	c, err := g.credential(record)
	return renewed{credential: c, fromServer: true, ended: gone}, err
}

// stillFor compares those whom a renewed token names with those whom the grant is for. An
// owner whom the provider took out of the grant ends, and the others go on. A token that
// names strangers alone is refused, since an owner's ID never changes.
func stillFor(subscriptions []string, named map[fds.SubscriptionID]bool) (kept []string, gone []fds.SubscriptionID, err error) {
	for _, spelling := range subscriptions {
		id, err := fds.ParseSubscriptionID(spelling)
		switch {
		case err == nil && named[id]:
			kept = append(kept, spelling)
		case err == nil:
			gone = append(gone, id)
		}
	}
	if len(kept) == 0 {
		return subscriptions, nil, fmt.Errorf("fdsclient: renewal: %w: %w: none of %s is named in it; ask the provider", fds.ErrSignInRequired, fds.ErrSubscriptionChanged, authserver.Describe(fmt.Sprint(subscriptions)))
	}
	return kept, gone, nil
}

// otherThan returns those of the spelled IDs that are not among the subscriptions.
func otherThan(subscriptions, ids []string) (others []string) {
	known := idSet(subscriptions)
	for _, spelling := range ids {
		if id, err := fds.ParseSubscriptionID(spelling); err == nil && !known[id] {
			known[id] = true
			others = append(others, spelling)
		}
	}
	return others
}

// without takes owners out of a grant whose tokens go on to read their data.
func without(record tokenstore.Grant, gone map[fds.SubscriptionID]bool) tokenstore.Grant {
	var kept, others []string
	for _, spelling := range record.Subscriptions {
		switch id, err := fds.ParseSubscriptionID(spelling); {
		case err != nil: // not stored by us
		case gone[id]:
			others = append(others, spelling)
		default:
			kept = append(kept, spelling)
		}
	}
	record.Subscriptions, record.Others = kept, slices.Concat(record.Others, others)
	return record
}

// save stores a rotated grant on a time of its own: no caller may cancel it. What
// the store will not take is kept in memory and saved before anything else is
// tried, since the stored refresh token is spent.
func (g *grant) save(ctx context.Context, record tokenstore.Grant, spent fds.Secret) (tokenstore.Grant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	var err error
	for attempt := range saveAttempts {
		if attempt > 0 {
			_ = sleep(ctx, time.Duration(attempt)*200*time.Millisecond)
		}
		saved := record
		saved.Revision, err = g.client.store.Save(ctx, record)
		if errors.Is(err, fds.ErrConflict) {
			saved, err = g.rebase(ctx, record, spent)
		}
		if errors.Is(err, fds.ErrPartlySaved) { // what cannot be had again is safe
			g.storeFailed(err)
			err = nil
		}
		if err == nil {
			g.mu.Lock()
			g.unsaved = nil
			g.mu.Unlock()
			return saved, nil
		}
	}
	g.mu.Lock()
	g.unsaved = &unsaved{spent: spent, record: record}
	g.mu.Unlock()
	g.storeFailed(err)
	return record, fmt.Errorf("fdsclient: renewal: the renewed grant is not saved yet, and kept in memory: %w", err)
}

// rebase saves a record upon one that was stored by someone who does not hold the grant's
// lock. A sign-in made meanwhile stays; who may have left the grant stays away.
func (g *grant) rebase(ctx context.Context, record tokenstore.Grant, spent fds.Secret) (tokenstore.Grant, error) {
	stored, err := g.client.store.Load(ctx, g.key)
	switch {
	case err != nil:
		return record, err
	case !stored.Created.Equal(record.Created) && !stored.RefreshToken.Equal(spent):
		return record, nil // nothing to save any more
	}
	record.Revision = stored.Revision
	left := idSet(record.Subscriptions)
	for id := range idSet(stored.Subscriptions) {
		delete(left, id)
	}
	record = without(record, left)
	revision, err := g.client.store.Save(ctx, record)
	record.Revision = revision
	return record, err
}

// saveUnsaved saves what an earlier renewal could not, unless the store has a
// newer grant by now.
func (g *grant) saveUnsaved(ctx context.Context, stored tokenstore.Grant) (tokenstore.Grant, error) {
	record, newer := g.newest(stored)
	if !newer {
		return stored, nil
	}
	saved, err := g.save(ctx, record, stored.RefreshToken)
	if err != nil {
		return stored, err
	}
	return saved, nil
}

// newest returns the stored grant with the tokens that could not be saved yet, and
// reports whether there are any. Who its owners are the store knows better: one may
// have signed out meanwhile.
func (g *grant) newest(stored tokenstore.Grant) (record tokenstore.Grant, newer bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unsaved == nil || !stored.RefreshToken.Equal(g.unsaved.spent) {
		g.unsaved = nil
		return stored, false
	}
	record = g.unsaved.record
	record.Subscriptions, record.Others, record.Revision = stored.Subscriptions, stored.Others, stored.Revision
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
