package fdsclient_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

// everyWay is a provider that offers all that it knows, and is strict about it.
func everyWay() fdstest.Options {
	return fdstest.Options{
		Devices: 2,
		AuthMethods: []fdstest.AuthMethod{
			fdstest.NoAuth, fdstest.ClientSecretBasic, fdstest.ClientSecretPost,
			fdstest.PrivateKeyJWT, fdstest.TLSClientAuth, fdstest.SelfSignedTLSClientAuth,
		},
		CertificateBoundTokens: true,
		DPoP:                   fdstest.Optional,
		DPoPNonces:             []fdstest.Endpoint{fdstest.TokenEndpoint, fdstest.APIEndpoint},
		PushedRequests:         fdstest.Optional,
		DeviceGrant:            true,
		Introspection:          true,
		Resources:              []string{"https://api.example.com/fds"},
	}
}

// register makes an application known to p, and returns it to a Config.
func register(t *testing.T, p *fdstest.Provider, known fdstest.Application, application fdsclient.Application) fdsclient.Config {
	t.Helper()
	known.ID = "app"
	known.RedirectURIs = []string{"http://127.0.0.1" + fdsclient.RedirectPath(p.Issuer())}
	if err := p.AddClient(known); err != nil {
		t.Fatal(err)
	}
	cfg := configure(t, p)
	application.Name, application.ClientID = "test", "app"
	cfg.Application = application
	return cfg
}

