package docs_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// What operations.md shows.

// alerts is a hook for Config.Hooks. It is called where the thing happens, so it must be fast.
type alerts struct {
	toSupport  func(fds.OwnerKey, error) // who asks the owner's user to sign in
	toOperator func(what string, err error)
}

const tooLong = 15 * time.Minute

func (a alerts) OnSignInNeeded(e fdsclient.GrantEvent) {
	for _, owner := range e.Owners {
		a.toSupport(owner, e.Err)
	}
}

func (a alerts) OnRenewalFailing(e fdsclient.GrantEvent) {
	if time.Since(e.Since) > tooLong {
		a.toOperator("a grant is not renewed", e.Err)
	}
}

func (a alerts) OnStoreUnavailable(err error) { a.toOperator("the store of grants", err) }

func (a alerts) OnCertificate(owner fds.OwnerKey, err error) { a.toOperator("a certificate", err) }

func (a alerts) OnGap(e fdsclient.GapEvent) {
	if e.Change == fdsclient.GapFailing && (e.RetryAt.IsZero() || time.Since(e.Gap.Since) > tooLong) {
		a.toOperator("messages are missing", e.Err)
	}
}

// troubles remembers since when owners are not connected. Ask it of each owner, once a minute.
type troubles map[fds.OwnerKey]time.Time

// of says what is wrong with an owner for long.
func (t troubles) of(owner *fdsclient.Owner) string {
	c, key := owner.Condition(), owner.Key()
	if c.Polled || c.Connection.Phase == push.Connected {
		delete(t, key)
	} else if t[key].IsZero() {
		t[key] = time.Now()
	}
	switch since := t[key]; {
	case c.Failing != nil && c.Failing.Attempts > 10:
		return "the handler fails: " + c.Failing.Err.Error()
	case c.Gap != nil && time.Since(c.Gap.Since) > tooLong:
		return "messages are missing since " + c.Gap.From.String()
	case !since.IsZero() && time.Since(since) > tooLong:
		return fmt.Sprintf("not connected, %s: %v", c.Connection.Phase, c.Connection.Err)
	}
	return ""
}

// moveGrants moves all grants to another folder, under another passphrase. Nothing else uses the
// folders meanwhile.
func moveGrants(ctx context.Context, from, to tokenstore.FolderConfig) (moved int, err error) {
	old, err := tokenstore.OpenFolder(ctx, from)
	if err != nil {
		return 0, err
	}
	next, err := tokenstore.OpenFolder(ctx, to)
	if err != nil {
		return 0, err
	}
	return tokenstore.Move(ctx, old, next)
}

// serve makes the broker's folder, or brings it up to date for the owners who have signed in. When
// told is true a broker that is running must read its files anew.
func serve(ctx context.Context, client *fdsclient.Client, c brokerconfig.Config) (told bool, err error) {
	owners, err := client.Owners(ctx)
	if err != nil {
		return false, err
	}
	for _, owner := range owners {
		c.Owners = append(c.Owners, owner.Root()) // spelt as the provider does
	}
	result, err := brokerconfig.Write(ctx, c)
	if err != nil {
		return false, err
	}
	if len(result.Faults) > 0 {
		return false, fmt.Errorf("the broker's folder: %s", result.Faults[0])
	}
	return result.Reload, nil
}

