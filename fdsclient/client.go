package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/following"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Client is an application's registration with one provider, and all the owners
// who gave it access. It is safe for concurrent use; make one and keep it. Close
// it to end background renewal.
type Client struct {
	cfg       Config
	log       *slog.Logger
	store     tokenstore.Store
	auth      *authserver.Server
	used      usedAttempts
	followers *following.Followers
	scheduler *scheduler

	sharedPath sync.Once // it was warned of
	noClaims   sync.Once // it was warned that there are none

	mu         sync.Mutex
	owners     map[fds.OwnerKey]*Owner
	grants     map[tokenstore.Key]*grant
	running    map[*run]struct{}
	departures map[fds.OwnerKey]*departure
	listings   int                       // of the store, under way
	gone       map[grantedOwner]struct{} // signed out, or given another grant, since they began
	closed     bool
	stop       context.CancelFunc // of the scheduler; nil until it runs
	work       sync.WaitGroup     // renewals and the scheduler

	closing context.Context // ended by Close
	close   context.CancelFunc
	relooks *rate.Limiter // questions to the server about grants that lapsed
}

// processName is how a record's notes name this process, for people.
var processName = func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}()

// New makes a Client; it opens no connection and reads no grant yet. Errors match
// fds.ErrConfig and name every fault, or come from opening the keyring.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		if cfg.Store, err = tokenstore.OpenKeyring(tokenstore.KeyringConfig{Service: cfg.Application.Name}); err != nil {
			return nil, fmt.Errorf("fdsclient: %w", err)
		}
	}
	if cfg.State == nil {
		folder := defaultStateFolder(cfg.Application.Name)
		if folder == "" {
			return nil, fmt.Errorf("fdsclient: state folder: %w: this user has no home folder; set Config.State", fds.ErrConfig)
		}
		if cfg.State, err = statestore.OpenFolder(folder); err != nil {
			return nil, fmt.Errorf("fdsclient: %w: %w", fds.ErrConfig, err)
		}
	}
	c := &Client{
		cfg:        cfg,
		log:        cfg.Logger,
		store:      cfg.Store,
		scheduler:  newScheduler(),
		owners:     make(map[fds.OwnerKey]*Owner),
		grants:     make(map[tokenstore.Key]*grant),
		running:    make(map[*run]struct{}),
		departures: make(map[fds.OwnerKey]*departure),
		gone:       make(map[grantedOwner]struct{}),
		relooks:    rate.NewLimiter(rate.Every(relookRest), 1),
	}
	c.followers = following.New(c.followSettings())
	c.closing, c.close = context.WithCancel(context.Background())
	c.auth = authserver.New(c.authSettings())
	if cfg.Application.Certificate != nil {
		c.scheduler.watch = c.auth.Identities.Watch
	}
	if err := c.claimRedirectURL(); err != nil {
		return nil, err
	}
	c.tellLimits()
	return c, nil
}

// tellLimits says what will not work as the configuration is, though it can be used.
func (c *Client) tellLimits() {
	p, gaps := &c.cfg.Provider, &c.cfg.Gaps
	narrow := !slices.Contains(c.cfg.Push.Topics, "#")
	switch {
	case p.BrokerURL == "" && c.cfg.Poll.Interval == 0, gaps.Off && p.BrokerURL != "":
	case p.APIURL == "":
		c.log.Warn("Provider.APIURL is missing: what an outage loses cannot be fetched, each gap stays open, and Owner.Pull fails; set it, or Gaps.Off", "broker", p.BrokerURL)
	case narrow && (p.Dialect.EventTopic == "" || p.Dialect.StatusTopic == ""):
		c.log.Warn("Push.Topics names some topics only, and which items of the Web API they name cannot be told: a gap stays open, and what is polled is not handed over; set Provider.Dialect.EventTopic and StatusTopic, or Gaps.Off")
	}
}

// String names the application and the provider.
func (c *Client) String() string {
	return fmt.Sprintf("client %s at %s", c.cfg.Application.ClientID, c.cfg.Provider.Issuer)
}

