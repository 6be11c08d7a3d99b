package conformance_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// checkOIDC checks an oidc-provider, with the Web API of a box beside it.
func checkOIDC(t *testing.T, options realtest.OIDCOptions, as func(*realtest.OIDC) fdsclient.Application) *conformance.Report {
	t.Helper()
	owners := []fdstest.Owner{{Spelling: fds.NewSubscriptionID().String()}, {Spelling: fds.NewSubscriptionID().String()}}
	server := realtest.OIDCProvider(t, options)
	api := fdstest.New(t, fdstest.Options{Quiet: true, Owners: owners, Devices: 3, VerifyToken: verified(server)})
	roots := api.RootCAs()
	roots.AppendCertsFromPEM(server.CAPEM)
	approves := func(owner fdstest.Owner) fdsclient.SignInOptions {
		return fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
			callback, err := server.Approve(ctx, address, owner.Spelling)
			if err == nil {
				_, err = server.Open(ctx, callback)
			}
			return err
		}}
	}
	person := approves(owners[1])
	config := conformance.Config{
		Client: fdsclient.Config{
			Provider:    fdsclient.Provider{Issuer: server.Issuer, APIURL: api.APIURL(), Roots: realtest.Trusting(roots)},
			Application: as(server),
			Store:       tokenstore.OpenMemory(),
			State:       new(statestore.Memory),
		},
		SignIn: &person,
	}
	client, err := fdsclient.New(config.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i, o := range owners {
		signedIn, err := client.SignIn(t.Context(), approves(o))
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			config.SpareOwners = append(config.SpareOwners, signedIn[0].Key().SubscriptionID)
		}
	}
	return check(t, config)
}

// verified verifies access tokens as a Web API of another make does, by go-oidc.
func verified(server *realtest.OIDC) func(context.Context, string) ([]fds.SubscriptionID, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	return func(ctx context.Context, token string) ([]fds.SubscriptionID, error) {
		ctx = oidc.ClientContext(ctx, client)
		provider, err := oidc.NewProvider(ctx, server.Issuer)
		if err != nil {
			return nil, err
		}
		checked, err := provider.Verifier(&oidc.Config{ClientID: server.Resource, SupportedSigningAlgs: []string{oidc.ES256}}).Verify(ctx, token)
		if err != nil {
			return nil, errors.New("the access token is not good")
		}
		var claims struct {
			Owner fds.SubscriptionID `json:"subscription_id"`
		}
		if err := checked.Claims(&claims); err != nil {
			return nil, err
		}
		return []fds.SubscriptionID{claims.Owner}, nil
	}
}

func asBasic(s *realtest.OIDC) fdsclient.Application {
	return fdsclient.Application{Name: "check", ClientID: s.Basic.ID, ClientSecret: fds.NewSecret(s.Basic.Secret)}
}

func asPublic(s *realtest.OIDC) fdsclient.Application {
	return fdsclient.Application{Name: "check", ClientID: s.Public.ID}
}

func TestACertifiedProviderIsFoundAsItIs(t *testing.T) {
	t.Parallel()
	// There is no token whose time is over, and no broker; the server's certificate is of today.
	clean := rows(outcomes(checkOIDC(t, realtest.OIDCOptions{}, asBasic)))
	for id, o := range clean {
		if want := map[string]conformance.Outcome{"W5-api-expired-token": untestable, "setup-certificate": notApplicable, "W2-auth-certificate": fail}; o != pass && o != want[id] && id[0] != 'M' {
			t.Errorf("%s is %s at a sound provider", id, o)
		}
	}
	public := all(notApplicable, "W4-auth-right-credentials", "W4-auth-wrong-credentials", "W4-auth-no-credentials").and(rows{"W4-application-credentials": fail})
	for _, one := range []struct {
		name    string
		options realtest.OIDCOptions
		as      func(*realtest.OIDC) fdsclient.Application
		rows    rows
	}{
		{"without PKCE", realtest.OIDCOptions{AcceptWithoutPKCE: true}, asBasic, rows{"W8-signin-pkce-demanded": fail}},
		{"without rotation", realtest.OIDCOptions{NoRotation: true}, asBasic, all(notApplicable, behindRenewal...)},
		{"without rotation, to a public client", realtest.OIDCOptions{NoRotation: true}, asPublic, public.and(rows{"W10-auth-rotation": fail, "W10-auth-refresh-reuse": notApplicable})},
		{"a public client", realtest.OIDCOptions{}, asPublic, public},
		{"pushed requests", realtest.OIDCOptions{PushedRequests: true}, asBasic, all(untestable, behindSignIn...)},
	} {
		t.Run(one.name, func(t *testing.T) {
			compare(t, checkOIDC(t, one.options, one.as), clean.and(one.rows))
		})
	}
}
