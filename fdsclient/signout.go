package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// SignOutError says which part of a sign-out did not work. What is true was
// done all the same.
type SignOutError struct {
	Owner        fds.OwnerKey
	Revoked      bool // the provider revoked the grant
	Deleted      bool // the grant is no longer stored here
	SessionEnded bool // the broker stopped queueing messages
	Err          error
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
	return fmt.Sprintf("fdsclient: sign out %s: %s, but %s: %v", e.Owner.SubscriptionID, strings.Join(done, ", "), strings.Join(failed, ", "), e.Err)
}

func (e *SignOutError) Unwrap() error { return e.Err }

// SignOut ends the owner's access: it revokes the grant at the provider
// (RFC 7009, the refresh token first), deletes it from the store, and ends the
// broker's session so that no messages queue up for nobody. All three are tried;
// a *SignOutError says which did not work. Where one grant is for several owners
// only this owner is removed, and the last one revokes.
func (o *Owner) SignOut(ctx context.Context) error {
	g := o.grant.Load()
	result := &SignOutError{Owner: o.key}
	var errs []error

	unlock, err := o.client.store.Lock(ctx, g.key)
	if err != nil {
		return fmt.Errorf("fdsclient: sign out %s: wait for the grant's lock: %w", o.key.SubscriptionID, err)
	}
	record, err := o.client.store.Load(ctx, g.key)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		result.Revoked, result.Deleted = true, true // someone else did
	case err != nil && !errors.Is(err, tokenstore.ErrCorrupt):
		unlock()
		return fmt.Errorf("fdsclient: sign out %s: %w", o.key.SubscriptionID, err)
	default:
		if err != nil {
			errs = append(errs, err) // nothing to revoke can be read
		}
		others := slices.DeleteFunc(slices.Clone(record.Subscriptions), func(spelling string) bool {
			id, err := fds.ParseSubscriptionID(spelling)
			return err != nil || id == o.key.SubscriptionID
		})
		if len(others) > 0 {
			record.Subscriptions = others
			err := o.client.store.Save(ctx, record)
			result.Revoked, result.Deleted = true, err == nil
			errs = append(errs, err)
			break
		}
		if err == nil {
			err := o.client.revokeGrant(ctx, record)
			result.Revoked = err == nil
			errs = append(errs, err)
		}
		err := o.client.store.Delete(ctx, g.key)
		result.Deleted = err == nil
		errs = append(errs, err)
	}
	unlock()

	if result.Deleted {
		err := o.client.endSession(ctx, o)
		result.SessionEnded = err == nil
		errs = append(errs, err)
		o.client.drop(o)
	}
	if result.Err = errors.Join(errs...); result.Err != nil {
		return result
	}
	return nil
}

// revokeGrant revokes the refresh token, by which most servers end the whole
// grant, and else the access token.
func (c *Client) revokeGrant(ctx context.Context, record tokenstore.Grant) error {
	if !record.RefreshToken.IsZero() {
		return c.auth.revoke(ctx, record.RefreshToken, "refresh_token")
	}
	if !record.AccessToken.IsZero() {
		return c.auth.revoke(ctx, record.AccessToken, "access_token")
	}
	return nil
}
