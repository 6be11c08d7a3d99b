package fdstest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/go-jose/go-jose/v4"
)

// credentialsForm asks for tokens by the client credentials grant, which shows
// client authentication alone.
func credentialsForm(clientID string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}}
}

func TestATLSClientIsItsCertificateAtTheAlias(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, AuthMethods: []fdstest.AuthMethod{fdstest.TLSClientAuth, fdstest.ClientSecretBasic}})
	addClient(t, p, fdstest.Application{ID: "fleet", AuthMethod: fdstest.TLSClientAuth, ClientCredentials: p.Owners()[:1]})
	endpoint := alias(t, p, "token_endpoint")
	good := issueCertificate(t, p, fdstest.CertificateRequest{CommonName: "fleet"})
	newRaw(t, p, good).post(endpoint, credentialsForm("fleet")).succeeds(t, "the right certificate")

	newRaw(t, p, nil).post(endpoint, credentialsForm("fleet")).wants(t, "no certificate", 401, "invalid_client", "is missing")
	newRaw(t, p, good).token(credentialsForm("fleet")).wants(t, "the port that asks for none", 401, "invalid_client", "mtls_endpoint_aliases")
	newRaw(t, p, good).post(endpoint, clone(credentialsForm("fleet"), "client_secret", "12345678")).wants(t, "a secret too", 401, "invalid_client", "registered for tls_client_auth")
	newRaw(t, p, good).post(endpoint, url.Values{"grant_type": {"client_credentials"}}).wants(t, "no client_id", 401, "invalid_client", "no client_id")
	for what, c := range map[string]struct {
		req   fdstest.CertificateRequest
		cause string
	}{
		"another subject":   {fdstest.CertificateRequest{CommonName: "fleet2"}, `is for "CN=fleet2", the client is registered for "CN=fleet"`},
		"another authority": {fdstest.CertificateRequest{CommonName: "fleet", ForeignCA: true}, "does not verify"},
		"self-signed":       {fdstest.CertificateRequest{CommonName: "fleet", SelfSigned: true}, "does not verify"},
		"expired":           {fdstest.CertificateRequest{CommonName: "fleet", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute)}, "does not verify"},
		"for servers":       {fdstest.CertificateRequest{CommonName: "fleet", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, "does not verify"},
	} {
		newRaw(t, p, issueCertificate(t, p, c.req)).post(endpoint, credentialsForm("fleet")).wants(t, what, 401, "invalid_client", c.cause)
	}
}

func TestASelfSignedClientIsOneOfItsCertificates(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, AuthMethods: []fdstest.AuthMethod{fdstest.SelfSignedTLSClientAuth}})
	request := fdstest.CertificateRequest{CommonName: "fleet", SelfSigned: true}
	old, next, other := issueCertificate(t, p, request), issueCertificate(t, p, request), issueCertificate(t, p, request)
	request.NotBefore, request.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	expired := issueCertificate(t, p, request)
	addClient(t, p, fdstest.Application{
		ID: "fleet", AuthMethod: fdstest.SelfSignedTLSClientAuth, ClientCredentials: p.Owners()[:1],
		Certificates: []*x509.Certificate{old.TLS.Leaf, next.TLS.Leaf, expired.TLS.Leaf},
	})
	endpoint := alias(t, p, "token_endpoint")
	newRaw(t, p, old).post(endpoint, credentialsForm("fleet")).succeeds(t, "the first certificate")
	newRaw(t, p, next).post(endpoint, credentialsForm("fleet")).succeeds(t, "the second certificate")
	newRaw(t, p, other).post(endpoint, credentialsForm("fleet")).wants(t, "one that is not registered", 401, "invalid_client", "not one that is registered")
	newRaw(t, p, expired).post(endpoint, credentialsForm("fleet")).wants(t, "an expired one", 401, "invalid_client", "is valid from")
}

