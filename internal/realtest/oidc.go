package realtest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// OIDCOptions says what differs from a provider whose access tokens are JWTs that live for an hour.
type OIDCOptions struct {
	// CA issues the provider's certificate and those of its clients; by default the provider gets
	// one of its own.
	CA *CA
	// SubscriptionIDs are those of the person who signs in, unless Approve says otherwise; by
	// default one random ID.
	SubscriptionIDs []string
	// SubscriptionClaim is the claim that carries them, "subscription_id" by default: a string for
	// one, an array for several.
	SubscriptionClaim string
	// AccessTokenTTL and RefreshTokenTTL are in whole seconds; by default an hour and 14 days.
	AccessTokenTTL, RefreshTokenTTL time.Duration
	// RedirectURIs are those of all clients; by default /callback and /callback/{issuer} on
	// http://127.0.0.1 and http://[::1], each with any port. {issuer} stands for the first
	// 20 hexadecimal digits of the SHA-256 of Issuer.
	RedirectURIs []string
	// OpaqueAccessTokens are not JWTs, so only the ID token carries the claim. They can be revoked,
	// JWT access tokens cannot.
	OpaqueAccessTokens bool
	// OpaqueResource is a resource whose access tokens are not JWTs. Introspection says for which one
	// they are, which it does not with OpaqueAccessTokens.
	OpaqueResource string
	// NoClaimInIDToken leaves the claim to the access token.
	NoClaimInIDToken bool
	// PushedRequests demands that authorization requests are pushed (RFC 9126).
	PushedRequests bool
	// ProofNonce demands a nonce in DPoP proofs (RFC 9449 section 8).
	ProofNonce bool
	// AcceptWithoutPKCE takes authorization requests without a code_challenge.
	AcceptWithoutPKCE bool
	// NoRotation keeps refresh tokens through their uses.
	NoRotation bool
}

// OIDCClient is one of the applications that the provider knows.
type OIDCClient struct {
	ID     string
	Method string // the client authentication method, in OAuth's spelling
	Secret string // for the methods with a secret
	// Certificate, for the methods with a key: tls_client_auth, self_signed_tls_client_auth, and
	// private_key_jwt (ES256).
	Certificate Certificate
}

// OIDC is a running oidc-provider, a certified OpenID provider. Unless the options say otherwise it
// demands PKCE with S256, rotates refresh tokens, and answers the second use of one with
// invalid_grant and the end of the whole grant. It has RFC 8414 and OpenID metadata, `iss` in the
// authorization response, revocation, pushed authorization requests and the device grant. A refresh
// token is issued for the scope offline_access with prompt=consent.
type OIDC struct {
	*CA
	Issuer string // https://127.0.0.1:PORT
	CAPEM  []byte
	// RootCAs trusts the provider's certificate.
	RootCAs *x509.CertPool
	// Resource is the audience of its JWT access tokens, unless another one is asked for (RFC 8707).
	Resource string

	// One client for each authentication method. With either TLS method access tokens are bound to
	// the certificate (RFC 8705).
	Public, Basic, Post, PrivateKeyJWT, TLS, SelfSignedTLS OIDCClient

	t               testing.TB
	process         *child
	journal         string
	subscriptionIDs []string
	cookies         http.CookieJar // of applications on this machine
}

// script is what oidc/provider.mjs reads.
type script struct {
	Certificate             string         `json:"certificate"`
	Key                     string         `json:"key"`
	CA                      string         `json:"ca"`
	Claim                   string         `json:"claim"`
	ClaimInIDToken          bool           `json:"claimInIDToken"`
	Opaque                  bool           `json:"opaque"`
	Resource                string         `json:"resource"`
	OpaqueResource          string         `json:"opaqueResource"`
	RedirectURIs            []string       `json:"redirectURIs"`
	AccessTokenSeconds      int            `json:"accessTokenSeconds"`
	RefreshTokenSeconds     int            `json:"refreshTokenSeconds"`
	Journal                 string         `json:"journal"`
	PushedRequests          bool           `json:"pushedRequests"`
	ProofNonce              bool           `json:"proofNonce"`
	AcceptWithoutPKCE       bool           `json:"acceptWithoutPKCE"`
	NoRotation              bool           `json:"noRotation"`
	ApplicationSubscription string         `json:"applicationSubscription"`
	Clients                 []scriptClient `json:"clients"`
}

