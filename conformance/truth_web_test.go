package conformance_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestMain(m *testing.M) {
	conformance.Impatient(1200*time.Millisecond, 5*time.Second, 2*time.Second)
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // they wait rather than compute
		panic(err)
	}
	os.Exit(m.Run())
}

// newWebSite is newSite with all that the checks of the Web API ask for, and without a broker, whose
// checks take longer and see nothing of the web.
func newWebSite(t *testing.T, options fdstest.Options) *site {
	t.Helper()
	s := newSite(t, options)
	s.config.Client.Provider.BrokerURL = ""
	s.box.SetTokenLifetimes(time.Millisecond, 0)
	expired, err := s.box.IssueTokens(s.box.ConfidentialApplication().ID, s.box.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	s.box.SetTokenLifetimes(10*time.Minute, 0)
	s.config.ExpiredToken = fds.NewSecret(expired.AccessToken)
	return s
}

// rows are outcomes of checks, by their IDs.
type rows map[string]conformance.Outcome

// all returns one outcome for many rows.
func all(o conformance.Outcome, ids ...string) rows {
	r := make(rows)
	for _, id := range ids {
		r[id] = o
	}
	return r
}

func (r rows) and(others ...rows) rows {
	together := maps.Clone(r)
	for _, other := range others {
		maps.Copy(together, other)
	}
	return together
}

// What depends on one control, and is an error without it.
var (
	behindAPI = []string{
		"W3-api-without-token", "W9-api-query-token", "W5-api-altered-token", "W5-api-unsigned-token", "W5-api-foreign-key-token", "W5-api-confused-key-token",
		"W5-api-foreign-token", "W5-api-expired-token", "W5-api-other-owner",
		"API-unauthorized-object", "API-unknown-parameter", "API-repeated-parameter", "API-unknown-endpoint",
	}
	behindSignIn    = []string{"W8-signin-code-twice", "W8-signin-verifier", "W8-signin-pkce-demanded", "W8-signin-redirect-exact"}
	behindRenewal   = []string{"W10-auth-rotation", "W10-auth-refresh-reuse"}
	behindRightName = []string{"W4-auth-wrong-credentials", "W4-auth-no-credentials"}
)

const (
	pass          = conformance.Pass
	fail          = conformance.Fail
	untestable    = conformance.NotTestable
	notApplicable = conformance.NotApplicable
	failed        = conformance.Error
)

// weakness is one thing that is wrong with a provider, and the rows whose outcome is another one
// than in the clean run.
type weakness struct {
	name    string
	options fdstest.Options
	make    func(t *testing.T, s *site)
	rows    rows
}

// faults injects into the box.
func faults(all ...fdstest.Fault) func(*testing.T, *site) {
	return func(_ *testing.T, s *site) {
		for _, f := range all {
			s.box.Inject(f)
		}
	}
}

// serving has a server show another certificate.
func serving(at fdstest.Endpoint, request fdstest.CertificateRequest) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		t.Helper()
		request.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if request.Hosts == nil {
			request.Hosts = []string{"127.0.0.1"}
		}
		request.CommonName = "the server"
		certificate, err := s.box.IssueCertificate(request)
		if err != nil {
			t.Fatal(err)
		}
		s.box.Inject(fdstest.ServerTLS(at, func(c *tls.Config) { c.Certificates = []tls.Certificate{certificate.TLS} }))
	}
}

// admitting has the Web API answer as the first owner's where decide says so.
func admitting(decide func(s *site, r *http.Request, token string) bool) func(*testing.T, *site) {
	return func(_ *testing.T, s *site) {
		s.box.Inject(fdstest.LooseAuthorization(func(r *http.Request) []fdstest.Owner {
			if decide(s, r, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
				return s.box.Owners()[:1]
			}
			return nil
		}))
	}
}

// named reports whether a JWT names the first owner, whoever has signed it.
func named(s *site, token string) bool {
	return strings.Count(token, ".") == 2 && claimsOf(token)[s.box.SubscriptionClaim()] == s.box.Owners()[0].Spelling
}