// Format prints String whatever the verb: the rest of a Client is at work, and
// full of tokens.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// Close ends background renewal and waits for what must still be saved: the answer to
// each request that may have spent a refresh token or a code, for as long as the
// provider's connection lives and at most 3 minutes, and once more after a lost answer.
// Renewals that have not asked the provider yet end at once. It does not end Run, nor a
// SignIn that waits for its user, whose contexts do. An error means that a rotated token
// could not be saved and is lost.
//
// A process that cannot wait may end all the same: the record has a note of the request,
// and the next process that renews the grant asks once more for the answer, which most
// providers give again for about half a minute.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	stop := c.stop
	c.mu.Unlock()
	c.close()
	if stop != nil {
		stop()
	}
	c.work.Wait()
	c.mu.Lock()
	grants := slices.Collect(maps.Values(c.grants))
	c.mu.Unlock()
	var errs []error
	for _, g := range grants {
		errs = append(errs, g.saveAtLast())
	}
	c.auth.Identities.CloseIdleConnections()
	c.releaseRedirectURL()
	return join(errs...)
}

// begin counts a piece of work that Close waits for, unless the Client is closed.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Add(1)
	return true
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *Client) end() { c.work.Done() }

// startScheduler starts it once, and not after Close.
func (c *Client) startScheduler() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.work.Go(func() { c.scheduler.run(ctx) })
}

// certificateReplaced renews the tokens that are bound to the application's
// certificate of before: their next callers do it at once, else the scheduler,
// spread over a minute.
func (c *Client) certificateReplaced() {
	c.log.Info("the application's certificate was replaced; tokens are renewed")
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.grants {
		if g.fresh.Load() != nil {
			c.scheduler.plan(g, time.Now().Add(rand.N(time.Minute)))
		}
	}
}

// Owners returns the owners whose grants are in the store. No one signs in twice:
// this is how an application finds its owners again after a restart. A record
// that cannot be read is logged and told to HookStoreUnavailable, and harms no
// other. An error means that the store cannot be listed, or that it holds nothing but
// records that this process may not read, such as another user's files: that is not to
// be mistaken for a store in which nobody has signed in.
func (c *Client) Owners(ctx context.Context) ([]*Owner, error) {
	owners, unread, err := c.listOwners(ctx)
	if err == nil && len(owners) == 0 && unread != nil && !errors.Is(unread, fds.ErrCorrupt) {
		return nil, fmt.Errorf("fdsclient: list owners: %w", unread)
	}
	return owners, err
}

// listOwners is Owners; unread is why a record cannot be read, so that an owner may be
// missing who did not sign out.
func (c *Client) listOwners(ctx context.Context) (owners []*Owner, unread, err error) {
	c.mu.Lock()
	c.listings++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.listings--; c.listings == 0 {
			clear(c.gone)
		}
	}()
	entries, unread, err := c.entries(ctx, c.storeUnavailable)
	if err != nil {
		return nil, nil, err
	}
	listed := make(map[fds.OwnerKey]bool)
	for _, e := range c.oneGrantEach(ctx, entries) {
		for _, o := range c.know(e, true) {
			if !listed[o.key] {
				listed[o.key] = true
				owners = append(owners, o)
			}
		}
	}
	return owners, unread, nil
}

// Owner returns one owner, or an error that matches fds.ErrNoOwner.
func (c *Client) Owner(ctx context.Context, id fds.SubscriptionID) (*Owner, error) {
	if o := c.knownOwner(id); o != nil { // no need to look at ten thousand for one
		if record, err := c.store.Load(ctx, o.grant.Load().key); err == nil && slices.ContainsFunc(record.Subscriptions, func(spelling string) bool {
			other, err := fds.ParseSubscriptionID(spelling)
			return err == nil && other == id
		}) {
			return o, nil
		}
	}
	owners, unread, err := c.listOwners(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range owners {
		if o.key.SubscriptionID == id {
			return o, nil
		}
	}
	if unread != nil && !errors.Is(unread, fds.ErrCorrupt) {
		return nil, fmt.Errorf("fdsclient: subscription %s is not among the grants that can be read: %w", id, unread)
	}
	return nil, fmt.Errorf("fdsclient: %w: subscription %s is not signed in", fds.ErrNoOwner, id)
}

func (c *Client) knownOwner(id fds.SubscriptionID) *Owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owners[fds.OwnerKey{Issuer: c.cfg.Provider.Issuer, SubscriptionID: id}]
}

// entries lists the grants of this Client's issuer and client ID. unread is about a record
// that does not even say whose it is. Each failure over one record is told to trouble.
func (c *Client) entries(ctx context.Context, trouble func(error)) (entries []tokenstore.Entry, unread, err error) {
	for e, err := range c.store.List(ctx) {
		switch {
		case err != nil && e.Key == (tokenstore.Key{}) && !ofOneRecord(err):
			return nil, nil, fmt.Errorf("fdsclient: list owners: %w", err)
		case err != nil && e.Key == (tokenstore.Key{}):
			if unread == nil || errors.Is(unread, fds.ErrCorrupt) {
				unread = err
			}
			trouble(err)
			continue
		case e.Issuer != c.cfg.Provider.Issuer || e.ClientID != c.cfg.Application.ClientID:
			continue
		case err != nil:
			trouble(err) // the owner is known and will be told to sign in again
		}
		entries = append(entries, e)
	}
	return entries, unread, nil
}

