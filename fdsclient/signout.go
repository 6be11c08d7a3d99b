package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// SignOutError says which part of a sign-out did not work. What is true was
// done all the same.
type SignOutError struct {
	Owner        fds.OwnerKey
	Revoked      bool // the provider revoked the grant
	Deleted      bool // the grant is no longer stored here
	SessionEnded bool // the broker stopped queueing messages
	// HeldBy are the owners for whom the grant lives on, which was one for several: by it
	// the provider lets this application read the data of Owner too, until they have
	// signed out. Then Err matches fds.ErrGrantShared.
	HeldBy []fds.OwnerKey
	Err    error
}

// Error says what worked and what did not.
func (e *SignOutError) Error() string {
	var done, failed []string
	for _, part := range []struct {
		ok        bool
		done, not string
	}{
		{e.Revoked, "the provider revoked the grant", "the provider did not revoke the grant"},
		{e.Deleted, "the grant was deleted here", "the grant was not deleted here"},
		{e.SessionEnded, "the broker's session was ended", "the broker's session was not ended"},
	} {
		if part.ok {
			done = append(done, part.done)
		} else {
			failed = append(failed, part.not)
		}
	}
	parts := strings.Join(failed, ", ")
	if len(done) > 0 {
		parts = strings.Join(done, ", ") + ", but " + parts
	}
	return fmt.Sprintf("fdsclient: sign out %s: %s: %v", e.Owner.SubscriptionID, parts, e.Err)
}

func (e *SignOutError) Unwrap() error { return e.Err }

// SignOut ends the owner's access: it revokes the grant at the provider
// (RFC 7009, the refresh token first), deletes it from the store, and ends the
// broker's session so that no messages queue up for nobody. All three are tried;
// a *SignOutError says which did not work. Where one grant is for several owners
// only this owner is removed, which is an error that matches fds.ErrGrantShared and says who
// holds the grant still, and the last one revokes. Who has signed in again
// meanwhile stays signed in and connected. What is stored here goes also when ctx
// ends while the provider is asked. A handler that signs its own owner out waits
// in vain for the session's end, for as long as ctx allows and 15 s at most: let
// another goroutine do it.
func (o *Owner) SignOut(ctx context.Context) error {
	c := o.client
	g, lease, err := o.lockGrant(ctx)
	if err != nil {
		return fmt.Errorf("fdsclient: sign out %s: wait for the grant's lock: %w", o.key.SubscriptionID, err)
	}
	result := &SignOutError{Owner: o.key}
	errs, err := o.endGrant(ctx, g, result)
	if err != nil {
		lease.Release()
		return fmt.Errorf("fdsclient: sign out %s: %w", o.key.SubscriptionID, err)
	}
	var connection *connected
	again := false
	if result.Deleted {
		// Still under the lock, so that nobody signs in between. Who signs in while the
		// session is ended is connected when it is.
		left := c.endings.begin(o.key)
		if again = c.known.drop(o, g, grants.ErrSignedOut); !again {
			connection = c.takeConnected(o.key, grants.ErrSignedOut)
		}
		defer connection.whenOver(left)
	}
	lease.Release()

	switch {
	case again:
		result.SessionEnded = true // it is the new sign-in's
	case result.Deleted:
		err := c.endSession(ctx, o, connection)
		result.SessionEnded = err == nil
		errs = append(errs, err)
	}
	if result.Err = join(errs...); result.Err != nil {
		return result
	}
	return nil
}

// lockGrant locks the grant that the owner has once it is locked: a sign-in may
// give it another one meanwhile.
func (o *Owner) lockGrant(ctx context.Context) (*grants.Grant, tokenstore.Lease, error) {
	for {
		g := o.grant.Load()
		lease, err := o.client.store.Lock(ctx, g.Key)
		if err != nil {
			return nil, nil, err
		}
		if o.grant.Load() == g {
			return g, lease, nil
		}
		lease.Release()
	}
}

// endGrant takes the owner out of the locked grant g and says in result what was
// done. What is asked of the store is not cut short by a provider who takes all
// the time there is. With the second error nothing was tried.
func (o *Owner) endGrant(ctx context.Context, g *grants.Grant, result *SignOutError) (errs []error, err error) {
	store := o.client.store
	record, err := store.Load(ctx, g.Key)
	switch {
	case errors.Is(err, fds.ErrNoGrant):
		result.Revoked, result.Deleted = true, true // someone else did
		return nil, nil
	case errors.Is(err, fds.ErrCorrupt):
		errs = append(errs, err) // what could be revoked cannot be read
	case err != nil:
		return nil, err
	default:
		record, _ = g.Newest(record)
		rest := grants.Without(record, map[fds.SubscriptionID]bool{o.key.SubscriptionID: true})
		if holders := sorted(grants.IDs(rest.Subscriptions)); len(holders) > 0 {
			for _, id := range holders {
				result.HeldBy = append(result.HeldBy, fds.OwnerKey{Issuer: o.key.Issuer, SubscriptionID: id})
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grants.SaveTimeout)
			defer cancel()
			_, err := store.Save(ctx, rest)
			result.Deleted = err == nil
			return []error{err, stillHeld(holders)}, nil
		}
		err := o.client.revokeGrant(ctx, record)
		result.Revoked = err == nil
		errs = append(errs, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grants.SaveTimeout)
	defer cancel()
	err = store.Delete(ctx, g.Key)
	result.Deleted = err == nil
	return append(errs, err), nil
}

// stillHeld says that a grant was not revoked, for whose sake, and what to do.
func stillHeld(holders []fds.SubscriptionID) error {
	const most = 5
	names := make([]string, 0, most)
	for _, id := range holders[:min(len(holders), most)] {
		names = append(names, id.String())
	}
	if more := len(holders) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Errorf("%w: subscription %s; sign them out too, or have the provider end this owner's part", fds.ErrGrantShared, strings.Join(names, ", "))
}

// revokeGrant revokes the refresh token, by which most servers end the whole
// grant, and else the access token.
func (c *Client) revokeGrant(ctx context.Context, record tokenstore.Grant) error {
	if !record.RefreshToken.IsZero() {
		return c.auth.Revoke(ctx, record.RefreshToken, "refresh_token")
	}
	if !record.AccessToken.IsZero() {
		return c.auth.Revoke(ctx, record.AccessToken, "access_token")
	}
	return nil
}
