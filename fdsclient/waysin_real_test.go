package fdsclient_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// certified returns the certificate for Application.Certificate.
func certified(c realtest.Certificate) func(context.Context) (*tls.Certificate, error) {
	return func(context.Context) (*tls.Certificate, error) { return &c.TLS, nil }
}

// atOIDC configures an application of an oidc-provider.
func atOIDC(t *testing.T, server *realtest.OIDC, application fdsclient.Application) fdsclient.Config {
	t.Helper()
	application.Name = "test"
	return fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: server.Issuer, Roots: realtest.Trusting(server.RootCAs)},
		Application: application,
		Store:       tokenstore.OpenMemory(),
		State:       &statestore.Memory{},
	}
}

// atBrowser plays the person at an oidc-provider.
func atBrowser(server *realtest.OIDC) fdsclient.SignInOptions {
	return fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		callback, err := server.Approve(ctx, address)
		if err == nil {
			_, err = server.Open(ctx, callback)
		}
		return err
	}}
}

// claimsOf reads an access token that is a JWT.
func claimsOf(t *testing.T, token fdsclient.Token) map[string]any {
	t.Helper()
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatal("the access token is no JWT")
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func confirmation(t *testing.T, token fdsclient.Token, member string) string {
	t.Helper()
	cnf, _ := claimsOf(t, token)["cnf"].(map[string]any)
	value, _ := cnf[member].(string)
	return value
}

func signerOf(t *testing.T, c realtest.Certificate) crypto.Signer {
	t.Helper()
	key, err := fdsclient.ParsePrivateKey(c.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestEveryWayOfAuthenticationWorksAtACertifiedProvider signs in, restarts,
// renews and signs out with each method, plain and with what may come on top.
func TestEveryWayOfAuthenticationWorksAtACertifiedProvider(t *testing.T) {
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	strict := realtest.OIDCProvider(t, realtest.OIDCOptions{PushedRequests: true, ProofNonce: true})
	applications := map[string]func(*realtest.OIDC) fdsclient.Application{
		"none": func(s *realtest.OIDC) fdsclient.Application {
			return fdsclient.Application{ClientID: s.Public.ID}
		},
		"client_secret_basic": func(s *realtest.OIDC) fdsclient.Application {
			return fdsclient.Application{ClientID: s.Basic.ID, ClientSecret: fds.NewSecret(s.Basic.Secret)}
		},
		"client_secret_post": func(s *realtest.OIDC) fdsclient.Application {
			return fdsclient.Application{ClientID: s.Post.ID, ClientSecret: fds.NewSecret(s.Post.Secret), AuthMethod: fdsclient.AuthClientSecretPost}
		},
		"private_key_jwt": func(s *realtest.OIDC) fdsclient.Application {
			return fdsclient.Application{ClientID: s.PrivateKeyJWT.ID, Key: signerOf(t, s.PrivateKeyJWT.Certificate)}
		},
		"tls_client_auth": func(s *realtest.OIDC) fdsclient.Application {
			return fdsclient.Application{ClientID: s.TLS.ID, Certificate: certified(s.TLS.Certificate)}
		},
		"self_signed_tls_client_auth": func(s *realtest.OIDC) fdsclient.Application {
			return fdsclient.Application{ClientID: s.SelfSignedTLS.ID, Certificate: certified(s.SelfSignedTLS.Certificate)}
		},
	}
	for name, application := range applications {
		for what, on := range map[string]*realtest.OIDC{"plain": server, "pushed, with proofs and nonces": strict} {
			t.Run(name+" "+what, func(t *testing.T) {
				app := application(on)
				app.DPoP = on == strict && app.Certificate == nil // a token is bound to one of the two
				cfg := atOIDC(t, on, app)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				client := open(t, cfg)
				owners, err := client.SignIn(ctx, atBrowser(on))
				if err != nil {
					t.Fatal(err)
				}
				first := token(t, owners[0])
				if bound := confirmation(t, first, "x5t#S256") != ""; bound != (app.Certificate != nil) {
					t.Errorf("the token is bound to a certificate: %t", bound)
				}
				if bound := confirmation(t, first, "jkt") != ""; bound != app.DPoP || (first.Type() == "DPoP") != app.DPoP {
					t.Errorf("the token is bound to a key: %t, type %s", bound, first.Type())
				}
				client.Close()
				expire(t, cfg.Store)
				_, restored := restart(t, cfg)
				second := token(t, restored)
				if second.Reveal() == first.Reveal() {
					t.Error("the token was not renewed")
				}
				if confirmation(t, first, "jkt") != confirmation(t, second, "jkt") {
					t.Error("the renewed token is bound to another key")
				}
				if err := restored.SignOut(ctx); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestADeviceSignsInAtACertifiedProvider(t *testing.T) {
	t.Parallel()
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	cfg := atOIDC(t, server, fdsclient.Application{ClientID: server.Public.ID, DPoP: true})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	approved := make(chan error, 1)
	owners, err := open(t, cfg).SignInDevice(ctx, func(code fdsclient.DeviceCode) {
		if code.UserCode == "" || !strings.Contains(code.VerificationURIComplete, url.QueryEscape(code.UserCode)) {
			t.Errorf("shown: %+v", code)
		}
		go func() {
			_, err := server.Approve(ctx, code.VerificationURIComplete)
			approved <- err
		}()
	})
	if err := <-approved; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	expire(t, cfg.Store)
	_, restored := restart(t, cfg)
	if token(t, restored).Reveal() == "" || owners[0].Key() != restored.Key() {
		t.Error("the owner is not the same after a restart")
	}
}

func TestAnApplicationSignsInForItselfAtACertifiedProvider(t *testing.T) {
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	cfg := atOIDC(t, server, fdsclient.Application{ClientID: server.PrivateKeyJWT.ID, Key: signerOf(t, server.PrivateKeyJWT.Certificate)})
	owners, err := open(t, cfg).SignInApplication(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := token(t, owners[0])
	expire(t, cfg.Store)
	_, restored := restart(t, cfg)
	if second := token(t, restored); second.Reveal() == first.Reveal() {
		t.Error("the token was not renewed")
	}
}

func TestAResourceIsAskedForAtACertifiedProvider(t *testing.T) {
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	cfg := atOIDC(t, server, fdsclient.Application{ClientID: server.Public.ID})
	cfg.Provider.Resources = []string{server.Resource}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := open(t, cfg).SignIn(ctx, atBrowser(server)); err != nil {
		t.Fatal(err)
	}
	expire(t, cfg.Store)
	_, restored := restart(t, cfg)
	if audience := claimsOf(t, token(t, restored))["aud"]; audience != server.Resource {
		t.Errorf("the renewed token is for %v, want %q", audience, server.Resource)
	}
}

func TestAnOpaqueTokenIsIntrospectedAtACertifiedProvider(t *testing.T) {
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{OpaqueAccessTokens: true, NoClaimInIDToken: true})
	cfg := atOIDC(t, server, fdsclient.Application{ClientID: server.Basic.ID, ClientSecret: fds.NewSecret(server.Basic.Secret)})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	owners, err := open(t, cfg).SignIn(ctx, atBrowser(server))
	if err != nil || len(owners) != 1 {
		t.Fatalf("%d owners, %v", len(owners), err)
	}
	asked := false
	for _, r := range server.Requests() {
		asked = asked || r.Route == "introspection" && r.Status == 200
	}
	if !asked {
		t.Error("the subscription ID was found without asking for it")
	}
}