type scriptClient struct {
	ID          string `json:"id"`
	Method      string `json:"method"`
	Secret      string `json:"secret"`
	Certificate string `json:"certificate"`
}

// OIDCProvider starts an OpenID provider on a free port of 127.0.0.1. It needs node and, in
// internal/realtest/oidc, `npm ci`.
func OIDCProvider(t testing.TB, options OIDCOptions) *OIDC {
	t.Helper()
	const what = "an OpenID provider"
	node := program(t, what, "node", "apt-get install --no-install-recommends nodejs npm")
	folder := scriptFolder(t)
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "oidc-provider")); err != nil {
		Require(t, what, "oidc-provider is not installed: run `npm ci` in internal/realtest/oidc")
	}

	o := &OIDC{
		CA:              options.CA,
		Resource:        "https://api.fds.example",
		t:               t,
		journal:         filepath.Join(t.TempDir(), "journal"),
		subscriptionIDs: options.SubscriptionIDs,
	}
	if o.CA == nil {
		o.CA = NewCA(t)
	}
	o.CAPEM, o.RootCAs = o.CA.PEM(), o.CA.Pool()
	if len(o.subscriptionIDs) == 0 {
		o.subscriptionIDs = []string{uuid.NewString()}
	}
	var err error
	if o.cookies, err = cookiejar.New(nil); err != nil {
		t.Fatalf("realtest: %v", err)
	}
	o.makeClients()

	server := o.serverCertificate()
	configuration := script{
		Certificate:             string(server.PEM),
		Key:                     string(server.KeyPEM),
		CA:                      string(o.CAPEM),
		Claim:                   options.SubscriptionClaim,
		ClaimInIDToken:          !options.NoClaimInIDToken,
		Opaque:                  options.OpaqueAccessTokens,
		Resource:                o.Resource,
		OpaqueResource:          options.OpaqueResource,
		RedirectURIs:            options.RedirectURIs,
		AccessTokenSeconds:      seconds(t, options.AccessTokenTTL, time.Hour),
		RefreshTokenSeconds:     seconds(t, options.RefreshTokenTTL, 14*24*time.Hour),
		Journal:                 o.journal,
		PushedRequests:          options.PushedRequests,
		ProofNonce:              options.ProofNonce,
		AcceptWithoutPKCE:       options.AcceptWithoutPKCE,
		NoRotation:              options.NoRotation,
		ApplicationSubscription: o.subscriptionIDs[0],
	}
	if configuration.Claim == "" {
		configuration.Claim = "subscription_id"
	}
	if len(configuration.RedirectURIs) == 0 {
		configuration.RedirectURIs = []string{
			"http://127.0.0.1/callback", "http://[::1]/callback", "http://127.0.0.1/callback/{issuer}", "http://[::1]/callback/{issuer}",
		}
	}
	for _, client := range o.clients() {
		configuration.Clients = append(configuration.Clients, scriptClient{
			ID: client.ID, Method: client.Method, Secret: client.Secret, Certificate: string(client.Certificate.PEM),
		})
	}
	o.start(node, folder, configuration)
	return o
}

func (o *OIDC) start(node, folder string, configuration script) {
	o.t.Helper()
	line, err := json.Marshal(configuration)
	if err != nil {
		o.t.Fatalf("realtest: %v", err)
	}
	command := exec.Command(node, filepath.Join(folder, "provider.mjs"))
	// The script ends when its standard input does: also when this process is killed, on every
	// system.
	input, err := command.StdinPipe()
	if err != nil {
		o.t.Fatalf("realtest: %v", err)
	}
	o.process = startChild(o.t, "oidc-provider", command)
	if _, err := io.Copy(input, bytes.NewReader(append(line, '\n'))); err != nil {
		o.process.kill()
		o.t.Fatalf("realtest: configure oidc-provider: %v; its output:\n%s", err, o.process.output)
	}
	port, _ := strings.CutPrefix(o.process.waitLine(o.t, "ready "), "ready ")
	o.Issuer = "https://127.0.0.1:" + port
}

