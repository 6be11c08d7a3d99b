package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// SignInOptions of SignIn and BeginSignIn. The zero value signs in with the
// system's browser.
type SignInOptions struct {
	// OpenBrowser opens the address where the owner's user begins: a page of this
	// process on the loopback, for one use in one browser, which leads on to the
	// provider. Nil opens the system's browser, which gets of this process's
	// environment what a browser needs and no more. An error is logged and the
	// sign-in goes on: the user may open the address from ShowURL by hand. A program
	// that plays the browser, as in a test, needs one cookie jar for that address and
	// the redirect; see package fdstest.
	OpenBrowser func(ctx context.Context, url string) error
	// ShowURL is told that address before the browser opens; with ReadRedirect the
	// provider's own, which a browser elsewhere can open. It is for this user's eyes
	// alone, and so it is not logged. Nil shows nothing.
	ShowURL func(url string)
	// Parameters are added to the authorization request: login_hint, ui_locales,
	// acr_values and whatever a provider asks for. One replaces what the SDK would
	// send by that name, and an empty value takes that away: {"prompt": ""} leaves out
	// the prompt=consent that goes with offline_access, without which some providers
	// issue no refresh token. An ID token is needed where the scope that is sent has
	// openid. Those on which a sign-in's safety rests are refused.
	Parameters map[string]string
	// ReadRedirect lets a user sign in with a browser on another machine: it returns
	// the URL that the browser ended at, which the user pastes. It is called again
	// after a URL that does not belong to the sign-in, and no browser is opened
	// unless OpenBrowser says how; the loopback listens all the same, and a browser
	// of this machine that ends there shows what to paste. Its context ends with the
	// sign-in. An error of it ends the sign-in. It needs ShowURL.
	ReadRedirect func(ctx context.Context) (string, error)
}

// BeginSignIn is the first half of a sign-in whose browser is elsewhere: send the
// user to Attempt.URL, keep the Attempt in that user's session, and give it to
// FinishSignIn with the redirect that arrives at Application.RedirectURL. It
// checks first that the store can keep a grant.
func (c *Client) BeginSignIn(ctx context.Context, options SignInOptions) (Attempt, error) {
	if c.cfg.Application.RedirectURL == "" {
		return Attempt{}, fmt.Errorf("fdsclient: sign-in: %w: Application.RedirectURL is missing; SignIn uses the loopback instead", fds.ErrConfig)
	}
	return c.beginAt(ctx, c.cfg.Application.RedirectURL, options)
}

func (c *Client) beginAt(ctx context.Context, redirectURI string, options SignInOptions) (Attempt, error) {
	m, err := c.readyForSignIn(ctx)
	if err != nil {
		return Attempt{}, err
	}
	begun, err := c.auth.NewAttempt(ctx, m, redirectURI, options.Parameters)
	return Attempt{begun}, err
}

// readyForSignIn returns the provider's metadata, or why nobody can sign in. Before anyone
// does: no fresh grant may be lost for want of a store.
func (c *Client) readyForSignIn(ctx context.Context) (*authserver.Metadata, error) {
	if c.grants.Closed() {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", fds.ErrClientClosed)
	}
	if err := c.store.Probe(ctx); err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: the grant could not be kept: %w", err)
	}
	return c.auth.Metadata(ctx)
}

// FinishSignIn is the second half: it checks the redirect (state, issuer, error),
// trades the code, reads whose grant it is, saves it, and only then returns the
// owners. callbackURL is the whole URL of the redirect, or its path and query.
// An error that matches fds.ErrForeignRedirect leaves the attempt pending; any other
// from after the provider's metadata are known uses it up. Others: fds.ErrAccessDenied and
// *OAuthError when the user or the provider refused, fds.ErrIssuer, fds.ErrAttemptUsed,
// fds.ErrAttemptExpired, fds.ErrNoSubscription, fds.ErrSubscriptionID, and those of the
// store.
func (c *Client) FinishSignIn(ctx context.Context, attempt Attempt, callbackURL string) ([]*Owner, error) {
	if attempt.begun.Issuer != c.cfg.Provider.Issuer || attempt.begun.ClientID != c.cfg.Application.ClientID {
		return nil, fmt.Errorf("fdsclient: sign-in: %w: the attempt was begun at another provider or by another application", fds.ErrForeignRedirect)
	}
	if !c.grants.Begin() {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", fds.ErrClientClosed)
	}
	defer c.grants.End()
	m, err := c.auth.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	code, err := c.auth.ReadRedirect(m, attempt.begun, callbackURL)
	if errors.Is(err, fds.ErrForeignRedirect) {
		return nil, err
	}
	if err == nil {
		// The code can be spent once. The store that could keep a grant when the sign-in
		// began may be full by now.
		if err := c.store.Probe(ctx); err != nil {
			return nil, fmt.Errorf("fdsclient: sign-in: the grant could not be kept, so the code was not used; mend that and finish again: %w", err)
		}
	}
	if !c.used.take(attempt) {
		return nil, fmt.Errorf("fdsclient: sign-in: %w; begin a new one", fds.ErrAttemptUsed)
	}
	if err != nil {
		return nil, err
	}
	if time.Now().After(attempt.begun.Expires) {
		return nil, fmt.Errorf("fdsclient: sign-in: %w at %s; begin a new one", fds.ErrAttemptExpired, attempt.begun.Expires.UTC().Format(time.RFC3339))
	}
	a, err := c.auth.Exchange(ctx, attempt.begun, code)
	if err != nil {
		return nil, err
	}
	return c.saveSignIn(ctx, m, a, signedIn{nonce: attempt.begun.Nonce, proof: attempt.begun.Proof})
}