// ofOneRecord reports whether an error of a listing is about one record alone. Any
// other means that the listing did not go on, and no one may be taken for signed
// out because of that.
func ofOneRecord(err error) bool {
	if errors.Is(err, fds.ErrStoreUnavailable) {
		return false
	}
	return errors.Is(err, fds.ErrCorrupt) || errors.Is(err, fds.ErrUnsafe) ||
		errors.Is(err, fds.ErrTooLarge) || errors.Is(err, fds.ErrNewerFormat)
}

// grantedOwner is an owner as the owner of one grant.
type grantedOwner struct {
	grant tokenstore.Key
	owner fds.OwnerKey
}

// noteGone notes that an owner has left a grant, for the listings under way, which
// may have seen it there. c.mu is held.
func (c *Client) noteGone(owner fds.OwnerKey, grant tokenstore.Key) {
	if c.listings > 0 {
		c.gone[grantedOwner{grant, owner}] = struct{}{}
	}
}

// noteAllGone notes that several have.
func (c *Client) noteAllGone(ids map[fds.SubscriptionID]bool, grant tokenstore.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range ids {
		c.noteGone(fds.OwnerKey{Issuer: grant.Issuer, SubscriptionID: id}, grant)
	}
}

// know returns the Owners of a stored grant, the same ones each time, without those
// who have left it since it was listed.
func (c *Client) know(e tokenstore.Entry, listed bool) []*Owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	// One copy of what all keys have in common, for there are thousands.
	e.Issuer, e.ClientID = c.cfg.Provider.Issuer, c.cfg.Application.ClientID
	var owners []*Owner
	for _, spelling := range e.Subscriptions {
		root, err := fds.ParseRoot(spelling)
		if err != nil {
			continue // not stored by us
		}
		key := fds.OwnerKey{Issuer: e.Issuer, SubscriptionID: root.SubscriptionID()}
		if _, gone := c.gone[grantedOwner{e.Key, key}]; gone && listed {
			continue
		}
		delete(c.gone, grantedOwner{e.Key, key})
		g := c.grants[e.Key]
		if g == nil {
			g = newGrant(c, e.Key)
			c.grants[e.Key] = g
		}
		o := c.owners[key]
		if o == nil {
			o = &Owner{client: c, key: key, root: root}
			c.owners[key] = o
		}
		if before := o.grant.Swap(g); before != g {
			if before != nil {
				before.lose(o)
			}
			g.owners = append(g.owners, o)
		}
		owners = append(owners, o)
	}
	return owners
}

// ownersOf names the owners of a grant.
func (c *Client) ownersOf(key tokenstore.Key) []fds.OwnerKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []fds.OwnerKey
	if g := c.grants[key]; g != nil {
		keys = keysOf(g.owners)
	}
	return keys
}

// ownersIn returns the owners of a grant.
func (c *Client) ownersIn(g *grant) []*Owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(g.owners)
}

// drop forgets an owner that has left g, and g when no owner is left. What was handed out
// of the owner has no part in what others still have of g. again says that the owner has
// signed in anew: what it has now is not o's, or not of g.
func (c *Client) drop(o *Owner, g *grant, why error) (again bool) {
	c.mu.Lock()
	c.noteGone(o.key, g.key)
	now := c.owners[o.key]
	again = now != nil && (now != o || o.grant.Load() != g)
	if now == o && !again {
		delete(c.owners, o.key)
		g.lose(o)
		o.grant.Store(endedGrant(c, g.key, why))
	}
	last := len(g.owners) == 0
	c.mu.Unlock()
	if last {
		c.forgetGrant(g)
		g.forget()
	}
	return again
}

// forgetGrant takes g out of the known grants. Should its key come back, it is
// another grant.
func (c *Client) forgetGrant(g *grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grants[g.key] == g {
		delete(c.grants, g.key)
	}
}

// arrived tells every Run of owners who signed in.
func (c *Client) arrived(owners []*Owner) {
	for _, r := range c.runs() {
		r.arrive(owners...)
	}
}

// knows reports whether o is signed in, as far as this Client knows.
func (c *Client) knows(o *Owner) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owners[o.key] == o
}
