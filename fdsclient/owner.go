package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Owner is a resource owner who gave this application access. It is safe for
// concurrent use.
type Owner struct {
	client *Client
	key    fds.OwnerKey
	root   fds.Root
	grant  atomic.Pointer[grants.Grant]

	pull, pullOnes, pullGrant lazyPull // the second repeats no request

	ended atomic.Pointer[push.State] // why its connection is no more; nil: nothing to say
}

// Key names the owner.
func (o *Owner) Key() fds.OwnerKey { return o.key }

// Root is the owner's tree of topics, spelt as the provider does.
func (o *Owner) Root() fds.Root { return o.root }

// String names the owner.
func (o *Owner) String() string { return "owner " + o.key.String() }

// Format prints String whatever the verb, as Client's does.
func (o *Owner) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// Token returns an access token of the owner, which reads the data of all whom Grant names as
// Owners and Others where several signed in together. While it is fresh that takes no lock
// and no allocation; near its expiry it is renewed in the background; past it
// the callers wait for one renewal that they share, and while the provider fails
// they get that failure at once until the next attempt is due. An error that
// matches fds.ErrSignInRequired means that only a new sign-in helps; Retryable says
// whether a later call may succeed. The rotated refresh token is saved before
// the token is given out, also when ctx ends meanwhile.
func (o *Owner) Token(ctx context.Context) (Token, error) {
	for {
		g := o.grant.Load()
		t, err := g.Token(ctx)
		if err != nil {
			return Token{}, fmt.Errorf("%w (subscription %s)", err, o.key.SubscriptionID)
		}
		if o.grant.Load() == g { // else the owner has left it meanwhile, and the token is for others
			return Token{t}, nil
		}
	}
}

// Pull is the client of the owner's part of the provider's Web API: of the owner's items
// and no others. Where several owners signed in together, Provider.Dialect has to say how
// items name their owner, by SubscriptionMember or SubscriptionParameter; without, all
// calls but those for event specifications fail with an error that matches fds.ErrOwner,
// and so does each item that names nobody. Without Provider.APIURL each call fails with an
// error that says so.
func (o *Owner) Pull() *pull.Client {
	return o.pull.of(o, o.client.cfg.Pull.RetryFor, o)
}

// PullGrant is the client of all that the owner's grant can read, whichever of its owners
// an item belongs to: GrantInfo.Owners and GrantInfo.Others name them. It is as Pull where
// the grant has one owner.
func (o *Owner) PullGrant() *pull.Client {
	return o.pullGrant.of(o, o.client.cfg.Pull.RetryFor, nil)
}

// pullOnce is Pull for what repeats failed requests by itself.
func (o *Owner) pullOnce() *pull.Client {
	return o.pullOnes.of(o, -1, o)
}

// lazyPull is a client that is made when it is asked for: most owners' never are.
type lazyPull struct{ made atomic.Pointer[pull.Client] }

func (l *lazyPull) of(o *Owner, retryFor time.Duration, items *Owner) *pull.Client {
	if c := l.made.Load(); c != nil {
		return c
	}
	c, err := pull.New(o.client.pullConfig(bearer{o}, retryFor, items))
	if err != nil {
		panic(err) // New has tried the same values
	}
	if !l.made.CompareAndSwap(nil, c) {
		return l.made.Load()
	}
	return c
}

// items reads a collection of the owner's own items, for what repeats failed requests by
// itself.
func (o *Owner) items(ctx context.Context, kind pull.Kind, query pull.Query) iter.Seq2[fds.Item, error] {
	return o.pullOnce().Items(ctx, kind, query)
}

// shared reports whether the owner's access token is that of other owners too.
func (o *Owner) shared(ctx context.Context) (bool, error) {
	for {
		if shared, known := o.grant.Load().Shared(); known {
			return shared, nil
		}
		if _, err := o.Token(ctx); err != nil {
			return false, err
		}
		if _, known := o.grant.Load().Shared(); !known { // it was given up at once: whoever it is of, it is not used
			return true, nil
		}
	}
}

// pullConfig is that of a client of the provider's Web API, for the items of one owner; nil:
// for all.
func (c *Client) pullConfig(authorizer pull.Authorizer, retryFor time.Duration, of *Owner) pull.Config {
	settings := pull.Config{
		BaseURL:    c.cfg.Provider.APIURL,
		Authorizer: authorizer,
		Transport:  c.auth.ClientCerts,
		Dialect:    c.cfg.Provider.Dialect,
		UserAgent:  headerText(c.cfg.Application.Name), // to which pull adds this SDK's
		Settings:   c.cfg.Pull,
		Logger:     c.log,
	}
	settings.RetryFor = retryFor
	if of != nil {
		settings.Root, settings.Shared = of.root, of.shared
	}
	if settings.BaseURL == "" {
		settings.BaseURL, settings.Authorizer = "https://provider.invalid", noAPI{}
	}
	return settings
}