func TestThePortForCertificatesServesTheAliasesOnly(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, AuthMethods: []fdstest.AuthMethod{fdstest.TLSClientAuth},
		PushedRequests: fdstest.Optional, DeviceGrant: true, Introspection: true})
	aliases, _ := metadataOf(t, p)["mtls_endpoint_aliases"].(map[string]any)
	if got, want := slices.Sorted(maps.Keys(aliases)), []string{"device_authorization_endpoint", "introspection_endpoint", "pushed_authorization_request_endpoint", "revocation_endpoint", "token_endpoint"}; !slices.Equal(got, want) {
		t.Fatalf("aliases: %q", got)
	}
	client := newRaw(t, p, nil)
	for name, target := range aliases {
		client.post(target.(string), url.Values{"client_id": {"no such"}}).wants(t, name, 401, "invalid_client", "unknown")
	}
	off := p.Inject(fdstest.Answer(fdstest.TokenEndpoint, 503, "", ""))
	if ans := client.post(alias(t, p, "token_endpoint"), nil); ans.status != 503 || p.Requests(fdstest.TokenEndpoint) != 2 {
		t.Errorf("a fault at the endpoint: %d, %d requests counted", ans.status, p.Requests(fdstest.TokenEndpoint))
	}
	off()
	elsewhere := strings.TrimSuffix(alias(t, p, "token_endpoint"), "/token")
	for _, path := range []string{"/authorize", "/.well-known/oauth-authorization-server", "/keys", "/device"} {
		if ans := client.send(http.MethodGet, elsewhere+path, nil); ans.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, ans.status)
		}
	}
	if _, has := metadataOf(t, fdstest.New(t, fdstest.Options{Quiet: true}))["mtls_endpoint_aliases"]; has {
		t.Error("a provider without certificates has aliases")
	}
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// keyClient is an application of private_key_jwt with a key of each kind.
type keyClient struct {
	raw
	ec  *ecdsa.PrivateKey
	rsa *rsa.PrivateKey
}

func newKeyClient(t *testing.T) *keyClient {
	t.Helper()
	p := fdstest.New(t, fdstest.Options{Quiet: true, AuthMethods: []fdstest.AuthMethod{fdstest.PrivateKeyJWT}, PushedRequests: fdstest.Optional})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &keyClient{raw: newRaw(t, p, nil), ec: newKey(t), rsa: rsaKey}
	addClient(t, p, fdstest.Application{
		ID: "fleet", AuthMethod: fdstest.PrivateKeyJWT, ClientCredentials: p.Owners()[:1],
		Keys: map[string]crypto.PublicKey{"e": c.ec.Public(), "r": c.rsa.Public()},
	})
	return c
}

func (c *keyClient) claims(changes ...any) map[string]any {
	now := time.Now().Unix()
	claims := map[string]any{"iss": "fleet", "sub": "fleet", "aud": c.p.Issuer(), "exp": now + 60, "iat": now, "jti": rand.Text()}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(claims, changes[i].(string))
		} else {
			claims[changes[i].(string)] = changes[i+1]
		}
	}
	return claims
}

func (c *keyClient) sign(algorithm jose.SignatureAlgorithm, key any, kid string, claims map[string]any) url.Values {
	c.t.Helper()
	assertion := signed(c.t, algorithm, jose.JSONWebKey{Key: key, KeyID: kid}, nil, claims)
	return url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion}}
}

func TestAnAssertionProvesItsClient(t *testing.T) {
	c := newKeyClient(t)
	for algorithm, key := range map[jose.SignatureAlgorithm]any{jose.ES256: c.ec, jose.RS256: c.rsa, jose.PS256: c.rsa} {
		kid := "r"
		if algorithm == jose.ES256 {
			kid = "e"
		}
		c.token(c.sign(algorithm, key, kid, c.claims())).succeeds(t, string(algorithm))
	}
	c.token(c.sign(jose.ES256, c.ec, "e", c.claims("aud", c.p.Issuer()+"/token", "iat", nil))).succeeds(t, "aud is the token endpoint, no iat")
	c.token(clone(c.sign(jose.ES256, c.ec, "e", c.claims()), "client_id", "fleet")).succeeds(t, "client_id too")
	m := metadataOf(t, c.p)
	if !slices.Equal(m["token_endpoint_auth_signing_alg_values_supported"].([]any), []any{"RS256", "PS256", "ES256"}) ||
		!slices.Equal(m["token_endpoint_auth_methods_supported"].([]any), []any{"private_key_jwt"}) {
		t.Errorf("metadata: %v", m)
	}
}

