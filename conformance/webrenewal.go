package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// renewalResult is a renewal that worked.
type renewalResult struct{ before, after tokenstore.Grant }

func (r renewalResult) rotated() bool { return !r.before.RefreshToken.Equal(r.after.RefreshToken) }

// renewalChecks are W10.
func renewalChecks() []*check {
	const requirement = "W10"
	return []*check{
		{
			id: "W10-auth-renewal", requirement: requirement, duty: OfAuthorizationServer, needs: []need{needOwner},
			rule:   "The refresh token renews the access token, without the owner's user.",
			remedy: "Issue refresh tokens to this application, and take them at the token endpoint; the error has the server's words.",
			probe: func(r *run, ctx context.Context, t *trial) {
				result, err := r.renew(ctx, r.owner)
				tried := "renew the access token of " + r.owner.Key().SubscriptionID.String()
				if err != nil {
					r.noteOddID(err)
					t.saw(tried, "%v", err)
					if isAnswer(err) {
						t.fail("%v", err)
					} else {
						t.error("%v", err)
					}
					return
				}
				t.saw(tried, "a new one until %s; the refresh token was %s", result.after.AccessExpiry.UTC().Format(time.RFC3339),
					map[bool]string{true: "replaced", false: "kept"}[result.rotated()])
				t.pass()
			},
		},
		{
			id: "W10-auth-rotation", requirement: requirement, duty: OfAuthorizationServer, needs: []need{needOwner}, controls: []string{"W10-auth-renewal"},
			rule:       "A renewal replaces the refresh token of an application that does not prove who it is (RFC 9700 section 4.14.2).",
			remedy:     "Issue a new refresh token at each renewal, and end the grant when an older one comes again; or bind it to a key (DPoP) or a certificate.",
			weaknesses: []string{"CWE-613", "API2:2023"},
			probe: func(r *run, _ context.Context, t *trial) {
				result := r.web.renewals[r.owner.Key().SubscriptionID.String()]
				tried := "compare the refresh tokens before and after the renewal"
				switch {
				case result.rotated():
					t.saw(tried, "they differ")
					t.pass()
				case r.method() != fdsclient.AuthNone:
					t.saw(tried, "they are the same")
					t.notApplicable("the application proves who it is at each renewal, so that the refresh token need not be replaced")
				case !result.after.ProofKey.IsZero():
					t.saw(tried, "they are the same, and bound to a key")
					t.notApplicable("the refresh token is bound to a key (DPoP), so that it need not be replaced")
				default:
					t.saw(tried, "they are the same")
					t.fail("the refresh token of a public client serves for ever, for whoever has a copy")
				}
			},
		},
		{
			id: "W10-auth-refresh-reuse", requirement: requirement, duty: OfAuthorizationServer, needs: []need{needRevocable}, controls: []string{"W10-auth-renewal"}, negative: true,
			rule:       "A refresh token that was replaced is refused.",
			remedy:     "Refuse a refresh token that was used before, and end its grant (RFC 9700 section 4.14.2); a repetition within about half a minute, for an answer that was lost, may have the same answer again.",
			weaknesses: []string{"CWE-294", "CWE-613", "API2:2023"},
			probe:      (*run).probeReuse,
		},
	}
}

// isAnswer reports whether an error is what the authorization server's answer says, and not that
// none came.
func isAnswer(err error) bool {
	for _, class := range []error{fds.ErrSignInRequired, fds.ErrSubscriptionID, fds.ErrNoSubscription, fds.ErrSubscriptionChanged, fds.ErrIssuer, fds.ErrAccessDenied, errSameToken} {
		if errors.Is(err, class) {
			return true
		}
	}
	return errors.As(err, new(*fdsclient.OAuthError)) || !errors.Is(err, fds.ErrUnavailable)
}

var errSameToken = errors.New("the renewal brought the same access token again")

// renew renews an owner's grant as the client does: locked, reserved and saved in its store. It
// is not cut short: what the server issues cannot be had again.
func (r *run) renew(ctx context.Context, owner *fdsclient.Owner) (renewalResult, error) {
	before, err := r.grantOf(ctx, owner)
	if err != nil {
		return renewalResult{}, err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx)) // of its connections: until all is saved
	defer cancel()
	config := r.config.Client
	config.Provider.Dial = r.within(life)
	config.Store, config.Logger = &expiredStore{Store: config.Store, grant: before}, slog.New(slog.DiscardHandler)
	client, err := fdsclient.New(config)
	if err != nil {
		return renewalResult{}, err
	}
	found, err := client.Owner(ctx, owner.Key().SubscriptionID)
	if err == nil {
		_, err = found.Token(ctx)
	}
	if closing := client.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return renewalResult{}, err
	}
	after, err := r.grantOf(ctx, owner)
	if err != nil {
		return renewalResult{}, err
	}
	if after.AccessToken.Equal(before.AccessToken) {
		return renewalResult{}, errSameToken
	}
	result := renewalResult{before, after}
	if r.web.renewals == nil {
		r.web.renewals = make(map[string]renewalResult)
	}
	r.web.renewals[owner.Key().SubscriptionID.String()] = result
	return result, nil
}

