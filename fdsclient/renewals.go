package fdsclient

import "github.com/fds-sdk/fds-go/fdsclient/internal/grants"

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