func applicationCertificate(t *testing.T, p *fdstest.Provider, selfSigned bool) *tls.Certificate {
	t.Helper()
	c, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "app", SelfSigned: selfSigned})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(c.ChainPEM, c.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func always(c *tls.Certificate) func(context.Context) (*tls.Certificate, error) {
	return func(context.Context) (*tls.Certificate, error) { return c, nil }
}

// read reads the owner's devices from the Web API.
func read(t *testing.T, o *fdsclient.Owner) {
	t.Helper()
	devices, err := pull.Collect(o.Pull().Specifications(t.Context(), pull.Query{}))
	if err != nil || len(devices) == 0 {
		t.Fatalf("%d devices, %v", len(devices), err)
	}
}

func TestEveryWayOfAuthenticationSignsInReadsRenewsAndSignsOut(t *testing.T) {
	p := start(t, everyWay())
	ca, own := applicationCertificate(t, p, false), applicationCertificate(t, p, true)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(key crypto.Signer) fdstest.Application {
		return fdstest.Application{AuthMethod: fdstest.PrivateKeyJWT, Keys: map[string]crypto.PublicKey{"one": key.Public(), "two": &mustRSA(t).PublicKey}}
	}
	secret := fds.NewSecret("a secret with ümlaut + & = %")
	for name, way := range map[string]struct {
		known       fdstest.Application
		application fdsclient.Application
	}{
		"public":                    {fdstest.Application{}, fdsclient.Application{}},
		"public with proofs":        {fdstest.Application{DPoP: true}, fdsclient.Application{DPoP: true}},
		"public, pushed":            {fdstest.Application{PushedRequests: true}, fdsclient.Application{PushRequests: true}},
		"public, certificate bound": {fdstest.Application{CertificateBoundTokens: true}, fdsclient.Application{Certificate: always(own), AuthMethod: fdsclient.AuthNone}},
		"basic":                     {fdstest.Application{AuthMethod: fdstest.ClientSecretBasic, Secret: secret.Reveal()}, fdsclient.Application{ClientSecret: secret}},
		"basic, pushed with proofs": {fdstest.Application{AuthMethod: fdstest.ClientSecretBasic, Secret: secret.Reveal(), PushedRequests: true, DPoP: true}, fdsclient.Application{ClientSecret: secret, PushRequests: true, DPoP: true}},
		"post":                      {fdstest.Application{AuthMethod: fdstest.ClientSecretPost, Secret: secret.Reveal()}, fdsclient.Application{ClientSecret: secret, AuthMethod: fdsclient.AuthClientSecretPost}},
		"key ES256":                 {signed(ecKey), fdsclient.Application{Key: ecKey, KeyID: "one"}},
		"key RS256":                 {signed(rsaKey), fdsclient.Application{Key: rsaKey, KeyID: "one", KeyAlgorithm: "RS256"}},
		"key PS256":                 {signed(rsaKey), fdsclient.Application{Key: rsaKey, KeyID: "one", KeyAlgorithm: "PS256"}},
		"key, audience set":         {signed(ecKey), fdsclient.Application{Key: ecKey, KeyID: "one", AssertionAudience: p.Issuer() + "/token"}},
		"key, pushed with proofs":   {signed(ecKey), fdsclient.Application{Key: ecKey, KeyID: "one", PushRequests: true, DPoP: true}},
		"certificate":               {fdstest.Application{AuthMethod: fdstest.TLSClientAuth}, fdsclient.Application{Certificate: always(ca)}},
		"certificate bound":         {fdstest.Application{AuthMethod: fdstest.TLSClientAuth, CertificateBoundTokens: true}, fdsclient.Application{Certificate: always(ca)}},
		"self-signed bound": {
			fdstest.Application{AuthMethod: fdstest.SelfSignedTLSClientAuth, Certificates: []*x509.Certificate{leaf(t, own)}, CertificateBoundTokens: true, PushedRequests: true},
			fdsclient.Application{Certificate: always(own), AuthMethod: fdsclient.AuthSelfSignedTLS, PushRequests: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := register(t, p, way.known, way.application)
			cfg.Provider.Resources = []string{"https://api.example.com/fds", p.APIURL()}
			owner := signIn(t, open(t, cfg), p)[0]
			first := token(t, owner)
			read(t, owner)
			expire(t, cfg.Store)
			_, restored := restart(t, cfg)
			second := token(t, restored)
			if second.Reveal() == first.Reveal() {
				t.Error("the token was not renewed")
			}
			if bound := way.known.DPoP; (second.Type() == "DPoP") != (bound || way.application.DPoP) {
				t.Errorf("the token is of type %s", second.Type())
			}
			read(t, restored)
			p.RotateDPoPNonces()
			read(t, restored)
			if err := restored.SignOut(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func mustRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func leaf(t *testing.T, c *tls.Certificate) *x509.Certificate {
	t.Helper()
	parsed, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestAProviderThatDemandsPushedRequestsGetsThem(t *testing.T) {
	options := everyWay()
	options.PushedRequests = fdstest.Required
	p := start(t, options)
	cfg := configure(t, p) // which asks for nothing
	if owners := signIn(t, open(t, cfg), p); len(owners) != 1 {
		t.Errorf("%d owners", len(owners))
	}
	client := open(t, web(t, p))
	attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{Parameters: map[string]string{"login_hint": "me"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, pushed := range []string{"state=", "code_challenge=", "redirect_uri=", "login_hint="} {
		if strings.Contains(attempt.URL(), pushed) {
			t.Errorf("the browser is shown %s", pushed)
		}
	}
}

func TestTheCodeIsBoundToTheProofKey(t *testing.T) {
	p := start(t, everyWay())
	cfg := web(t, p)
	cfg.Application.DPoP = true
	attempt, err := open(t, cfg).BeginSignIn(t.Context(), fdsclient.SignInOptions{})
	if err != nil || !strings.Contains(attempt.URL(), "dpop_jkt=") {
		t.Fatalf("the request names no key (%v)", err)
	}
	// The web app keeps the attempt elsewhere meanwhile, key and all.
	encoded, err := attempt.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if attempt, err = fdsclient.DecodeAttempt(encoded); err != nil {
		t.Fatal(err)
	}
	callback, err := p.ApproveCallback(t.Context(), attempt.URL())
	if err != nil {
		t.Fatal(err)
	}
	owners, err := open(t, cfg).FinishSignIn(t.Context(), attempt, callback)
	if err != nil {
		t.Fatal(err)
	}
	if token(t, owners[0]).Type() != "DPoP" {
		t.Error("the token is bound to no key")
	}
}

func TestASubscriptionIDIsFoundWhereverTheProviderPutsIt(t *testing.T) {
	for name, place := range map[string]fdstest.SubscriptionPlace{
		"token response": fdstest.InTokenAnswer, "access token": fdstest.InAccessToken,
		"ID token": fdstest.InIDToken, "introspection": fdstest.InIntrospection,
	} {
		t.Run(name, func(t *testing.T) {
			options := everyWay()
			options.SubscriptionIn = place
			options.OpaqueTokens = place != fdstest.InAccessToken
			options.SubscriptionClaim = "fds_subscription"
			p := start(t, options)
			cfg := configure(t, p)
			app := p.ConfidentialApplication()
			cfg.Application.ClientID, cfg.Application.ClientSecret = app.ID, fds.NewSecret(app.Secret)
			cfg.Application.SubscriptionClaim = "fds_subscription"
			owners := signIn(t, open(t, cfg), p, p.Owners()[0], p.Owners()[1])
			if len(owners) != 2 {
				t.Fatalf("%d owners of a grant for two", len(owners))
			}
			expire(t, cfg.Store)
			client := open(t, cfg)
			restored, err := client.Owners(t.Context())
			if err != nil || len(restored) != 2 {
				t.Fatalf("%d owners, %v", len(restored), err)
			}
			before := p.Requests(fdstest.TokenEndpoint)
			if a, b := token(t, restored[0]), token(t, restored[1]); a.Reveal() != b.Reveal() {
				t.Error("two owners of one grant have two tokens")
			}
			if n := p.Requests(fdstest.TokenEndpoint) - before; n != 1 {
				t.Errorf("%d renewals of one grant", n)
			}
		})
	}
}

func TestADeviceSignsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := everyWay()
		options.DeviceInterval = time.Second
		p := start(t, options)
		cfg := register(t, p, fdstest.Application{DPoP: true}, fdsclient.Application{DPoP: true})
		owners, err := open(t, cfg).SignInDevice(t.Context(), func(code fdsclient.DeviceCode) {
			if err := p.ApproveDevice(t.Context(), code.UserCode, p.Owners()[1]); err != nil {
				t.Error(err)
			}
		})
		if err != nil || len(owners) != 1 || owners[0].Key().SubscriptionID != p.Owners()[1].SubscriptionID {
			t.Fatalf("%v, %v", owners, err)
		}
		read(t, owners[0])
		expire(t, cfg.Store)
		_, restored := restart(t, cfg)
		read(t, restored)

		_, err = open(t, cfg).SignInDevice(t.Context(), func(code fdsclient.DeviceCode) {
			if err := p.DenyDevice(t.Context(), code.UserCode); err != nil {
				t.Error(err)
			}
		})
		if !errors.Is(err, fds.ErrAccessDenied) {
			t.Errorf("a refusal gives %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = open(t, cfg).SignInDevice(ctx, func(fdsclient.DeviceCode) { cancel() })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled sign-in gives %v", err)
		}
	})
}

func TestADeviceCodeThatNobodyEntersExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := everyWay()
		options.DeviceInterval, options.DeviceCodeLifetime = time.Second, 2*time.Second
		p := start(t, options)
		_, err := open(t, configure(t, p)).SignInDevice(t.Context(), func(fdsclient.DeviceCode) {})
		if !errors.Is(err, fds.ErrAttemptExpired) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAProviderWithoutTheDeviceGrantSaysSo(t *testing.T) {
	p := start(t, fdstest.Options{})
	_, err := open(t, configure(t, p)).SignInDevice(t.Context(), func(fdsclient.DeviceCode) { t.Error("shown") })
	if !errors.Is(err, fds.ErrConfig) || fdsclient.Retryable(err) || !strings.Contains(err.Error(), "no device authorization endpoint") {
		t.Errorf("error %v", err)
	}
}

func TestAnApplicationSignsInForItself(t *testing.T) {
	p := start(t, everyWay())
	cfg := register(t, p, fdstest.Application{AuthMethod: fdstest.TLSClientAuth, CertificateBoundTokens: true, ClientCredentials: p.Owners()[:2]},
		fdsclient.Application{Certificate: always(applicationCertificate(t, p, false))})
	owners, err := open(t, cfg).SignInApplication(t.Context())
	if err != nil || len(owners) != 2 {
		t.Fatalf("%d owners, %v", len(owners), err)
	}
	read(t, owners[0])
	expire(t, cfg.Store)
	restored, err := open(t, cfg).Owners(t.Context())
	if err != nil || len(restored) != 2 {
		t.Fatalf("%d owners, %v", len(restored), err)
	}
	read(t, restored[1])

	public := open(t, configure(t, p))
	if _, err := public.SignInApplication(t.Context()); !errors.Is(err, fds.ErrConfig) {
		t.Errorf("a public client gets %v", err)
	}
}

func TestARenewalWhoseAnswerWasLostIsRepeatedWhereTheProviderAllowsIt(t *testing.T) {
	for name, grace := range map[string]time.Duration{"with grace": time.Minute, "without": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{RefreshGrace: grace})
				cfg := configure(t, p)
				signIn(t, open(t, cfg), p)
				expire(t, cfg.Store)
				defer p.Inject(fdstest.DropAfterWork(fdstest.TokenEndpoint).Times(1))()
				before := p.Requests(fdstest.TokenEndpoint)
				_, owner := restart(t, cfg)
				_, err := owner.Token(t.Context())
				if recovered := err == nil; recovered != (grace > 0) || err != nil && !errors.Is(err, fds.ErrSignInRequired) {
					t.Errorf("a lost answer gives %v", err)
				}
				if n := p.Requests(fdstest.TokenEndpoint) - before; n != 2 {
					t.Errorf("%d requests, want one and its retry", n)
				}
			})
		})
	}
}