// signedIn is how an answer was obtained that begins a grant.
type signedIn struct {
	grantType string             // "" for those that a refresh token carries on
	nonce     fds.Secret         // that an ID token must have, if any
	proof     *authserver.Prover // that the tokens are bound to, if any
}

// saveSignIn reads whose grant an answer is and saves it.
func (c *Client) saveSignIn(ctx context.Context, m *authserver.Metadata, a authserver.Answer, how signedIn) ([]*Owner, error) {
	ids, err := c.auth.SignedIn(ctx, m, a, how.nonce, how.proof)
	if err != nil {
		return nil, err
	}
	if a.Refresh.IsZero() && how.grantType != grants.ClientCredentials {
		c.log.Warn("sign-in gave no refresh token: the user must sign in again when the access token expires", "expires", a.Expiry, "scopes", a.Scopes)
	}
	return c.saveGrant(ctx, ids, a, how)
}

// signInTimeout bounds how long a sign-in waits for others to be stored.
const signInTimeout = 2 * time.Minute

// saveGrant saves a new grant in the place of those that it replaces. It cannot
// be cancelled: the user has done their part.
func (c *Client) saveGrant(ctx context.Context, ids []string, a authserver.Answer, how signedIn) ([]*Owner, error) {
	ctx = context.WithoutCancel(ctx)
	waiting, cancel := context.WithTimeout(ctx, signInTimeout)
	defer cancel()
	// One sign-in at a time, of all processes: two at once of the same owner
	// would each see no grant to replace and leave two.
	turn := tokenstore.Key{Issuer: c.cfg.Provider.Issuer, ClientID: c.cfg.Application.ClientID, GrantID: "sign-in"}
	lease, err := c.store.Lock(waiting, turn)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: the grant could not be kept: %w", err)
	}
	defer lease.Release()
	ctx, cancel = context.WithTimeout(ctx, grants.SaveTimeout)
	defer cancel()

	now := time.Now().Round(0)
	record := tokenstore.Grant{
		Key:           tokenstore.Key{Issuer: c.cfg.Provider.Issuer, ClientID: c.cfg.Application.ClientID},
		Subscriptions: ids,
		Others:        grants.OtherThan(ids, c.auth.Named(a.Access)),
		GrantType:     how.grantType,
		RefreshToken:  a.Refresh,
		AccessToken:   a.Access,
		TokenType:     a.Kind,
		AccessExpiry:  a.Expiry,
		RefreshExpiry: a.RefreshExpiry,
		Scopes:        a.Scopes,
		Created:       now,
		Renewed:       now,

		CertificateThumbprint: a.Thumbprint,
	}
	if how.proof != nil {
		key, err := how.proof.Encoded()
		if err != nil {
			return nil, fmt.Errorf("fdsclient: sign-in: %w", err)
		}
		record.ProofKey = key
	}
	if record.Scopes == nil { // RFC 6749 section 5.1: as asked for
		record.Scopes = c.cfg.Application.Scopes
	}
	entries, _, err := c.entries(ctx, func(err error) { go c.storeUnavailable(err) }) // outside the work that Close waits for
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: the grant could not be kept: %w", err)
	}
	replaced := chooseGrantID(&record, entries)
	owners, err := c.establish(ctx, record, replaced)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: the grant could not be kept: %w", err)
	}
	if why := c.untold(record); why != nil {
		c.log.LogAttrs(ctx, slog.LevelWarn, "the data of owners who signed in together cannot be told apart: none is read for one of them, and what push may lose is not fetched", ownersAttr(keysOf(owners)), slog.Any("error", why))
	}
	for _, e := range replaced {
		if err := c.removeOwners(ctx, e.Key, ids); err != nil {
			c.log.Warn("an older grant of the same owner was not removed", "error", err)
		}
	}
	c.grants.Start()
	c.ownersAdded(owners)
	return owners, nil
}