func claimsOf(token string) map[string]any {
	var claims map[string]any
	data, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	_ = json.Unmarshal(data, &claims)
	return claims
}

// shutsOut has the Web API answer 403 to everything from a token that is not good to the end of
// the check.
func shutsOut(_ *testing.T, s *site) {
	var out atomic.Bool
	s.config.OnResult = func(conformance.Result) { out.Store(false) }
	s.box.Inject(fdstest.LooseAuthorization(func(r *http.Request) []fdstest.Owner {
		token, has := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if has && (token == s.config.ExpiredToken.Reveal() || !slices.Contains(s.box.Secrets(), token)) {
			out.Store(true)
		}
		return nil
	}))
	s.box.Inject(fdstest.RewriteAnswer(fdstest.APIEndpoint, func(r *fdstest.Reply) {
		if out.Load() {
			r.Status, r.Body = http.StatusForbidden, nil
		}
	}))
}

// confusing has the Web API verify what says HS256 with its public key for the secret.
func confusing(t *testing.T, s *site) {
	way := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.box.RootCAs(), MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	answer, err := way.Get(s.box.Issuer() + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(set.Keys[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	admitting(func(s *site, _ *http.Request, token string) bool {
		parts := strings.Split(token, ".")
		header, _ := base64.RawURLEncoding.DecodeString(parts[0])
		if len(parts) != 3 || !strings.Contains(string(header), "HS256") {
			return false
		}
		code := hmac.New(sha256.New, secret)
		code.Write([]byte(parts[0] + "." + parts[1]))
		return base64.RawURLEncoding.EncodeToString(code.Sum(nil)) == parts[2]
	})(t, s)
}

// programsKeptOut puts something before the authorization endpoint that lets browsers through
// alone.
func programsKeptOut(_ *testing.T, s *site) {
	guard := fdstest.Answer(fdstest.AuthorizationEndpoint, http.StatusForbidden, "text/html", "<p>Are you a person?</p>")
	off := s.box.Inject(guard)
	approve := s.config.SignIn.OpenBrowser
	s.config.SignIn.OpenBrowser = func(ctx context.Context, address string) error {
		off()
		defer func() { off = s.box.Inject(guard) }()
		return approve(ctx, address)
	}
}

var webTruth = []weakness{
	// W1
	{name: "the Web API speaks plain HTTP", make: faults(fdstest.PlainHTTP(fdstest.APIEndpoint)), rows: rows{"W1-api-plain-http": fail}},
	{name: "the authorization server speaks plain HTTP", make: faults(fdstest.PlainHTTP(fdstest.TokenEndpoint)), rows: rows{"W1-auth-plain-http": fail}},
	{name: "an endpoint is not https", make: faults(fdstest.MetadataMember("revocation_endpoint", "http://127.0.0.1/revoke")), rows: rows{"W1-auth-endpoints-https": fail}},

	// W2
	{name: "the Web API takes TLS 1.0", make: faults(fdstest.ServerTLS(fdstest.APIEndpoint, func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 })),
		rows: rows{"W2-api-tls-1.0": fail, "W2-api-tls-1.1": fail}},
	{name: "the authorization server takes TLS 1.1", make: faults(fdstest.ServerTLS(fdstest.TokenEndpoint, func(c *tls.Config) { c.MinVersion = tls.VersionTLS11 })),
		rows: rows{"W2-auth-tls-1.1": fail}},
	{name: "the Web API takes TLS 1.3 alone", make: faults(fdstest.ServerTLS(fdstest.APIEndpoint, func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })),
		rows: rows{"W2-api-tls-1.2": fail}},
	{name: "the Web API asks for a client certificate", make: faults(fdstest.ServerTLS(fdstest.APIEndpoint, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert })), rows: rows{}},
	{name: "the Web API demands a client certificate", make: faults(fdstest.ServerTLS(fdstest.APIEndpoint, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })),
		rows: rows{"W3-api-with-token": failed}.and(all(failed, behindAPI...))},
	{name: "the Web API's certificate ends soon", make: serving(fdstest.APIEndpoint, fdstest.CertificateRequest{NotBefore: time.Now().Add(-60 * 24 * time.Hour), NotAfter: time.Now().Add(5 * 24 * time.Hour)}),
		rows: rows{"W2-api-certificate": fail}},
	{name: "the Web API's certificate is over", make: serving(fdstest.APIEndpoint, fdstest.CertificateRequest{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}),
		rows: rows{"W2-api-certificate": fail, "W3-api-with-token": failed}.and(all(failed, behindAPI...))},
	{name: "the Web API's certificate is for another name", make: serving(fdstest.APIEndpoint, fdstest.CertificateRequest{Hosts: []string{"other.example"}}),
		rows: rows{"W2-api-certificate": fail, "W3-api-with-token": failed}.and(all(failed, behindAPI...))},
	{name: "the Web API's certificate is of another authority", make: serving(fdstest.APIEndpoint, fdstest.CertificateRequest{ForeignCA: true}),
		rows: rows{"W2-api-certificate": fail, "W3-api-with-token": failed}.and(all(failed, behindAPI...))},

	// W3, W9
	{name: "the metadata name another issuer", make: faults(fdstest.MetadataMember("issuer", "https://other.example")),
		rows: rows{"W3-auth-metadata": fail, "W4-auth-right-credentials": failed, "W8-signin-ordinary": failed, "W10-auth-renewal": fail}.and(
			all(failed, behindRightName...), all(failed, behindSignIn...), all(failed, behindRenewal...))},
	{name: "there are no metadata", make: faults(fdstest.Answer(fdstest.MetadataEndpoint, http.StatusNotFound, "text/plain", "not found")),
		rows: rows{"W1-auth-endpoints-https": failed, "W3-auth-metadata": fail, "W4-auth-right-credentials": failed, "W10-auth-renewal": failed, "W8-signin-ordinary": failed}.and(
			all(failed, behindRightName...), all(failed, behindSignIn...), all(failed, behindRenewal...),
			all(failed, "W8-auth-code-offered", "W8-auth-pkce-offered", "W8-auth-issuer-in-response", "W8-auth-no-unsafe-grants"))},
	{name: "the Web API wants no token", make: admitting(func(_ *site, r *http.Request, _ string) bool { return r.Header.Get("Authorization") == "" }),
		rows: rows{"W3-api-without-token": fail, "API-unauthorized-object": fail}},
	{name: "the Web API takes the token in the URL", make: admitting(func(_ *site, r *http.Request, _ string) bool {
		q := r.URL.Query()
		has := q.Has("access_token")
		q.Del("access_token")
		r.URL.RawQuery = q.Encode()
		return has
	}), rows: rows{"W9-api-query-token": fail}},

	{name: "the Web API is busy", make: faults(fdstest.TooManyRequests(fdstest.APIEndpoint, "3600")), rows: rows{"W3-api-with-token": failed}.and(all(failed, behindAPI...))},
	{name: "the Web API shuts out for a while who has sent a bad token", make: shutsOut,
		rows: all(failed, "W5-api-altered-token", "W5-api-unsigned-token", "W5-api-foreign-key-token", "W5-api-confused-key-token", "W5-api-foreign-token", "W5-api-expired-token")},
	{name: "refusals have the data in their body", make: faults(fdstest.RewriteAnswer(fdstest.APIEndpoint, func(r *fdstest.Reply) {
		if r.Status == http.StatusUnauthorized {
			r.Body = []byte(`[{"device_id":"1"}]`)
		}
	})), rows: all(fail, "W3-api-without-token", "W9-api-query-token", "W5-api-altered-token", "W5-api-unsigned-token", "W5-api-foreign-key-token",
		"W5-api-confused-key-token", "W5-api-foreign-token", "W5-api-expired-token", "API-unauthorized-object")},

	// W4
	{name: "the application's name will do", make: faults(fdstest.AnyCredentials()), rows: all(fail, behindRightName...)},

	// W5
	{name: "the Web API verifies no signature", make: admitting(func(s *site, _ *http.Request, token string) bool {
		return named(s, token) && claimsOf(token)["iss"] == s.box.Issuer() && token != s.config.ExpiredToken.Reveal()
	}),
		rows: all(fail, "W5-api-altered-token", "W5-api-unsigned-token", "W5-api-foreign-key-token", "W5-api-confused-key-token")},
	{name: "the Web API takes tokens without a signature", make: admitting(func(s *site, _ *http.Request, token string) bool {
		return named(s, token) && strings.HasSuffix(token, ".")
	}),
		rows: rows{"W5-api-unsigned-token": fail}},
	{name: "the Web API takes its key for the secret of an HMAC", make: confusing, rows: rows{"W5-api-confused-key-token": fail}},
	{name: "the Web API takes tokens of every issuer", make: admitting(func(s *site, _ *http.Request, token string) bool {
		return named(s, token) && claimsOf(token)["iss"] != s.box.Issuer()
	}), rows: rows{"W5-api-foreign-token": fail}},
	{name: "the Web API takes tokens that are over", make: admitting(func(s *site, _ *http.Request, token string) bool { return token == s.config.ExpiredToken.Reveal() }),
		rows: rows{"W5-api-expired-token": fail}},
	{name: "the token that is over is another owner's", make: func(t *testing.T, s *site) {
		s.box.SetTokenLifetimes(time.Millisecond, 0)
		defer s.box.SetTokenLifetimes(10*time.Minute, 0)
		other, err := s.box.IssueTokens(s.box.ConfidentialApplication().ID, s.box.Owners()[2])
		if err != nil {
			t.Fatal(err)
		}
		s.config.ExpiredToken = fds.NewSecret(other.AccessToken)
	}, rows: rows{"W5-api-expired-token": untestable}},
	{name: "one owner reads what is another's", make: func(_ *testing.T, s *site) {
		s.box.Inject(fdstest.LooseAuthorization(func(r *http.Request) []fdstest.Owner {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			if strings.Count(token, ".") == 2 && claimsOf(token)[s.box.SubscriptionClaim()] == s.box.Owners()[1].Spelling {
				return s.box.Owners()
			}
			return nil
		}))
	}, rows: rows{"W5-api-other-owner": fail}},

	// W6, W7
	{name: "a subscription ID is no UUID of version 4", make: faults(fdstest.TokenSubscription("6fa459ea-ee8a-11e3-ac10-0800200c9a66")),
		rows: rows{"W6-subscription-id-uuid": fail, "W8-signin-ordinary": fail, "W10-auth-renewal": failed}.and(all(failed, behindSignIn...), all(failed, behindRenewal...))},
	{name: "the access token names nobody", options: fdstest.Options{SubscriptionIn: fdstest.InIDToken}, rows: rows{"W7-token-names-subscription": fail}},
	{name: "the access token is opaque", options: fdstest.Options{OpaqueTokens: true},
		rows: rows{"W7-token-names-subscription": untestable, "W5-api-unsigned-token": notApplicable, "W5-api-foreign-key-token": notApplicable, "W5-api-confused-key-token": notApplicable}},
	{name: "the access token is opaque and can be introspected", options: fdstest.Options{OpaqueTokens: true, Introspection: true},
		rows: all(notApplicable, "W5-api-unsigned-token", "W5-api-foreign-key-token", "W5-api-confused-key-token")},

	// W8
	{name: "the code flow is not offered", make: faults(fdstest.MetadataMember("response_types_supported", []string{"id_token"})), rows: rows{"W8-auth-code-offered": fail}},
	{name: "PKCE is not told", make: faults(fdstest.MetadataMember("code_challenge_methods_supported", nil)), rows: rows{"W8-auth-pkce-offered": untestable}},
	{name: "PKCE is offered as plain alone", make: faults(fdstest.MetadataMember("code_challenge_methods_supported", []string{"plain"})),
		rows: rows{"W8-auth-pkce-offered": fail, "W4-auth-right-credentials": failed, "W8-signin-ordinary": failed, "W10-auth-renewal": failed}.and(
			all(failed, behindRightName...), all(failed, behindSignIn...), all(failed, behindRenewal...))},
	{name: "responses do not promise their issuer", make: faults(fdstest.MetadataMember("authorization_response_iss_parameter_supported", false)), rows: rows{"W8-auth-issuer-in-response": fail}},
	{name: "responses do not name the issuer that they promise", make: faults(fdstest.NoResponseIssuer()), rows: rows{"W8-signin-ordinary": fail}.and(all(failed, behindSignIn...))},
	{name: "the implicit grant is offered", make: faults(fdstest.MetadataMember("response_types_supported", []string{"code", "token"})), rows: rows{"W8-auth-no-unsafe-grants": fail}},
	{name: "the password grant is offered", make: faults(fdstest.MetadataMember("grant_types_supported", []string{"authorization_code", "refresh_token", "password"})), rows: rows{"W8-auth-no-unsafe-grants": fail}},
	{name: "PKCE is not demanded", make: faults(fdstest.WithoutPKCE()), rows: rows{"W8-signin-pkce-demanded": fail}},
	{name: "the code_verifier is not looked at", make: faults(fdstest.AnyVerifier()), rows: rows{"W8-signin-verifier": fail}},
	{name: "programs are kept from the authorization endpoint", make: programsKeptOut, rows: rows{"W8-signin-redirect-exact": untestable}},
	{name: "programs are kept out, and PKCE is not demanded", make: func(t *testing.T, s *site) {
		faults(fdstest.WithoutPKCE(), fdstest.AnyRedirectURI())(t, s)
		programsKeptOut(t, s)
	}, rows: all(fail, "W8-signin-pkce-demanded", "W8-signin-redirect-exact")},
	{name: "PKCE is not demanded, and the person says no then", make: func(t *testing.T, s *site) {
		faults(fdstest.WithoutPKCE())(t, s)
		sentAway := 0
		approve := s.config.SignIn.OpenBrowser
		s.config.SignIn.OpenBrowser = func(ctx context.Context, address string) error {
			if sentAway++; sentAway <= 2 { // the ordinary sign-in, and that of another code_verifier
				return approve(ctx, address)
			}
			return s.box.Deny(ctx, address)
		}
	}, rows: rows{"W8-signin-pkce-demanded": untestable}},
	{name: "the browser is sent anywhere", make: faults(fdstest.AnyRedirectURI()), rows: rows{"W8-signin-redirect-exact": fail}},
	{name: "a code serves twice", make: faults(fdstest.CodesServeTwice()), rows: rows{"W8-signin-code-twice": fail}},
	{name: "nobody is at the browser", make: func(_ *testing.T, s *site) { s.config.SignIn = nil }, rows: rows{"W8-signin-ordinary": untestable}.and(all(untestable, behindSignIn...))},

	// W10
	{name: "the refresh token is refused", make: faults(fdstest.RefuseRefresh("invalid_grant", "")), rows: rows{"W10-auth-renewal": fail}.and(all(failed, behindRenewal...))},
	{name: "the refresh token is kept", options: fdstest.Options{NoRotation: true}, rows: all(notApplicable, behindRenewal...)},
	{name: "a spent refresh token serves for ever", make: faults(fdstest.SpentRefreshTokensServe()), rows: rows{"W10-auth-refresh-reuse": fail}},
	{name: "the last answer is given again for ever", make: faults(fdstest.ReplayRefresh(time.Hour)), rows: rows{"W10-auth-refresh-reuse": fail}},
	{name: "the last answer is given again for a moment", make: faults(fdstest.ReplayRefresh(time.Second)), rows: rows{}},
	{name: "the owners have one grant together, and are no spare ones", make: func(t *testing.T, s *site) {
		client, err := fdsclient.New(s.config.Client)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		together := fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
			return s.box.Approve(ctx, address, s.box.Owners()[0], s.box.Owners()[1])
		}}
		if _, err := client.SignIn(t.Context(), together); err != nil {
			t.Fatal(err)
		}
		s.config.SpareOwners = s.config.SpareOwners[:1]
	}, rows: all(untestable, "W10-auth-refresh-reuse", "W5-api-other-owner")},
	{name: "all owners are spare, and the server revokes", options: fdstest.Options{OpaqueTokens: true, Introspection: true}, make: func(_ *testing.T, s *site) {
		s.config.Owner, s.config.SpareOwners = fds.SubscriptionID{}, []fds.SubscriptionID{s.box.Owners()[0].SubscriptionID, s.box.Owners()[1].SubscriptionID, s.box.Owners()[2].SubscriptionID}
	}, rows: all(notApplicable, "W5-api-unsigned-token", "W5-api-foreign-key-token", "W5-api-confused-key-token")},
	{name: "a spent refresh token serves once more", options: fdstest.Options{RefreshGrace: time.Minute}, rows: rows{}},

	// API
	{name: "errors are no objects", make: faults(fdstest.RewriteAnswer(fdstest.APIEndpoint, func(r *fdstest.Reply) {
		if r.Status >= 400 {
			r.Body = []byte(http.StatusText(r.Status))
		}
	})), rows: all(fail, "API-unauthorized-object", "API-unknown-parameter", "API-repeated-parameter")},
	{name: "unknown parameters are ignored", make: admitting(func(_ *site, r *http.Request, _ string) bool {
		q := r.URL.Query()
		q.Del("conformance_unknown")
		r.URL.RawQuery = q.Encode()
		return false
	}), rows: rows{"API-unknown-parameter": fail}},
	{name: "of a repeated parameter one counts", make: admitting(func(_ *site, r *http.Request, _ string) bool {
		if q := r.URL.Query(); len(q["ids"]) > 1 {
			q.Set("ids", q.Get("ids"))
			r.URL.RawQuery = q.Encode()
		}
		return false
	}), rows: rows{"API-repeated-parameter": fail}},
	{name: "an unknown endpoint answers with data", make: faults(fdstest.Answer(fdstest.APIPath("conformance_unknown"), http.StatusOK, "application/json", "[]")),
		rows: rows{"API-unknown-endpoint": fail}},
	{name: "an unknown endpoint is answered once too often", make: faults(fdstest.Answer(fdstest.APIPath("conformance_unknown"), http.StatusTooManyRequests, "application/json", "{}")),
		rows: rows{"API-unknown-endpoint": failed}},
	{name: "an unknown endpoint is not implemented", make: faults(fdstest.Answer(fdstest.APIPath("conformance_unknown"), http.StatusOK, "application/json", `{"status":204,"message":"not_implemented"}`)), rows: rows{}},
}