// headerText returns a name for people in the letters that a header may hold.
func headerText(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, name)
}

// userAgent is how an application of that name calls itself to the authorization
// server: as pull does to the Web API.
func userAgent(name string) string {
	const sdk = "fds-go"
	if name = strings.TrimSpace(headerText(name)); name == sdk {
		return sdk
	}
	return strings.TrimSpace(name + " " + sdk)
}

// noAPI fails every request of a Client that was given no Provider.APIURL.
type noAPI struct{}

func (noAPI) Authorize(context.Context, *http.Request) error {
	return fmt.Errorf("fdsclient: pull: %w: Provider.APIURL is missing", fds.ErrConfig)
}

func (noAPI) Challenged(context.Context, *http.Response) (bool, error) { return false, nil }

// bearer authorizes an owner's requests to the Web API (W9, RFC 6750 section 2.1,
// RFC 9449 section 7.1).
type bearer struct{ owner *Owner }

func (b bearer) Authorize(ctx context.Context, r *http.Request) error {
	t, err := b.owner.Token(ctx)
	if err != nil {
		return err
	}
	return t.SetHeader(r)
}

// Challenged renews the token that a 401 refused, or has learnt the nonce that it
// asks for.
func (b bearer) Challenged(ctx context.Context, response *http.Response) (retry bool, err error) {
	if response.Request == nil {
		return false, nil
	}
	scheme, sent, _ := strings.Cut(response.Request.Header.Get("Authorization"), " ")
	if scheme == authserver.KindDPoP && authserver.WantsNonce(response) && response.Header.Get("DPoP-Nonce") != "" {
		return true, nil
	}
	return b.owner.grant.Load().Rejected(ctx, fds.NewSecret(sent))
}

// GrantInfo is what is known of an owner's grant without asking the provider.
type GrantInfo struct {
	AccessExpiry  time.Time
	RefreshExpiry time.Time // zero when the provider does not say
	Renewable     bool      // a refresh token is stored
	Scopes        []string
	// Owners are those who signed in together with one grant, this one among them. Others
	// have signed out here, though the provider lets the grant read their data too.
	Owners, Others []fds.SubscriptionID
	// Untold is why Pull does not read this owner's data: the grant is that of several and
	// nothing says whose an item is. It matches fds.ErrOwner and names the setting.
	Untold       error
	Created      time.Time // the sign-in
	Renewed      time.Time // the last renewal
	Lapsed       error     // matches fds.ErrSignInRequired when this process knows, or one before has noted, that the grant is dead
	Failing      error     // the last renewal failed and will be tried again
	FailingSince time.Time
}

// Grant reads what the store holds; it renews nothing.
func (o *Owner) Grant(ctx context.Context) (GrantInfo, error) {
	g := o.grant.Load()
	state := g.State()
	if state.Phase == grants.Gone {
		return GrantInfo{}, fmt.Errorf("%w (subscription %s)", state.Err, o.key.SubscriptionID)
	}
	c := o.client
	record, err := c.store.Load(ctx, g.Key)
	if err != nil {
		if errors.Is(err, fds.ErrNoGrant) {
			err = fmt.Errorf("%w: %w", fds.ErrNoOwner, err)
		}
		return GrantInfo{}, fmt.Errorf("fdsclient: grant of subscription %s: %w", o.key.SubscriptionID, err)
	}
	info := GrantInfo{
		AccessExpiry:  record.AccessExpiry,
		RefreshExpiry: record.RefreshExpiry,
		Renewable:     !record.RefreshToken.IsZero(),
		Scopes:        record.Scopes,
		Owners:        sorted(grants.IDs(record.Subscriptions)),
		Others:        sorted(grants.IDs(c.grants.Others(record))),
		Created:       record.Created,
		Renewed:       record.Renewed,
	}
	info.Untold = c.untold(record)
	info.Lapsed = g.HonouredBy(record)
	if state.Phase == grants.Failing {
		info.Failing, info.FailingSince = state.Err, state.Since
	}
	return info, nil
}

// untold returns why the data of one owner of a grant cannot be told from others'; nil: it
// can.
func (c *Client) untold(record tokenstore.Grant) error {
	dialect := c.cfg.Provider.Dialect
	if !c.grants.Shared(record) || dialect.SubscriptionMember != "" || dialect.SubscriptionParameter != "" || c.cfg.Provider.APIURL == "" {
		return nil
	}
	return fmt.Errorf("fdsclient: %w: one grant is that of several owners who signed in together, and nothing says whose an item of the Web API is; set Provider.Dialect.SubscriptionMember or SubscriptionParameter to the provider's name for it", fds.ErrOwner)
}

// sorted returns the IDs of a set in the order of their text.
func sorted(ids map[fds.SubscriptionID]bool) []fds.SubscriptionID {
	return slices.SortedFunc(maps.Keys(ids), func(a, b fds.SubscriptionID) int { return strings.Compare(a.String(), b.String()) })
}
