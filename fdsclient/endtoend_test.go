package fdsclient_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// parts are the servers of one end-to-end test: ours, or ones that we did not
// write.
type parts struct {
	provider     fdsclient.Provider
	clientID     string
	certificates certificateFunc
	approve      func(ctx context.Context, url string) error
	publish      func(ctx context.Context, clientID, payload string) error
	secrets      func() []string
}

func TestOneOwnerEndToEnd(t *testing.T) {
	t.Run("on the provider in a box", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { endToEnd(t, boxParts(t), tokenstore.OpenMemory()) })
	})
	t.Run("on oidc-provider, Mosquitto and a Secret Service", func(t *testing.T) {
		fdsclient.RenewAgainAfter(t, time.Second)
		real := realParts(t)
		realtest.SecretService(t)
		store, err := tokenstore.OpenKeyring(tokenstore.KeyringConfig{Service: "fds-go end to end", LockFolder: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		endToEnd(t, real, store)
	})
}

func boxParts(t *testing.T) parts {
	t.Helper()
	p := start(t, fdstest.Options{Devices: 3, AccessTokenLifetime: 5 * time.Second})
	return parts{
		provider:     providerOf(p),
		clientID:     p.PublicApplication().ID,
		certificates: certificatesOf(p),
		approve:      func(ctx context.Context, url string) error { return p.Approve(ctx, url) },
		publish: func(ctx context.Context, _, payload string) error {
			return p.Publish(ctx, p.Owners()[0], []string{"devices", "status"}, []byte(payload), 1, false)
		},
		secrets: p.Secrets,
	}
}

func realParts(t *testing.T) parts {
	t.Helper()
	broker := realtest.Mosquitto(t, realtest.MosquittoOptions{})
	owner := fdstest.Owner{Spelling: fds.NewSubscriptionID().String()}
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{CA: broker.CA, SubscriptionIDs: []string{owner.Spelling}, AccessTokenTTL: 5 * time.Second})
	api := start(t, fdstest.Options{Owners: []fdstest.Owner{owner}, Devices: 3, VerifyToken: verify(t, server)})
	roots := api.RootCAs()
	roots.AppendCertsFromPEM(server.CAPEM)
	return parts{
		provider: fdsclient.Provider{Issuer: server.Issuer, APIURL: api.APIURL(), BrokerURL: broker.URL, Roots: realtest.Trusting(roots)},
		clientID: server.Public.ID,
		certificates: certificateFunc(func(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
			c := broker.IssueCertificate(owner.SubscriptionID.String(), realtest.CertificateOptions{}).TLS
			return &c, nil
		}),
		approve: func(ctx context.Context, url string) error {
			callback, err := server.Approve(ctx, url)
			if err == nil {
				_, err = server.Open(ctx, callback)
			}
			return err
		},
		publish: func(ctx context.Context, clientID, payload string) error {
			return broker.Publish(ctx, "fds/v2/"+clientID+"/devices/status", []byte(payload), 1)
		},
		secrets: server.Secrets,
	}
}

// verify returns whose data an access token of the server reads: go-oidc checks its
// signature, issuer, audience and expiry.
func verify(t *testing.T, server *realtest.OIDC) func(ctx context.Context, token string) ([]fds.SubscriptionID, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	return func(ctx context.Context, token string) ([]fds.SubscriptionID, error) {
		ctx = oidc.ClientContext(ctx, client)
		provider, err := oidc.NewProvider(ctx, server.Issuer)
		if err != nil {
			t.Error(err)
			return nil, err
		}
		checked, err := provider.Verifier(&oidc.Config{ClientID: server.Resource}).Verify(ctx, token)
		if err != nil {
			return nil, err
		}
		var claims struct {
			SubscriptionID fds.SubscriptionID `json:"subscription_id"`
		}
		err = checked.Claims(&claims)
		return []fds.SubscriptionID{claims.SubscriptionID}, err
	}
}

// endToEnd is the main job: sign in, restart, read, receive, renew, sign out.
func endToEnd(t *testing.T, on parts, store tokenstore.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cfg := fdsclient.Config{
		Provider:     on.provider,
		Application:  fdsclient.Application{Name: "end to end", ClientID: on.clientID},
		Store:        store,
		State:        &statestore.Memory{},
		Certificates: on.certificates,
	}
	seen := &hooks{}
	cfg.Hooks = []any{seen}

	client := open(t, cfg)
	signedIn, err := client.SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: on.approve})
	if err != nil {
		t.Fatal(err)
	}
	client.Close()

	client, owner := restart(t, cfg)
	if owner.Key() != signedIn[0].Key() {
		t.Fatalf("after the restart: %s, want %s", owner.Key(), signedIn[0].Key())
	}
	read := func() {
		t.Helper()
		devices, err := pull.Collect(owner.Pull().Specifications(ctx, pull.Query{}))
		if err != nil || len(devices) != 3 || devices[0].ID() == "" {
			t.Fatalf("%d devices, %v", len(devices), err)
		}
	}
	read()

	var box inbox
	stop := runClient(t, client, box.handle)
	for _, payload := range []string{`{"n":1}`, `{"n":2}`} {
		// Published again until it has arrived: who publishes before the first
		// SUBSCRIBE speaks to no one.
		eventually(t, "message "+payload, func() bool {
			if err := on.publish(ctx, owner.Root().ClientID(), payload); err != nil {
				t.Fatal(err)
			}
			return strings.Contains(box.payloads(owner.Key().SubscriptionID), payload)
		})
	}

	first := token(t, owner)
	eventually(t, "a renewal in the background", func() bool { return seen.count(func() int { return seen.renewed }) > 1 })
	if token(t, owner).Reveal() == first.Reveal() {
		t.Error("the token was not renewed")
	}
	read()
	if n := seen.count(func() int { return len(seen.failing) + len(seen.needed) }); n != 0 {
		t.Errorf("%d renewals failed: %v", n, seen.failing)
	}

	if err := owner.SignOut(ctx); err != nil {
		t.Fatal(err)
	}
	stop()
	if left, err := client.Owners(ctx); err != nil || len(left) != 0 {
		t.Errorf("after the sign-out: %v, %v", left, err)
	}
	if n := len(on.secrets()); n < 5 {
		t.Errorf("only %d secrets passed: was the flow real?", n)
	}
}