// expiredStore shows the access token of one grant as over, as long as it is that one: what is
// stored says when it ends.
type expiredStore struct {
	tokenstore.Store
	grant tokenstore.Grant
}

func (s *expiredStore) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	g, err := s.Store.Load(ctx, key)
	if err == nil && s.isIt(g) {
		g.AccessExpiry = time.Now().Add(-time.Minute).Round(0)
	}
	return g, err
}

func (s *expiredStore) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	return s.Store.Save(ctx, s.asItIs(g))
}

func (s *expiredStore) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	return s.Store.Reserve(ctx, s.asItIs(g))
}

func (s *expiredStore) isIt(g tokenstore.Grant) bool {
	return g.Key == s.grant.Key && g.AccessToken.Equal(s.grant.AccessToken)
}

func (s *expiredStore) asItIs(g tokenstore.Grant) tokenstore.Grant {
	if s.isIt(g) {
		g.AccessExpiry = s.grant.AccessExpiry
	}
	return g
}

// graceWait is how long a refresh token that was replaced may be taken once more: providers that
// repeat a lost answer do so for about half a minute.
var graceWait = 40 * time.Second

func (r *run) probeReuse(ctx context.Context, t *trial) {
	owner := r.revocable()
	id := owner.Key().SubscriptionID.String()
	result, err := r.renew(ctx, owner)
	if err != nil {
		t.error("the grant of %s cannot be renewed: %v", id, err)
		return
	}
	t.saw("renew the access token of "+id, "it worked")
	if !result.rotated() {
		t.notApplicable("the refresh token is not replaced, as W10-auth-rotation tells")
		return
	}
	again, err := r.useOld(ctx, result)
	tried := "use the refresh token that was replaced"
	if !taken(t, tried, again, err) {
		return
	}
	switch same := again.RefreshToken.Equal(result.after.RefreshToken); {
	case same:
		t.saw(tried, "it has the same answer again, which brings nobody anything new")
	case r.config.Client.Provider.ReplaysRefreshTokens:
		t.saw(tried, "it is taken again, as Provider.ReplaysRefreshTokens says")
	default:
		t.saw(tried, "it is taken again, and brings new tokens")
	}
	wait := graceWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)-askTimeout/2)
	}
	timer := time.NewTimer(max(0, wait))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		t.error("%v", context.Cause(ctx))
		return
	}
	tried = fmt.Sprintf("use it once more %v later", wait.Round(time.Second))
	again, err = r.useOld(ctx, result)
	if !taken(t, tried, again, err) {
		return
	}
	t.saw(tried, "it is taken")
	t.fail("a refresh token that was replaced serves on: whoever has an old copy reads the owner's data")
}

// useOld renews with the refresh token before, and returns the grant that came of it.
func (r *run) useOld(ctx context.Context, result renewalResult) (tokenstore.Grant, error) {
	old := result.before
	old.Revision, old.Renewal = "", tokenstore.Renewal{}
	old = expiring(old)
	store := tokenstore.OpenMemory()
	if _, err := store.Save(ctx, old); err != nil {
		return tokenstore.Grant{}, err
	}
	client, err := r.throwAway(ctx, func(c *fdsclient.Config) {
		c.Store, c.Provider.ReplaysRefreshTokens = store, false
	})
	if err != nil {
		return tokenstore.Grant{}, err
	}
	defer func() { _ = client.Close() }() // what it keeps is thrown away
	owner, err := onlyOwner(ctx, client)
	if err != nil {
		return tokenstore.Grant{}, err
	}
	token, err := owner.Token(ctx)
	if err != nil {
		return tokenstore.Grant{}, err
	}
	r.secret(token.Reveal())
	grant, err := store.Load(ctx, old.Key)
	r.secret(grant.RefreshToken.Reveal())
	return grant, err
}

// taken reports whether an old refresh token was taken; if not, it judges the refusal.
func taken(t *trial, tried string, _ tokenstore.Grant, err error) bool {
	if err == nil {
		return true
	}
	var refused *fdsclient.OAuthError
	errors.As(err, &refused)
	t.saw(tried, "%v", said(refused, err))
	switch {
	case refused != nil && (refused.Is(fds.ErrSignInRequired) || refusesGrant(refused)):
		t.pass()
	default:
		t.error("the token endpoint did not say whether it takes the token: %v", err)
	}
	return false
}