func (o *OIDC) makeClients() {
	o.t.Helper()
	certificate := func(cn string) Certificate { return o.IssueCertificate(cn, CertificateOptions{}) }
	o.Public = OIDCClient{ID: "app-public", Method: "none"}
	o.Basic = OIDCClient{ID: "app-basic", Method: "client_secret_basic", Secret: rand.Text()}
	o.Post = OIDCClient{ID: "app-post", Method: "client_secret_post", Secret: rand.Text()}
	o.PrivateKeyJWT = OIDCClient{ID: "app-jwt", Method: "private_key_jwt", Certificate: certificate("app-jwt")}
	o.TLS = OIDCClient{ID: "app-tls", Method: "tls_client_auth", Certificate: certificate("app-tls")}
	o.SelfSignedTLS = OIDCClient{ID: "app-self-signed", Method: "self_signed_tls_client_auth", Certificate: certificate("app-self-signed")}
}

func (o *OIDC) clients() []OIDCClient {
	return []OIDCClient{o.Public, o.Basic, o.Post, o.PrivateKeyJWT, o.TLS, o.SelfSignedTLS}
}

// HTTPClient trusts the provider, and shows the certificates, if any. It follows no redirect.
func (o *OIDC) HTTPClient(certificates ...tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, Certificates: certificates,
	}}
	o.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       startTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// OIDCRequest is one request that the provider has answered.
type OIDCRequest struct {
	Route  string // in oidc-provider's words: discovery, authorization, resume, token, revocation, jwks, ...
	Client string // the client's ID, once it is authenticated
	Grant  string // the grant_type
	Status int
	Error  string // OAuth's error code, if it answered one
}

type journalLine struct {
	OIDCRequest
	Secrets []string
}

// Requests are those answered so far, the person's pages left out.
func (o *OIDC) Requests() []OIDCRequest {
	o.t.Helper()
	var requests []OIDCRequest
	for _, line := range o.readJournal() {
		requests = append(requests, line.OIDCRequest)
	}
	return requests
}

// Secrets are all that passed so far and no log may show: codes, verifiers, tokens, assertions, and
// the clients' secrets.
func (o *OIDC) Secrets() []string {
	o.t.Helper()
	var secrets []string
	for _, client := range o.clients() {
		if client.Secret != "" {
			secrets = append(secrets, client.Secret)
		}
	}
	for _, line := range o.readJournal() {
		secrets = append(secrets, line.Secrets...)
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

// readJournal reads what the script has written: a line for each request, complete before its
// answer leaves.
func (o *OIDC) readJournal() []journalLine {
	o.t.Helper()
	content, err := os.ReadFile(o.journal)
	if err != nil && !os.IsNotExist(err) {
		o.t.Fatalf("realtest: %v", err)
	}
	var all []journalLine
	for line := range bytes.Lines(content) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // of a request that is being answered
		}
		var parsed journalLine
		if err := json.Unmarshal(line, &parsed); err != nil {
			o.t.Fatalf("realtest: the provider's journal: %v", err)
		}
		all = append(all, parsed)
	}
	return all
}

// Logs is what the script has printed: warnings of oidc-provider and node, and the errors that it
// answers with status 500.
func (o *OIDC) Logs() string { return o.process.output.String() }

// Stop ends the provider for good; it keeps everything in memory, so a new one would know nobody.
func (o *OIDC) Stop() { o.process.kill() }

// Freeze has the provider go silent with its port open; Thaw ends that. Unix only.
func (o *OIDC) Freeze() {
	o.t.Helper()
	if err := o.process.freeze(); err != nil {
		o.t.Fatalf("realtest: freeze the provider: %v", err)
	}
}

// Thaw lets a frozen provider go on.
func (o *OIDC) Thaw() {
	o.t.Helper()
	if err := o.process.thaw(); err != nil {
		o.t.Fatalf("realtest: thaw the provider: %v", err)
	}
}

// scriptFolder is internal/realtest/oidc, wherever the test runs.
func scriptFolder(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		Require(t, "an OpenID provider", "the test was built with -trimpath, which hides where its script is")
	}
	return filepath.Join(filepath.Dir(file), "oidc")
}

func seconds(t testing.TB, lifetime, otherwise time.Duration) int {
	t.Helper()
	if lifetime == 0 {
		lifetime = otherwise
	}
	if lifetime < time.Second || lifetime%time.Second != 0 {
		t.Fatalf("realtest: a token's lifetime is in whole seconds, not %v", lifetime)
	}
	return int(lifetime / time.Second)
}
