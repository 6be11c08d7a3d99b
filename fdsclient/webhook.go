package fdsclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/internal/single"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/webhook"
)

// Webhook makes an endpoint to which the provider delivers what belongs to this Client's owners,
// and hands it to h. Close it before the Client. The tokens of senders are verified with the
// provider's keys, or by its introspection, which this application asks as itself.
//
// A delivery is taken for an owner who is signed in here, and whose grant has not lapsed unless
// KeepWithoutGrant is set. Who signs in or out in another process is known within Rescan. Of Push
// count MaxAttempts, DeadLetter and SlowHandler; of Provider.Dialect SubscriptionMember,
// MessageID and what a message's Kind and Key are read by; and Application.SubscriptionClaim.
// Nothing is fetched for what a sender never delivered.
//
// Keep grants renewed by Run, which may have a nil handler. A Run with one and a Receiver wait for
// each other, owner by owner: no two handlers are at work at once for the same one. What came both
// ways is handed over twice.
//
// Errors match fds.ErrConfig and name every fault; or come from Settings.Folder.
func (c *Client) Webhook(settings webhook.Settings, h delivery.Handler) (*webhook.Receiver, error) {
	return c.webhook(settings, h, nil)
}

// WebhookBatches is Webhook for a handler of several messages: the items of one delivery, or with
// Across those of several, and of other owners and ways that have the same *Batching.
func (c *Client) WebhookBatches(settings webhook.Settings, b *delivery.Batching) (*webhook.Receiver, error) {
	return c.webhook(settings, nil, b)
}

func (c *Client) webhook(settings webhook.Settings, h delivery.Handler, b *delivery.Batching) (*webhook.Receiver, error) {
	settings.Issuer = cmp.Or(settings.Issuer, c.cfg.Provider.Issuer)
	var faults fds.ConfigError
	if settings.Issuer != c.cfg.Provider.Issuer {
		faults.Add("Issuer", "leave it out; for tokens of another server make the endpoint with webhook.New, and its Keys", "is not the provider's, whose keys verify the tokens").Other = "Provider.Issuer"
	}
	if slices.Contains(settings.Senders, c.cfg.Application.ClientID) {
		faults.Add("Senders", "name the client IDs of those who deliver", "holds this application's own client ID, whose tokens are not a sender's").Other = "Application.ClientID"
	}
	others := append([]string{c.cfg.Provider.APIURL, strings.TrimRight(c.cfg.Provider.APIURL, "/") + "/fds/v2", c.cfg.Provider.Issuer, c.cfg.Application.ClientID}, c.cfg.Provider.Resources...)
	same := func(other string) bool { // a slash at the end is soon forgotten, or added
		return other != "" && strings.TrimRight(other, "/") == strings.TrimRight(settings.Audience, "/")
	}
	if slices.ContainsFunc(others, same) {
		faults.Add("Audience", "agree with the provider on one that is this endpoint's alone", "is that of other tokens than a sender's, which this and other applications have")
	}
	if err := faults.Err(); err != nil {
		return nil, fmt.Errorf("fdsclient: webhook: %w", err)
	}
	calling, owners := c.calling(h), &roster{client: c}
	names := []string{"active", "iss", "aud", "exp", "nbf", "iat", "cnf", cmp.Or(settings.ClientClaim, "client_id"), c.cfg.Application.SubscriptionClaim}
	return webhook.New(webhook.Config{
		Settings: settings,
		Handler:  h,
		Batch:    b,
		Owner:    owners.owner,
		Turn:     c.followers.Turn,
		Keys:     c.auth.Keys,
		Introspect: func(ctx context.Context, token fds.Secret) ([]byte, error) {
			return c.auth.Presented(ctx, token, names...)
		},
		SubscriptionClaim: c.cfg.Application.SubscriptionClaim,
		Dialect:           c.cfg.Provider.Dialect,
		MaxAttempts:       calling.MaxAttempts,
		DeadLetter:        calling.DeadLetter,
		SlowHandler:       calling.SlowAfter,
		Logger:            c.log,
		Hooks:             []any{webhookHooks{c}},
	})
}

// webhookHooks passes what an endpoint tells on to the Client's hooks.
type webhookHooks struct{ client *Client }

func (hooks webhookHooks) OnAnswer(a webhook.Answer) {
	tell(hooks.client, func(h webhook.HookAnswer) { h.OnAnswer(a) })
}

func (hooks webhookHooks) OnHandled(owner fds.OwnerKey, took time.Duration, err error) {
	pushHooks(hooks).OnHandled(owner, took, err)
}