// chooseGrantID chooses the record's grant ID: that of the stored grant for the same
// owners, which it then replaces in one step, or a new one. It returns the other
// grants that name one of the owners: an owner has one grant.
func chooseGrantID(record *tokenstore.Grant, entries []tokenstore.Entry) (others []tokenstore.Entry) {
	wanted := grants.IDs(record.Subscriptions)
	for _, e := range entries {
		have := grants.IDs(e.Subscriptions)
		overlap := 0
		for id := range have {
			if wanted[id] {
				overlap++
			}
		}
		switch {
		case overlap == 0:
		case record.GrantID == "" && overlap == len(wanted) && overlap == len(have):
			record.GrantID = e.GrantID
		default:
			others = append(others, e)
		}
	}
	if record.GrantID == "" {
		record.GrantID = fds.NewSubscriptionID().String() // any random UUID
	}
	return others
}

// establish stores a new grant and makes its owners known, as one step for whoever
// renews it or signs out. The replaced ones are theirs no longer.
func (c *Client) establish(ctx context.Context, record tokenstore.Grant, replaced []tokenstore.Entry) ([]*Owner, error) {
	lease, err := c.store.Lock(ctx, record.Key)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	stored, err := c.store.Load(ctx, record.Key)
	switch {
	case err == nil:
		record.Revision = stored.Revision
	case errors.Is(err, fds.ErrCorrupt):
		err = c.store.Delete(ctx, record.Key)
	case errors.Is(err, fds.ErrNoGrant):
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if record.Revision, err = c.store.Save(ctx, record); err != nil {
		return nil, err
	}
	for _, e := range replaced { // a listing under way may have seen nothing but these
		c.known.noteGone(grants.IDs(record.Subscriptions), e.Key)
	}
	owners := c.known.register(c, record.Entry(), false)
	owners[0].grant.Load().Adopt(record)
	return owners, nil
}

// removeOwners removes owners from a grant, and the grant when none is left. It is
// not revoked: some servers would end the new grant of the same user with it.
func (c *Client) removeOwners(ctx context.Context, key tokenstore.Key, ids []string) error {
	lease, err := c.store.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer lease.Release()
	record, err := c.store.Load(ctx, key)
	switch {
	case errors.Is(err, fds.ErrNoGrant):
		return nil
	case errors.Is(err, fds.ErrCorrupt):
		return c.store.Delete(ctx, key)
	case err != nil:
		return err
	}
	taken := grants.IDs(ids)
	record = grants.Without(record, taken)
	c.known.noteGone(taken, key)
	if len(record.Subscriptions) > 0 {
		_, err := c.store.Save(ctx, record)
		return err
	}
	if err := c.store.Delete(ctx, key); err != nil {
		return err
	}
	c.known.remove(key)
	return nil
}

// oneGrantEach completes sign-ins that were cut short between storing the new
// grant and taking its owners out of the old one: of two that name an owner the
// newer counts.
func (c *Client) oneGrantEach(ctx context.Context, entries []tokenstore.Entry) []tokenstore.Entry {
	of := make(map[fds.SubscriptionID]int)
	for i := range entries {
		for id := range grants.IDs(entries[i].Subscriptions) {
			j, twice := of[id]
			if !twice {
				of[id] = i
				continue
			}
			a, errA := c.store.Load(ctx, entries[i].Key)
			b, errB := c.store.Load(ctx, entries[j].Key)
			if errA != nil || errB != nil {
				continue // told when the grant is used
			}
			newer, older := i, j
			if a.Created.Before(b.Created) {
				newer, older = j, i
			}
			if err := c.removeOwners(ctx, entries[older].Key, []string{id.String()}); err != nil {
				c.log.Warn("an older grant of the same owner was not removed", "owner", fds.OwnerKey{Issuer: c.cfg.Provider.Issuer, SubscriptionID: id}, "error", err)
			}
			of[id] = newer
			entries[older].Subscriptions = slices.DeleteFunc(slices.Clone(entries[older].Subscriptions), func(spelling string) bool {
				other, err := fds.ParseSubscriptionID(spelling)
				return err == nil && other == id
			})
		}
	}
	return entries
}
