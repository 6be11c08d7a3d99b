package fdsclient

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/push"
)

// grantSettings are what the renewal of grants rests on, and who is told of it.
func (c *Client) grantSettings() grants.Settings {
	settings := grants.Settings{
		Server:          c.auth,
		Store:           c.store,
		RefreshInterval: c.cfg.Provider.RefreshInterval,
		Replays:         c.cfg.Provider.ReplaysRefreshTokens,
		StoreFailed:     c.storeUnavailable,
		Landed:          c.renewalLanded,
	}
	if c.cfg.Application.Certificate != nil {
		settings.Watch = c.auth.ClientCerts.Watch
	}
	return settings
}

// renewalLanded sees to the owners of a grant whose renewal has ended. What it returns tells
// hooks and runs.
func (c *Client) renewalLanded(g *grants.Grant, l grants.Landing) (tell func()) {
	parted := c.takenAway(g, l.Ended)
	if l.Stored != nil {
		c.leftElsewhere(g, l)
	}
	if l.Phase == grants.Gone {
		c.known.forget(g)
	}
	return func() {
		owners := c.known.ownersOf(g)
		switch {
		case l.Phase == grants.Lapsed && l.Was != grants.Lapsed:
			c.lapsed(keysOf(owners), l.Err)
			c.signInNeeded(keysOf(owners), l.Err)
		case l.Phase == grants.Failing:
			c.renewalFailing(keysOf(owners), l.Since, l.Err)
		case l.Phase == grants.Fresh:
			if !l.Expiry.IsZero() {
				c.renewed(keysOf(owners), l.Expiry)
			}
			if l.Was == grants.Lapsed {
				c.ownersAdded(owners)
			}
		}
		parted()
	}
}

// ownersAdded tells every Run of owners who signed in.
func (c *Client) ownersAdded(owners []*Owner) {
	for _, r := range c.runs() {
		r.ownerAdded(owners...)
	}
}

// certificateReplaced renews the tokens that are bound to the application's certificate of
// before: their next callers do it at once, else the scheduler, spread over a minute.
func (c *Client) certificateReplaced() {
	c.log.Info("the application's certificate was replaced; tokens are renewed")
	for _, g := range c.known.all() {
		g.RenewSoon()
	}
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