func TestAnAssertionServesOnce(t *testing.T) {
	c := newKeyClient(t)
	form := c.sign(jose.ES256, c.ec, "e", c.claims())
	c.token(clone(form, "grant_type", "refresh_token", "refresh_token", "unknown")).wants(t, "a request that fails otherwise", 400, "invalid_grant", "unknown")
	c.token(form).wants(t, "its assertion again", 401, "invalid_client", "was used before")
	again := c.claims()
	c.token(c.sign(jose.ES256, c.ec, "e", again)).succeeds(t, "a new one")
	again["exp"] = time.Now().Unix() + 120
	c.token(c.sign(jose.RS256, c.rsa, "r", again)).wants(t, "the jti in another assertion", 401, "invalid_client", "was used before")
	if !slices.Contains(c.p.Secrets(), form.Get("client_assertion")) {
		t.Error("Secrets does not list the assertion")
	}
}

func TestAFaultyAssertionIsRefusedWithItsFault(t *testing.T) {
	c := newKeyClient(t)
	now := time.Now()
	for _, fault := range []struct {
		claim string
		value any
		cause string
	}{
		{"iss", "other", "as iss and as sub"},
		{"iss", nil, "as iss and as sub"},
		{"sub", nil, "has no sub"},
		{"sub", "other", "unknown"},
		{"aud", nil, "has no aud"},
		{"aud", c.p.Issuer() + "/", "not the issuer"},
		{"aud", c.p.APIURL(), "not the issuer"},
		{"aud", c.p.Issuer() + "/par", "not the issuer"},
		{"aud", []string{c.p.Issuer(), "https://other.example"}, "not the issuer"},
		{"exp", nil, "has no exp"},
		{"exp", now.Unix(), "has expired"},
		{"exp", now.Add(10 * time.Minute).Unix(), "more than 5 minutes"},
		{"nbf", now.Add(time.Minute).Unix(), "nbf is in the future"},
		{"iat", now.Add(time.Minute).Unix(), "iat in the future"},
		{"jti", nil, "has no jti"},
		{"jti", strings.Repeat("j", 257), "has no jti"},
		{"exp", "soon", "not a compact JWT"},
	} {
		c.token(c.sign(jose.ES256, c.ec, "e", c.claims(fault.claim, fault.value))).wants(t, fault.claim, 401, "invalid_client", fault.cause)
	}
	good := func() url.Values { return c.sign(jose.ES256, c.ec, "e", c.claims()) }
	for what, fault := range map[string]struct {
		form        url.Values
		status      int
		code, cause string
	}{
		"another key":                  {c.sign(jose.ES256, newKey(t), "e", c.claims()), 401, "invalid_client", "not signed by the client's key"},
		"another algorithm":            {c.sign(jose.RS384, c.rsa, "r", c.claims()), 401, "invalid_client", "not a compact JWT"},
		"a shared secret":              {c.sign(jose.HS256, []byte(strings.Repeat("k", 32)), "e", c.claims()), 401, "invalid_client", "not a compact JWT"},
		"an unknown key ID":            {c.sign(jose.ES256, c.ec, "x", c.claims()), 401, "invalid_client", `key ID "x"`},
		"no key ID, of two":            {c.sign(jose.ES256, c.ec, "", c.claims()), 401, "invalid_client", `key ID ""`},
		"no type":                      {clone(good(), "client_assertion_type", ""), 400, "invalid_request", "client_assertion_type"},
		"another type":                 {clone(good(), "client_assertion_type", "urn:x"), 400, "invalid_request", "client_assertion_type"},
		"no assertion":                 {clone(good(), "client_assertion", ""), 400, "invalid_request", "without a client_assertion"},
		"another client_id":            {clone(good(), "client_id", "fdsdemo"), 401, "invalid_client", "differs from the sub"},
		"a secret too":                 {clone(good(), "client_secret", "12345678"), 400, "invalid_request", "two ways"},
		"neither assertion nor secret": {credentialsForm("fleet"), 401, "invalid_client", "registered for private_key_jwt and came with none"},
		"a secret instead":             {clone(credentialsForm("fleet"), "client_secret", "12345678"), 401, "invalid_client", "registered for private_key_jwt"},
	} {
		c.token(fault.form).wants(t, what, fault.status, fault.code, fault.cause)
	}
	c.token(good(), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("fleet:x"))).wants(t, "Basic too", 400, "invalid_request", "two ways")
}

