package fdsclient_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestOneGrantForSeveralOwners(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	all := p.Owners()
	owners := signIn(t, client, p, all...)
	if len(owners) != 3 {
		t.Fatalf("%d owners, want 3", len(owners))
	}
	if token(t, owners[0]).Reveal() != token(t, owners[2]).Reveal() {
		t.Error("the owners of one grant have several tokens")
	}
	var result *fdsclient.SignOutError
	if err := owners[0].SignOut(t.Context()); !errors.Is(err, fds.ErrGrantShared) || !errors.As(err, &result) || result.Revoked || !result.Deleted || len(result.HeldBy) != 2 {
		t.Fatal(err)
	}
	if n := p.Requests(fdstest.RevocationEndpoint); n != 0 {
		t.Error("signing out one of three revoked the grant of all")
	}
	if got := stored(t, cfg.Store).Subscriptions; len(got) != 2 {
		t.Errorf("stored for %v", got)
	}
	token(t, owners[1])

	// Who signs in again for one of them alone takes it out of the shared grant.
	signIn(t, client, p, all[1])
	named := 0
	for e, err := range cfg.Store.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		named += len(e.Subscriptions)
	}
	if named != 2 {
		t.Errorf("the stored grants name %d owners, want each of two once", named)
	}
	left, err := client.Owners(t.Context())
	if err != nil || len(left) != 2 {
		t.Fatalf("%d owners, %v; want 2", len(left), err)
	}
	for _, o := range left {
		if err := o.SignOut(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := p.Requests(fdstest.RevocationEndpoint); n != 2 {
		t.Errorf("%d revocations, want 2: one for each grant", n)
	}
	if left, _ := client.Owners(t.Context()); len(left) != 0 {
		t.Errorf("still signed in: %v", left)
	}
	if _, err := owners[1].Token(t.Context()); !errors.Is(err, fds.ErrNoOwner) {
		t.Errorf("a token after the sign-out: %v", err)
	}
}

func TestSigningInAgainReplacesTheGrant(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	first := signIn(t, client, p)[0]
	before := token(t, first)
	second := signIn(t, client, p)[0]
	if first != second {
		t.Error("the same owner is two Owners")
	}
	stored(t, cfg.Store) // just one
	if token(t, first).Reveal() == before.Reveal() {
		t.Error("the old grant's token is still given out")
	}
}

func TestASignInCutShortLeavesTheNewerGrantAlone(t *testing.T) {
	p := start(t, fdstest.Options{})
	for _, oldID := range []string{"0", "z"} { // listed before the new one, and after
		cfg := configure(t, p)
		signIn(t, open(t, cfg), p)
		fresh := stored(t, cfg.Store)
		old := fresh
		old.GrantID, old.Revision, old.AccessToken = oldID, "", fds.NewSecret("old")
		old.Created, old.Subscriptions = fresh.Created.Add(-time.Hour), append([]string{p.Owners()[1].Spelling}, fresh.Subscriptions...)
		if _, err := cfg.Store.Save(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		client := open(t, cfg)
		owners, err := client.Owners(t.Context())
		if err != nil || len(owners) != 2 {
			t.Fatalf("%v, %v; want the two owners once each", owners, err)
		}
		o, err := client.Owner(t.Context(), p.Owners()[0].SubscriptionID)
		if err != nil {
			t.Fatal(err)
		}
		if token(t, o).Reveal() != fresh.AccessToken.Reveal() {
			t.Error("the older grant is used")
		}
		if err := o.SignOut(t.Context()); err != nil {
			t.Error(err)
		}
		if left := stored(t, cfg.Store); len(left.Subscriptions) != 1 || left.Subscriptions[0] != p.Owners()[1].Spelling {
			t.Errorf("after the sign-out there is a grant for %v", left.Subscriptions)
		}
	}
}

func TestASignOutSaysWhichPartFailed(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	owner := signIn(t, client, p)[0]
	defer p.Inject(fdstest.Answer(fdstest.RevocationEndpoint, 503, "text/plain", ""))()
	err := owner.SignOut(t.Context())
	var result *fdsclient.SignOutError
	if !errors.As(err, &result) || result.Revoked || !result.Deleted || !strings.Contains(err.Error(), "did not revoke") {
		t.Errorf("error %v", err)
	}
	for range cfg.Store.List(t.Context()) {
		t.Error("the grant is still stored")
	}
}

func TestASignOutAuthenticatesTheApplicationAsASignInDoes(t *testing.T) {
	p := start(t, fdstest.Options{})
	const id, secret = "fleet app+1", "a b&c:d%+é/=" // each encoded in its own way
	if err := p.AddClient(fdstest.Application{ID: id, Secret: secret, RedirectURIs: p.PublicApplication().RedirectURIs}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []fdsclient.AuthMethod{fdsclient.AuthClientSecretBasic, fdsclient.AuthClientSecretPost} {
		cfg := configure(t, p)
		cfg.Application.ClientID, cfg.Application.ClientSecret, cfg.Application.AuthMethod = id, fds.NewSecret(secret), method
		owner := signIn(t, open(t, cfg), p)[0]
		if err := owner.SignOut(t.Context()); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		if n := p.RevokeGrants(p.Owners()[0]); n != 0 {
			t.Errorf("%s: %d grants still live at the provider", method, n)
		}
	}
}
