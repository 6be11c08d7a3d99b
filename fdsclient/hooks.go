package fdsclient

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/push"
)

// Hooks are called where the thing happens, outside the work that Client.Close waits for,
// and may call anything of this package but must be fast: who asked for a token waits for
// them too. What a hook panics with is logged.

// GrantEvent is what happened to a grant. Do not make a metric's label of an
// owner: there may be ten thousand.
type GrantEvent struct {
	Owners []fds.OwnerKey
	Expiry time.Time // of the access token; for renewals
	Since  time.Time // of the first failure in a row; for failures
	Err    error     // for failures and lapses
}

// HookRenewed is told when a grant was renewed and saved.
type HookRenewed interface{ OnRenewed(GrantEvent) }

// HookRenewalFailing is told of each failed renewal that will be tried again.
type HookRenewalFailing interface{ OnRenewalFailing(GrantEvent) }

// HookSignInNeeded is told once when a grant has lapsed: Err matches
// fds.ErrSignInRequired.
type HookSignInNeeded interface{ OnSignInNeeded(GrantEvent) }

// HookStoreUnavailable is told when grants cannot be read or saved.
type HookStoreUnavailable interface{ OnStoreUnavailable(error) }

// HookConnection is told of every change of an owner's push connection; of an owner who is
// polled, why that has ended.
type HookConnection interface {
	OnConnection(fds.OwnerKey, push.State)
}

// HookCertificate is told when an owner's certificate, or with the zero owner the
// application's own, cannot be read or used, and the one before it serves on; and once
// when other users of this machine may read its private key, which is used all the same.
type HookCertificate interface {
	OnCertificate(fds.OwnerKey, error)
}

// hookTypes are all interfaces that a hook may implement, of one method each.
var hookTypes = []reflect.Type{
	reflect.TypeFor[HookRenewed](), reflect.TypeFor[HookRenewalFailing](), reflect.TypeFor[HookSignInNeeded](),
	reflect.TypeFor[HookStoreUnavailable](), reflect.TypeFor[HookConnection](), reflect.TypeFor[HookCertificate](),
	reflect.TypeFor[HookGap](), reflect.TypeFor[HookPoll](),
	reflect.TypeFor[push.HookConnect](), reflect.TypeFor[push.HookHandled](), reflect.TypeFor[push.HookDiscarded](), reflect.TypeFor[push.HookSlowHandler](),
}

// tell calls the hooks that implement H. One that panics harms nothing but itself.
func tell[H any](c *Client, call func(H)) {
	for _, hook := range c.cfg.Hooks {
		if h, ok := hook.(H); ok {
			_ = contain.Do(c.log, fmt.Sprintf("hook %T", hook), func() { call(h) }) // which logs it
		}
	}
}

func (c *Client) renewed(owners []fds.OwnerKey, expiry time.Time) {
	event := GrantEvent{Owners: owners, Expiry: expiry}
	c.log.LogAttrs(context.Background(), slog.LevelDebug, "grant renewed", ownersAttr(event.Owners), slog.Time("expires", event.Expiry))
	tell(c, func(h HookRenewed) { h.OnRenewed(event) })
}

func (c *Client) renewalFailing(owners []fds.OwnerKey, since time.Time, err error) {
	event := GrantEvent{Owners: owners, Since: since, Err: err}
	c.log.LogAttrs(context.Background(), slog.LevelWarn, "grant not renewed, will be tried again", ownersAttr(event.Owners), slog.Time("since", since), slog.Any("error", err))
	tell(c, func(h HookRenewalFailing) { h.OnRenewalFailing(event) })
}

func (c *Client) signInNeeded(owners []fds.OwnerKey, err error) {
	event := GrantEvent{Owners: owners, Err: err}
	c.log.LogAttrs(context.Background(), slog.LevelWarn, "grant lapsed, sign in again", ownersAttr(event.Owners), slog.Any("error", err))
	tell(c, func(h HookSignInNeeded) { h.OnSignInNeeded(event) })
}

func (c *Client) storeUnavailable(err error) {
	c.log.LogAttrs(context.Background(), slog.LevelError, "grant store unavailable", slog.Any("error", err))
	tell(c, func(h HookStoreUnavailable) { h.OnStoreUnavailable(err) })
}

func (c *Client) certificateFailed(owner fds.OwnerKey, err error) {
	c.log.LogAttrs(context.Background(), slog.LevelWarn, "trouble with a certificate", slog.Any("owner", owner), slog.Any("error", err))
	tell(c, func(h HookCertificate) { h.OnCertificate(owner, err) })
}

func keysOf(owners []*Owner) (keys []fds.OwnerKey) {
	for _, o := range owners {
		keys = append(keys, o.key)
	}
	return keys
}

func ownersAttr(owners []fds.OwnerKey) slog.Attr {
	if len(owners) == 1 {
		return slog.Any("owner", owners[0])
	}
	const most = 10 // of the thousand that a grant may have
	var names []string
	for _, o := range owners[:min(len(owners), most)] {
		names = append(names, o.String())
	}
	if more := len(owners) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return slog.Any("owners", names)
}

// pushHooks passes what connections measure on to the Client's hooks, which may
// implement push.HookConnect, push.HookHandled, push.HookDiscarded and push.HookSlowHandler.
type pushHooks struct{ client *Client }

func (hooks pushHooks) OnConnect(owner fds.OwnerKey, took time.Duration, err error) {
	tell(hooks.client, func(h push.HookConnect) { h.OnConnect(owner, took, err) })
}

func (hooks pushHooks) OnHandled(owner fds.OwnerKey, took time.Duration, err error) {
	tell(hooks.client, func(h push.HookHandled) { h.OnHandled(owner, took, err) })
}

func (hooks pushHooks) OnDiscarded(owner fds.OwnerKey, reason error) {
	tell(hooks.client, func(h push.HookDiscarded) { h.OnDiscarded(owner, reason) })
}

func (hooks pushHooks) OnSlowHandler(owner fds.OwnerKey, took time.Duration) {
	tell(hooks.client, func(h push.HookSlowHandler) { h.OnSlowHandler(owner, took) })
}