func TestAnApplicationAuthenticatesAsItIsRegisteredAndAsTheProviderOffers(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, AuthMethods: []fdstest.AuthMethod{fdstest.ClientSecretPost, fdstest.ClientSecretBasic}})
	addClient(t, p, fdstest.Application{ID: "basic", Secret: "s3cret-s3cret", AuthMethod: fdstest.ClientSecretBasic, ClientCredentials: p.Owners()})
	addClient(t, p, fdstest.Application{ID: "post", Secret: "s3cret-s3cret", AuthMethod: fdstest.ClientSecretPost, ClientCredentials: p.Owners()})
	c := newRaw(t, p, nil)
	basic := func(id string) answer {
		return c.token(url.Values{"grant_type": {"client_credentials"}}, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":s3cret-s3cret")))
	}
	post := func(id string) answer { return c.token(clone(credentialsForm(id), "client_secret", "s3cret-s3cret")) }
	basic("basic").succeeds(t, "basic by Basic")
	post("post").succeeds(t, "post by post")
	basic("post").wants(t, "post by Basic", 401, "invalid_client", "registered for client_secret_post")
	post("basic").wants(t, "basic by post", 401, "invalid_client", "registered for client_secret_basic")
	c.token(renewal("fdsdemo", "any")).wants(t, "a public client", 401, "invalid_client", "does not offer authentication by none")
}

func TestCertificateBoundTokensServeOnTheirCertificatesConnectionsOnly(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, CertificateBoundTokens: true, AuthMethods: []fdstest.AuthMethod{fdstest.NoAuth, fdstest.TLSClientAuth}, Introspection: true})
	for id, method := range map[string]fdstest.AuthMethod{"public": fdstest.NoAuth, "fleet": fdstest.TLSClientAuth} {
		addClient(t, p, fdstest.Application{ID: id, AuthMethod: method, CertificateBoundTokens: true})
	}
	if m := metadataOf(t, p); m["tls_client_certificate_bound_access_tokens"] != true {
		t.Errorf("metadata: %v", m)
	}
	endpoint := alias(t, p, "token_endpoint")
	certificate, successor := issueCertificate(t, p, fdstest.CertificateRequest{CommonName: "fleet"}), issueCertificate(t, p, fdstest.CertificateRequest{CommonName: "fleet"})
	mine, rotated, none := newRaw(t, p, certificate), newRaw(t, p, successor), newRaw(t, p, nil)
	sum := sha256.Sum256(certificate.TLS.Certificate[0])
	for _, id := range []string{"public", "fleet"} {
		form := approved(t, p, id)
		if id == "public" {
			none.token(form).wants(t, "no certificate", 400, "invalid_request", "the request has none")
		}
		tokens := mine.post(endpoint, form).succeeds(t, id)
		access, refresh := text(tokens, "access_token"), text(tokens, "refresh_token")
		cnf, _ := claimOf(t, access, "cnf").(map[string]any)
		if cnf["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) || tokens["token_type"] != "Bearer" {
			t.Errorf("%s: cnf is %v, token_type %v", id, cnf, tokens["token_type"])
		}
		if ans := mine.spaces("Authorization", "Bearer "+access); ans.status != http.StatusOK {
			t.Errorf("%s: its certificate: %d", id, ans.status)
		}
		for what, client := range map[string]raw{"another": rotated, "no": none} {
			ans := client.spaces("Authorization", "Bearer "+access)
			if ans.status != http.StatusUnauthorized || !strings.Contains(ans.header.Get("WWW-Authenticate"), "bound to another client certificate") {
				t.Errorf("%s: %s certificate: %d %q", id, what, ans.status, ans.header.Get("WWW-Authenticate"))
			}
		}
		// A confidential application's refresh token outlives its certificate.
		renewed := rotated.post(endpoint, renewal(id, refresh))
		if id == "public" {
			renewed.wants(t, "another certificate", 400, "invalid_grant", "bound to another certificate")
			mine.post(endpoint, renewal(id, refresh)).succeeds(t, "the refused request spent the token")
			continue
		}
		access = text(renewed.succeeds(t, "after rotation"), "access_token")
		if ans := rotated.spaces("Authorization", "Bearer "+access); ans.status != http.StatusOK {
			t.Errorf("a token for the new certificate: %d", ans.status)
		}
		answer := rotated.post(alias(t, p, "introspection_endpoint"), url.Values{"client_id": {id}, "token": {access}}).succeeds(t, "introspection")
		if cnf, _ := answer["cnf"].(map[string]any); cnf["x5t#S256"] == nil {
			t.Errorf("introspection: %v", answer)
		}
	}
}

