package fdstest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// AuthMethod is how an application authenticates at the authorization server
// (W4), under the names of RFC 8414 section 2.
type AuthMethod string

// The ways to authenticate that a provider can offer; see Options.AuthMethods.
const (
	NoAuth                  AuthMethod = authority.MethodNone
	ClientSecretBasic       AuthMethod = authority.MethodBasic
	ClientSecretPost        AuthMethod = authority.MethodPost
	PrivateKeyJWT           AuthMethod = authority.MethodPrivateKeyJWT // RFC 7523; RS256, PS256 or ES256
	TLSClientAuth           AuthMethod = authority.MethodTLS           // RFC 8705 section 2.1
	SelfSignedTLSClientAuth AuthMethod = authority.MethodSelfSignedTLS // RFC 8705 section 2.2
)

var allAuthMethods = []AuthMethod{NoAuth, ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, TLSClientAuth, SelfSignedTLSClientAuth}

// Application is an application's registration at the authorization server. It
// prints without the secret.
type Application struct {
	ID     string
	Name   string // on the consent page; default: the ID
	Secret string // empty: a public client, or one that authenticates without one

	// AuthMethod is how the application authenticates; no other way is taken. The
	// default is client_secret_basic or client_secret_post when there is a Secret,
	// and none when there is not (RFC 6749 section 2.1).
	AuthMethod AuthMethod
	// CertificateSubject is, for tls_client_auth, the distinguished name of the
	// certificate (RFC 4514, as pkix.Name.String writes it). The certificate comes
	// from IssueCertificate. Default: "CN=" and the ID.
	CertificateSubject string
	// Certificates are those that self_signed_tls_client_auth accepts; see
	// CertificateRequest.SelfSigned.
	Certificates []*x509.Certificate
	// Keys are the public keys of private_key_jwt by key ID: ECDSA on P-256, or RSA
	// of at least 2048 bits. An assertion with a kid needs the key of that ID, or
	// else the one under ""; one without a kid needs there to be one key only.
	Keys map[string]crypto.PublicKey

	// CertificateBoundTokens binds the application's access tokens to the
	// certificate that it presents at the token endpoint, and refuses requests
	// without one (RFC 8705 section 3). A public application's refresh tokens are
	// bound as well. Options.CertificateBoundTokens must be set.
	CertificateBoundTokens bool
	// DPoP refuses this application's token requests without a proof (RFC 9449
	// section 5.2). Options.DPoP must not be Unsupported.
	DPoP bool
	// PushedRequests refuses this application's authorization requests that were
	// not pushed (RFC 9126 section 6). Options.PushedRequests must not be
	// Unsupported.
	PushedRequests bool
	// ClientCredentials allows the client credentials grant (RFC 6749 section 4.4),
	// whose tokens name these owners. nil: not allowed.
	ClientCredentials []Owner

	// RedirectURIs are compared exactly, except that http://127.0.0.1/... and
	// http://[::1]/... match with any port (RFC 8252 section 7.3), and that /* at
	// their end stands for one segment of letters, digits, "-", ".", "_" and "~":
	// http://127.0.0.1/callback/* is what an application registers here whose
	// redirect path differs for each issuer (RFC 9700 section 4.4.2). Other http
	// URIs are refused, and so is a * elsewhere. An application of the device or
	// client credentials grant may have none.
	RedirectURIs []string
}

// Format keeps the secret out of every verb of package fmt.
func (a Application) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Application(%q)", a.ID) }

// LogValue keeps the secret out of logs.
func (a Application) LogValue() slog.Value { return slog.StringValue(a.ID) }

// AddClient registers an application, or replaces the one of the same ID.
func (p *Provider) AddClient(a Application) error {
	var credentials []string
	for _, o := range a.ClientCredentials {
		credentials = append(credentials, o.Spelling)
	}
	err := p.authority.AddClient(authority.Client{
		ID: a.ID, Name: a.Name, Secret: a.Secret, RedirectURIs: a.RedirectURIs,
		Method: string(a.AuthMethod), Subject: a.CertificateSubject, Certificates: a.Certificates, Keys: a.Keys,
		CertificateBound: a.CertificateBoundTokens, DPoP: a.DPoP, Pushed: a.PushedRequests, Credentials: credentials,
	})
	if err == nil {
		p.mu.Lock()
		p.applications[a.ID] = a.clone()
		p.mu.Unlock()
		err = p.keepProvider()
	}
	if err != nil {
		return fmt.Errorf("fdstest: add client: %w", err)
	}
	return nil
}

// PublicApplication is the public client that every provider knows: ID
// "fdsdemo", redirect URIs /callback and /callback/* (one segment more) on
// 127.0.0.1 or [::1] with any port.
func (p *Provider) PublicApplication() Application { return p.public.clone() }

// ConfidentialApplication is the client with a secret that every provider
// knows: ID "fleet-app", a secret made at start, the redirect URIs of
// PublicApplication and https://fleet.example.com/callback.
func (p *Provider) ConfidentialApplication() Application { return p.confidential.clone() }

func (a Application) clone() Application {
	a.RedirectURIs = slices.Clone(a.RedirectURIs)
	a.Certificates = slices.Clone(a.Certificates)
	a.Keys = maps.Clone(a.Keys)
	a.ClientCredentials = slices.Clone(a.ClientCredentials)
	return a
}

func defaultApplications() (public, confidential Application) {
	loopback := []string{"http://127.0.0.1/callback", "http://[::1]/callback", "http://127.0.0.1/callback/*", "http://[::1]/callback/*"}
	return Application{ID: "fdsdemo", Name: "FDS demo", RedirectURIs: loopback},
		Application{ID: "fleet-app", Name: "Fleet app", Secret: rand.Text() + rand.Text(), // long enough for HS256 (RFC 7518 section 3.2)
			RedirectURIs: append([]string{"https://fleet.example.com/callback"}, loopback...)}
}
