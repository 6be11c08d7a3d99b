package fdstest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"
)

// raw sends requests just as a test says, with a client certificate or without.
type raw struct {
	t    *testing.T
	p    *fdstest.Provider
	http *http.Client
}

func newRaw(t *testing.T, p *fdstest.Provider, certificate *fdstest.Certificate) raw {
	t.Helper()
	policy := &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}
	if certificate != nil {
		policy.Certificates = []tls.Certificate{certificate.TLS}
	}
	transport := &http.Transport{TLSClientConfig: policy, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return raw{t, p, &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// send makes a request; each header is a name and a value.
func (c raw) send(method, target string, form url.Values, headers ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

func (c raw) post(target string, form url.Values, headers ...string) answer {
	c.t.Helper()
	return c.send(http.MethodPost, target, form, headers...)
}

func (c raw) token(form url.Values, headers ...string) answer {
	c.t.Helper()
	return c.post(c.p.Issuer()+"/token", form, headers...)
}

// spaces asks the Web API for spaces.
func (c raw) spaces(headers ...string) answer {
	c.t.Helper()
	return c.send(http.MethodGet, c.p.APIURL()+"/fds/v2/spaces", nil, headers...)
}

// alias returns the endpoint that takes client certificates.
func alias(t *testing.T, p *fdstest.Provider, endpoint string) string {
	t.Helper()
	aliases, _ := metadataOf(t, p)["mtls_endpoint_aliases"].(map[string]any)
	target, _ := aliases[endpoint].(string)
	if target == "" || strings.HasPrefix(target, p.Issuer()+"/") {
		t.Fatalf("%s has no alias at another port: %v", endpoint, aliases)
	}
	return target
}

func metadataOf(t *testing.T, p *fdstest.Provider) map[string]any {
	t.Helper()
	return newRaw(t, p, nil).send(http.MethodGet, p.Issuer()+"/.well-known/oauth-authorization-server", nil).json(t)
}

// wants demands an error of RFC 6749 section 5.2 whose description names the
// cause.
func (ans answer) wants(t *testing.T, what string, status int, code, cause string) {
	t.Helper()
	if ans.err != nil {
		t.Errorf("%s: %v", what, ans.err)
		return
	}
	m := ans.json(t)
	description, _ := m["error_description"].(string)
	if ans.status != status || m["error"] != code || !strings.Contains(description, cause) {
		t.Errorf("%s: %d %v %q; want %d %s %q", what, ans.status, m["error"], description, status, code, cause)
	}
}

// succeeds demands 200 and returns the members.
func (ans answer) succeeds(t *testing.T, what string) map[string]any {
	t.Helper()
	if ans.err != nil || ans.status != http.StatusOK {
		t.Fatalf("%s: %d %s %v", what, ans.status, ans.body, ans.err)
	}
	return ans.json(t)
}

func text(members map[string]any, name string) string {
	s, _ := members[name].(string)
	return s
}

func clone(form url.Values, changes ...string) url.Values {
	c := url.Values{}
	for name, values := range form {
		c[name] = append([]string(nil), values...)
	}
	for i := 0; i < len(changes); i += 2 {
		c.Set(changes[i], changes[i+1])
	}
	return c
}

// approved goes the front half of a sign-in and returns the form for the token
// endpoint.
func approved(t *testing.T, p *fdstest.Provider, clientID string, extra ...string) url.Values {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	return codeForm(t, p, clientID, verifier, p.Issuer()+"/authorize?"+authorizationForm(clientID, verifier, extra...).Encode())
}

const redirectURI = "http://127.0.0.1:4711/callback"

func authorizationForm(clientID, verifier string, extra ...string) url.Values {
	return clone(url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {redirectURI}, "state": {"st"},
		"scope": {"openid offline_access"}, "prompt": {"consent"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}, extra...)
}

func codeForm(t *testing.T, p *fdstest.Provider, clientID, verifier, authorizationURL string) url.Values {
	t.Helper()
	callback, err := p.ApproveCallback(t.Context(), authorizationURL)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil || u.Query().Get("code") == "" {
		t.Fatalf("no code: %v, %s", err, u.Query().Get("error_description"))
	}
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {redirectURI},
		"code_verifier": {verifier}, "client_id": {clientID},
	}
}

func renewal(clientID, refreshToken string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "client_id": {clientID}}
}

func addClient(t *testing.T, p *fdstest.Provider, a fdstest.Application) {
	t.Helper()
	if a.RedirectURIs == nil {
		a.RedirectURIs = []string{"http://127.0.0.1/callback"}
	}
	if err := p.AddClient(a); err != nil {
		t.Fatal(err)
	}
}

func issueCertificate(t *testing.T, p *fdstest.Provider, req fdstest.CertificateRequest) *fdstest.Certificate {
	t.Helper()
	c, err := p.IssueCertificate(req)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signed makes a JWT.
func signed(t *testing.T, algorithm jose.SignatureAlgorithm, key any, options *jose.SignerOptions, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// proof makes a DPoP proof; changes are names and values of claims, nil to leave
// one out.
func proof(t *testing.T, key *ecdsa.PrivateKey, method, target, accessToken string, changes ...any) string {
	t.Helper()
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "iat": time.Now().Unix()}
	if accessToken != "" {
		sum := sha256.Sum256([]byte(accessToken))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	for i := 0; i < len(changes); i += 2 {
		claims[changes[i].(string)] = changes[i+1]
	}
	return signed(t, jose.ES256, key, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"), claims)
}

func thumbprint(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}