func TestFaultyApplicationsAreExplained(t *testing.T) {
	plain := fdstest.New(t, fdstest.Options{Quiet: true})
	all := fdstest.New(t, fdstest.Options{Quiet: true, AuthMethods: []fdstest.AuthMethod{fdstest.NoAuth, fdstest.ClientSecretBasic, fdstest.PrivateKeyJWT, fdstest.TLSClientAuth, fdstest.SelfSignedTLSClientAuth}})
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issueCertificate(t, all, fdstest.CertificateRequest{CommonName: "a", SelfSigned: true}).TLS.Leaf
	for _, c := range []struct {
		p           *fdstest.Provider
		application fdstest.Application
		want        string
	}{
		{plain, fdstest.Application{AuthMethod: fdstest.TLSClientAuth}, `"tls_client_auth", which this server does not offer`},
		{plain, fdstest.Application{CertificateBoundTokens: true}, "bound to its certificate"},
		{plain, fdstest.Application{DPoP: true}, "DPoP, which this server does not offer"},
		{plain, fdstest.Application{PushedRequests: true}, "push"},
		{plain, fdstest.Application{ClientCredentials: plain.Owners()}, "it is public"},
		{plain, fdstest.Application{Secret: "s", ClientCredentials: all.Owners()}, "no owner is spelt"},
		{all, fdstest.Application{AuthMethod: fdstest.ClientSecretBasic}, "has no secret"},
		{all, fdstest.Application{AuthMethod: fdstest.NoAuth, Secret: "s"}, "has a secret too"},
		{all, fdstest.Application{AuthMethod: fdstest.SelfSignedTLSClientAuth}, "has none"},
		{all, fdstest.Application{Certificates: []*x509.Certificate{leaf}}, "only self_signed_tls_client_auth"},
		{all, fdstest.Application{AuthMethod: fdstest.SelfSignedTLSClientAuth, Certificates: []*x509.Certificate{nil}}, "is nil"},
		{all, fdstest.Application{CertificateSubject: "CN=a"}, "only tls_client_auth"},
		{all, fdstest.Application{AuthMethod: fdstest.PrivateKeyJWT}, "has no key"},
		{all, fdstest.Application{Keys: map[string]crypto.PublicKey{"": newKey(t).Public()}}, "only private_key_jwt"},
		{all, fdstest.Application{AuthMethod: fdstest.PrivateKeyJWT, Keys: map[string]crypto.PublicKey{"": small.Public()}}, "2048 bits"},
		{all, fdstest.Application{AuthMethod: fdstest.PrivateKeyJWT, Keys: map[string]crypto.PublicKey{"": newKey(t)}}, "PrivateKey is not"},
	} {
		c.application.ID, c.application.RedirectURIs = "a", []string{"http://127.0.0.1/callback"}
		if err := c.p.AddClient(c.application); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