func TestTheBrokersFolderServesTheOwnersWhoHaveSignedIn(t *testing.T) {
	provider := start(fdstest.Options{})
	defer provider.Close()
	client, owners := signIn(provider, fds.Dialect{}, fdsclient.Config{})
	defer client.Close()
	c := brokerconfig.Config{Dir: filepath.Join(t.TempDir(), "broker"), Hosts: []string{"localhost"}, Passphrase: fds.NewSecret("for tests only")}
	if told, err := serve(t.Context(), client, c); told || err != nil {
		t.Fatalf("at first: %v, %v", told, err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "owners", owners[0].Key().SubscriptionID.String()+".pem")); err != nil {
		t.Error(err)
	}
	c.Providers = []brokerconfig.Provider{{Name: "soap-inc", Connections: 2}}
	if told, err := serve(t.Context(), client, c); !told || err != nil {
		t.Errorf("with a provider: %v, %v", told, err)
	}
	// What the page says of an edit by hand.
	acl := filepath.Join(c.Dir, "acl")
	data, err := os.ReadFile(acl)
	if err == nil {
		err = os.WriteFile(acl, append(data, "topic nothing everything\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := serve(t.Context(), client, c); err == nil {
		t.Error("an ACL that Mosquitto cannot read is no fault")
	}
}

func TestWhatIsAlertedOnIsTold(t *testing.T) {
	provider := start(fdstest.Options{})
	defer provider.Close()
	var told []string
	hook := alerts{
		toSupport:  func(_ fds.OwnerKey, err error) { told = append(told, err.Error()) },
		toOperator: func(what string, _ error) { told = append(told, what) },
	}
	client, owners := signIn(provider, fds.Dialect{}, fdsclient.Config{Hooks: []any{hook}}) // which judges the hook
	defer client.Close()
	key := owners[0].Key()

	hook.OnSignInNeeded(fdsclient.GrantEvent{Owners: []fds.OwnerKey{key}, Err: fds.ErrSignInRequired})
	hook.OnRenewalFailing(fdsclient.GrantEvent{Since: time.Now()}) // not yet
	hook.OnRenewalFailing(fdsclient.GrantEvent{Since: time.Now().Add(-time.Hour)})
	gap := fdsclient.GapEvent{Change: fdsclient.GapFailing, Gap: fdsclient.Gap{Since: time.Now()}}
	hook.OnGap(gap)
	gap.RetryAt = time.Now()
	hook.OnGap(gap) // not yet
	gap.Gap.Since = time.Now().Add(-time.Hour)
	hook.OnGap(gap)
	want := []string{"sign in again", "a grant is not renewed", "messages are missing", "messages are missing"}
	if !slices.Equal(told, want) {
		t.Errorf("told was %q, want %q", told, want)
	}

	seen := troubles{}
	if trouble := seen.of(owners[0]); trouble != "" {
		t.Errorf("at once: %s", trouble)
	}
	seen[key] = seen[key].Add(-time.Hour)
	if trouble := seen.of(owners[0]); trouble != "not connected, stopped: <nil>" {
		t.Errorf("an hour later: %q", trouble)
	}
}

func TestGrantsMoveToAFolderUnderAnotherKey(t *testing.T) {
	folder := func() tokenstore.FolderConfig {
		identity, err := age.GenerateX25519Identity() // quicker than a passphrase
		if err != nil {
			t.Fatal(err)
		}
		return tokenstore.FolderConfig{Path: filepath.Join(t.TempDir(), "grants"), Identity: fds.NewSecret(identity.String())}
	}
	from, to := folder(), folder()
	store, err := tokenstore.OpenFolder(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	grant := tokenstore.Grant{
		Key:          tokenstore.Key{Issuer: "https://auth.example.com", ClientID: "fleet-app", GrantID: "1"},
		RefreshToken: fds.NewSecret("a refresh token"),
	}
	if _, err := store.Save(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	if moved, err := moveGrants(t.Context(), from, to); moved != 1 || err != nil {
		t.Fatalf("%d grants were moved: %v", moved, err)
	}
	if store, err = tokenstore.OpenFolder(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if !onlyGrant(t, store).Equal(grant) {
		t.Error("the grant is another one now")
	}
}

// TestAnOldCopyOfAGrantEndsTheGrant is why a backup of grants is put back with care. A provider
// that takes the second use of a refresh token for theft ends what was issued since, too.
func TestAnOldCopyOfAGrantEndsTheGrant(t *testing.T) {
	for _, replays := range []bool{false, true} {
		t.Run(fmt.Sprintf("replayed %v", replays), func(t *testing.T) {
			provider := start(fdstest.Options{})
			defer provider.Close()
			live := tokenstore.OpenMemory()
			client, _ := signIn(provider, fds.Dialect{}, fdsclient.Config{Store: live})
			client.Close()

			if replays { // the same answer again, as some providers give it for a while
				provider.Inject(fdstest.ReplayRefresh(time.Minute))
			}
			old := onlyGrant(t, live)
			if err := renewed(t, provider, live); err != nil { // a day of life
				t.Fatal(err)
			}
			newest := onlyGrant(t, live)
			if err := renewed(t, provider, storeWith(t, old)); (err == nil) != replays {
				t.Errorf("with the old copy: %v", err)
			}
			if err := renewed(t, provider, storeWith(t, newest)); (err == nil) != replays {
				t.Errorf("with the newest grant after that: %v", err)
			}
		})
	}
}

// renewed has a new process renew the grant of a store, whose access token has expired.
func renewed(t *testing.T, provider *fdstest.Provider, store tokenstore.Store) error {
	t.Helper()
	grant := onlyGrant(t, store)
	grant.AccessToken, grant.AccessExpiry = fds.Secret{}, time.Time{}
	if _, err := store.Save(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	client, err := fdsclient.New(fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: provider.Issuer(), Roots: provider.Roots},
		Application: fdsclient.Application{ClientID: provider.PublicApplication().ID},
		Store:       store, State: new(statestore.Memory), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	owners, err := client.Owners(t.Context())
	if err != nil || len(owners) != 1 {
		t.Fatal(len(owners), err)
	}
	_, err = owners[0].Token(t.Context())
	return err
}

func onlyGrant(t *testing.T, store tokenstore.Store) tokenstore.Grant {
	t.Helper()
	for entry, err := range store.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		grant, err := store.Load(t.Context(), entry.Key)
		if err != nil {
			t.Fatal(err)
		}
		return grant
	}
	t.Fatal("the store is empty")
	return tokenstore.Grant{}
}

func storeWith(t *testing.T, grant tokenstore.Grant) tokenstore.Store {
	t.Helper()
	store := tokenstore.OpenMemory()
	grant.Revision = ""
	if _, err := store.Save(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	return store
}
