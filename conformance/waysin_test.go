package conformance_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// as has another application checked, for which all owners sign in anew.
func (s *site) as(t *testing.T, known fdstest.Application, application fdsclient.Application) {
	t.Helper()
	known.ID, application.ClientID, application.Name = "app", "app", "check"
	known.RedirectURIs = []string{"http://127.0.0.1" + fdsclient.RedirectPath(s.box.Issuer())}
	if err := s.box.AddClient(known); err != nil {
		t.Fatal(err)
	}
	s.config.Client.Application, s.config.Client.Store = application, tokenstore.OpenMemory()
	client, err := fdsclient.New(s.config.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, o := range s.box.Owners() {
		if _, err := client.SignIn(t.Context(), s.approves(o)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhateverTheApplicationProvesItselfByASoundProviderFailsNothing(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := fds.NewSecret("a secret with ümlaut + & = %")
	pushed := all(untestable, behindSignIn...)
	public := all(notApplicable, append(behindRightName, "W4-auth-right-credentials")...).and(rows{"W4-application-credentials": fail})
	for _, one := range []struct {
		name        string
		known       fdstest.Application
		application fdsclient.Application
		certificate string // "CA", "own" or "demanded"
		rows        rows
	}{
		{name: "post", known: fdstest.Application{AuthMethod: fdstest.ClientSecretPost, Secret: secret.Reveal()}, application: fdsclient.Application{ClientSecret: secret, AuthMethod: fdsclient.AuthClientSecretPost}},
		{name: "basic with proofs", known: fdstest.Application{AuthMethod: fdstest.ClientSecretBasic, Secret: secret.Reveal(), DPoP: true}, application: fdsclient.Application{ClientSecret: secret, DPoP: true}},
		{name: "basic, pushed", known: fdstest.Application{AuthMethod: fdstest.ClientSecretBasic, Secret: secret.Reveal(), PushedRequests: true}, application: fdsclient.Application{ClientSecret: secret, PushRequests: true}, rows: pushed},
		{name: "a key", known: fdstest.Application{AuthMethod: fdstest.PrivateKeyJWT, Keys: map[string]crypto.PublicKey{"one": key.Public()}}, application: fdsclient.Application{Key: key, KeyID: "one"}},
		{name: "a certificate", known: fdstest.Application{AuthMethod: fdstest.TLSClientAuth, CertificateBoundTokens: true}, certificate: "CA"},
		{name: "a certificate, without which there is no handshake", known: fdstest.Application{AuthMethod: fdstest.TLSClientAuth, CertificateBoundTokens: true}, certificate: "demanded"},
		{name: "a self-signed certificate", known: fdstest.Application{AuthMethod: fdstest.SelfSignedTLSClientAuth, CertificateBoundTokens: true}, application: fdsclient.Application{AuthMethod: fdsclient.AuthSelfSignedTLS}, certificate: "own"},
		{name: "nothing", rows: public},
		{name: "proofs alone", known: fdstest.Application{DPoP: true}, application: fdsclient.Application{DPoP: true}, rows: public},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			options := fdstest.Options{
				AuthMethods:            []fdstest.AuthMethod{fdstest.NoAuth, fdstest.ClientSecretBasic, fdstest.ClientSecretPost, fdstest.PrivateKeyJWT, fdstest.TLSClientAuth, fdstest.SelfSignedTLSClientAuth},
				CertificateBoundTokens: true, DPoP: fdstest.Optional, DPoPNonces: []fdstest.Endpoint{fdstest.TokenEndpoint, fdstest.APIEndpoint}, PushedRequests: fdstest.Optional,
			}
			s := newWebSite(t, options)
			if one.certificate != "" {
				c, err := s.box.IssueCertificate(fdstest.CertificateRequest{CommonName: "app", SelfSigned: one.certificate == "own"})
				if err != nil {
					t.Fatal(err)
				}
				one.application.Certificate = func(context.Context) (*tls.Certificate, error) { return &c.TLS, nil }
				if one.certificate == "demanded" {
					s.box.Inject(fdstest.ServerTLS(fdstest.TokenEndpoint, func(c *tls.Config) {
						if c.ClientAuth != tls.NoClientCert { // where applications come, and no people
							c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, s.box.RootCAs()
						}
					}))
				}
				if one.certificate == "own" {
					one.known.Certificates = []*x509.Certificate{c.TLS.Leaf}
				}
			}
			s.as(t, one.known, one.application)
			report := check(t, s.config)
			want := make(rows)
			for id := range outcomes(report) {
				want[id] = pass
				if id[0] == 'M' || id == "setup-certificate" { // there is no broker
					want[id] = notApplicable
				}
			}
			compare(t, report, want.and(one.rows))
		})
	}
}