func TestEachWeaknessOfTheWebChangesItsOwnRowsAndNoOther(t *testing.T) {
	clean := outcomes(check(t, newWebSite(t, fdstest.Options{}).config))
	for id, o := range clean {
		if o != pass && (id[0] == 'W' || id[0] == 'A') {
			t.Errorf("%s is %s at a sound provider", id, o)
		}
	}
	for _, one := range webTruth {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			s := newWebSite(t, one.options)
			if one.make != nil {
				one.make(t, s)
			}
			report := check(t, s.config)
			want := rows(clean).and(one.rows)
			for id := range one.rows {
				if _, known := clean[id]; !known {
					t.Errorf("there is no row %s", id)
				}
			}
			compare(t, report, want)
		})
	}
}

// compare holds a whole report against the outcomes that are due.
func compare(t *testing.T, report *conformance.Report, want rows) {
	t.Helper()
	got, wrong := outcomes(report), false
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if got[id] != want[id] {
			t.Errorf("%s is %q, want %q", id, got[id], want[id])
			wrong = true
		}
	}
	for id := range got {
		if _, known := want[id]; !known {
			t.Errorf("%s is not in the clean run", id)
		}
	}
	for _, one := range report.Results {
		realtest.CheckShown(t, one.Why)
		if one.Outcome != pass && one.Why == "" || one.Outcome == fail && one.Remedy == "" || len(one.Evidence) == 0 && (one.Outcome == pass || one.Outcome == fail) {
			t.Errorf("%s lacks its reason, remedy or evidence: %+v", one.ID, one)
		}
	}
	if wrong {
		show(t, report)
	}
}