func (hooks webhookHooks) OnSlowHandler(owner fds.OwnerKey, took time.Duration) {
	pushHooks(hooks).OnSlowHandler(owner, took)
}

// roster is who is signed in, as far as an endpoint needs it: this process's owners, at once, less
// those whom another one has signed out, within Rescan.
type roster struct {
	client  *Client
	looking single.Flight[struct{}]

	mu    sync.Mutex
	begun time.Time                      // when the last look began that nobody waited for
	at    time.Time                      // of the last look that worked; zero: none yet
	err   error                          // why the last look failed; nil: it worked
	again time.Time                      // when to look again after that
	gone  map[fds.OwnerKey]*grants.Grant // who was not in the store, and the grant that this process knows of
}

const (
	listTimeout = 10 * time.Second // how long a delivery waits for a look at the store
	unknownLook = 5 * time.Second  // between two looks for somebody who is not known
)

// owner returns the owner of an ID who is signed in. For one who is not known the store is looked
// at first, unless that was done just before: a sign-in in another process may be seconds old.
func (r *roster) owner(ctx context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
	c := r.client
	if c.grants.Closed() {
		return c.key(id), fds.ErrClientClosed
	}
	at, err := r.look(ctx, c.cfg.Rescan)
	if err != nil {
		return c.key(id), err
	}
	key, err := r.known(id)
	if errors.Is(err, fds.ErrNoOwner) && time.Since(at) >= unknownLook {
		if err := r.lookNow(ctx); err != nil {
			return key, err
		}
		return r.known(id)
	}
	return key, err
}

// lookNow waits for a look at the store. After one that failed there is none for a while.
func (r *roster) lookNow(ctx context.Context) error {
	r.mu.Lock()
	err, waits := r.err, time.Now().Before(r.again)
	r.mu.Unlock()
	if err != nil && waits {
		return err
	}
	_, err = r.looking.Do(ctx, listTimeout, r.read)
	return err
}

// known returns the owner of an ID who is signed in as far as is known.
func (r *roster) known(id fds.SubscriptionID) (fds.OwnerKey, error) {
	c := r.client
	key := c.key(id)
	o := c.known.owner(key)
	if o == nil {
		return key, fmt.Errorf("fdsclient: %w: subscription %s is not signed in", fds.ErrNoOwner, id)
	}
	g := o.grant.Load()
	r.mu.Lock()
	left, ok := r.gone[key]
	r.mu.Unlock()
	if ok && left == g {
		return key, errLeft
	}
	switch state := g.State(); {
	case state.Phase == grants.Gone:
		return key, fmt.Errorf("fdsclient: %w: subscription %s: %w", fds.ErrNoOwner, id, state.Err)
	case state.Phase == grants.Lapsed && !c.cfg.KeepWithoutGrant:
		return key, state.Err
	}
	return key, nil
}

// look has the store looked at anew when the last time is longer ago than that, and returns when that
// was. It waits for the first look alone.
func (r *roster) look(ctx context.Context, every time.Duration) (time.Time, error) {
	r.mu.Lock()
	at, now := r.at, time.Now()
	due := !at.IsZero() && now.Sub(r.begun) >= every
	if due {
		r.begun = now
	}
	r.mu.Unlock()
	switch {
	case at.IsZero():
		return now, r.lookNow(ctx)
	case due:
		go func() { _, _ = r.looking.Do(context.WithoutCancel(ctx), listTimeout, r.read) }()
	}
	return at, nil
}

// read looks at the store and notes what it finds.
func (r *roster) read() (struct{}, error) {
	gone, err := r.list()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.err = err; err != nil {
		r.again = now.Add(unknownLook)
		return struct{}{}, err
	}
	r.at, r.begun, r.gone = now, now, gone
	return struct{}{}, nil
}

// list returns who is not in the store any more. Who is missing from one listing may have signed in
// during it: only who is missing from a second one too is gone.
func (r *roster) list() (gone map[fds.OwnerKey]*grants.Grant, err error) {
	c := r.client
	ctx := tokenstore.Unattended(context.Background())
	for look := 1; ; look++ {
		owners, unread, err := c.listOwners(ctx)
		if err != nil {
			c.storeUnavailable(err)
			return nil, err
		}
		missing := c.known.without(owners)
		if unread != nil { // who is missing may be there
			missing = nil
		}
		if look == 1 {
			for _, o := range owners {
				o.grant.Load().Look() // whether it has lapsed is read, not asked
			}
			gone = missing
		} else {
			for key, g := range gone {
				if missing[key] != g {
					delete(gone, key)
				}
			}
		}
		if len(gone) == 0 || look == 2 {
			return gone, nil
		}
	}
}
