package fdsclient

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/fdsclient/internal/following"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/internal/statefolder"
	"github.com/fds-sdk/fds-go/internal/tap"
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
	grants    *grants.Grants
	known     *registry
	endings   endings
	redirect  *redirectClaim
	forPush   forPush

	sharedPath sync.Once // it was warned of
	noClaims   sync.Once // it was warned that there are none

	choosing sync.Mutex // guards whom runs leave out, and whose grants rest for that

	mu      sync.Mutex
	running map[*run]struct{}
	held    map[fds.OwnerKey]*run // which run has an owner to itself
}

// forPush is what all connections have in common besides Config.Push.
type forPush struct {
	roots func(context.Context) (*x509.CertPool, error)
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	hooks []any
}

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
		folder := statefolder.Of(cfg.Application.Name)
		if folder == "" {
			return nil, fmt.Errorf("fdsclient: state folder: %w: this user has no home folder; set Config.State", fds.ErrConfig)
		}
		if cfg.State, err = statestore.OpenFolder(folder); err != nil {
			return nil, fmt.Errorf("fdsclient: %w: %w", fds.ErrConfig, err)
		}
	}
	c := &Client{
		cfg:     cfg,
		log:     cfg.Logger,
		store:   cfg.Store,
		endings: endings{under: make(map[fds.OwnerKey]*ending)},
		running: make(map[*run]struct{}),
		held:    make(map[fds.OwnerKey]*run),
	}
	c.forPush = forPush{
		roots: contain.Source("Provider.Roots", cfg.Provider.Roots),
		dial:  containedDial(cfg.Provider.Dial),
		hooks: []any{pushHooks{c}},
	}
	if t := tap.Of(cfg.Hooks); t.Packet != nil {
		c.forPush.hooks = append(c.forPush.hooks, &t)
	}
	c.followers = following.New(c.followSettings())
	c.auth = authserver.New(c.authSettings())
	c.grants = grants.New(c.grantSettings())
	c.known = newRegistry(c.grants)
	if c.redirect, err = claimRedirectURL(cfg.Application.RedirectURL, cfg.Provider.Issuer); err != nil {
		return nil, err
	}
	c.tellLimits()
	return c, nil
}

// tellLimits says what will not work as the configuration is, though it can be used.
func (c *Client) tellLimits() {
	p, gaps := &c.cfg.Provider, &c.cfg.Gaps
	someTopics := !slices.Contains(c.cfg.Push.Topics, "#")
	switch {
	case p.BrokerURL == "" && c.cfg.Poll.Interval == 0, gaps.Off && p.BrokerURL != "":
	case p.APIURL == "":
		c.log.Warn("Provider.APIURL is missing: what an outage loses cannot be fetched, each gap stays open, and Owner.Pull fails; set it, or Gaps.Off", "broker", p.BrokerURL)
	case someTopics && (p.Dialect.EventTopic == "" || p.Dialect.StatusTopic == ""):
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
	c.grants.Close()
	var errs []error
	for _, g := range c.known.all() {
		errs = append(errs, g.SaveAtLast())
	}
	c.auth.ClientCerts.CloseIdleConnections()
	c.redirect.release()
	return join(errs...)
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
	defer c.known.listing()()
	entries, unread, err := c.entries(ctx, c.storeUnavailable)
	if err != nil {
		return nil, nil, err
	}
	listed := make(map[fds.OwnerKey]bool)
	for _, e := range c.oneGrantEach(ctx, entries) {
		for _, o := range c.known.register(c, e, true) {
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
	if o := c.known.owner(c.key(id)); o != nil { // no need to look at ten thousand for one
		if record, err := c.store.Load(ctx, o.grant.Load().Key); err == nil && grants.IDs(record.Subscriptions)[id] {
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

// key names an owner of this Client's provider.
func (c *Client) key(id fds.SubscriptionID) fds.OwnerKey {
	return fds.OwnerKey{Issuer: c.cfg.Provider.Issuer, SubscriptionID: id}
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
