package fdstest_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// arrival is a request to an endpoint.
type arrival struct {
	method, path, proto string
	header              http.Header
	length              int64
	body                string
	certificates        []*x509.Certificate
}

func (a arrival) token() string { return strings.TrimPrefix(a.header.Get("Authorization"), "Bearer ") }

// endpoint is an application's webhook, as net/http makes one.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	arrivals []arrival
	answers  func(n int, w http.ResponseWriter, r *http.Request) // of the nth request, from 1
}

func newEndpoint(t *testing.T, p *fdstest.Provider, answers func(n int, w http.ResponseWriter, r *http.Request)) *endpoint {
	t.Helper()
	certificate, err := p.IssueCertificate(fdstest.CertificateRequest{
		CommonName: "localhost", Hosts: []string{"127.0.0.1", "localhost"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{answers: answers}
	e.Server = httptest.NewUnstartedServer(e)
	e.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate.TLS}, ClientAuth: tls.RequestClientCert}
	e.EnableHTTP2 = true
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		body = append(body, "<broken off>"...)
	}
	e.mu.Lock()
	e.arrivals = append(e.arrivals, arrival{r.Method, r.URL.RequestURI(), r.Proto, r.Header, r.ContentLength, string(body), r.TLS.PeerCertificates})
	n := len(e.arrivals)
	e.mu.Unlock()
	if e.answers != nil {
		e.answers(n, w, r)
	}
}

func (e *endpoint) all() []arrival {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.arrivals)
}

func (e *endpoint) bodies() []string {
	var all []string
	for _, a := range e.all() {
		all = append(all, a.body)
	}
	return all
}

// statuses answers the first requests so, and all others with 200.
func statuses(codes ...int) func(int, http.ResponseWriter, *http.Request) {
	return func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= len(codes) {
			w.WriteHeader(codes[n-1])
		}
	}
}

// hasty has what is tried again be tried at once.
func hasty(w fdstest.Webhook) fdstest.Webhook {
	w.First, w.Most = time.Millisecond, time.Millisecond
	return w
}

func sendTo(t *testing.T, p *fdstest.Provider, w fdstest.Webhook) *fdstest.Sender {
	t.Helper()
	s, err := p.SendTo(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t *testing.T, p *fdstest.Provider, o fdstest.Owner, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if err := p.Publish(t.Context(), o, []string{"events"}, []byte(body), 1, false); err != nil {
			t.Fatal(err)
		}
	}
}

// keysOf reads a provider's key set.
func keysOf(t *testing.T, p *fdstest.Provider) jose.JSONWebKeySet {
	t.Helper()
	client := clientOf(t, p)
	defer client.CloseIdleConnections()
	resp, err := client.Get(p.Issuer() + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	return set
}

// claimsOfSigned returns the claims of a token that is signed by a key of the set, nil of another.
func claimsOfSigned(t *testing.T, set jose.JSONWebKeySet, token string) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil
	}
	var claims map[string]any
	if keys := set.Key(parsed.Headers[0].KeyID); len(keys) != 1 || parsed.Claims(keys[0].Key, &claims) != nil {
		return nil
	}
	return claims
}

func TestWhatIsPublishedGoesToTheWebhookInEachOwnersOrder(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL + "/owners/{subscription_id}/events", Audience: "https://app.example/events"})
	owners := p.Owners()
	const each = 40
	var published sync.WaitGroup
	for _, o := range owners {
		published.Go(func() {
			for i := range each {
				publish(t, p, o, fmt.Sprintf(`{"n":%d}`, i))
			}
		})
	}
	published.Wait()
	step := p.Step(time.Hour)
	if err := p.Publish(t.Context(), owners[0], []string{"status"}, nil, 1, true); err != nil { // removes one that was kept
		t.Fatal(err)
	}
	eventually(t, "all acknowledged", func() bool { return s.Deliveries().Acknowledged == len(owners)*each+len(step) })
	next := make(map[string]int)
	ids := make(map[string]bool)
	for _, a := range e.all() {
		if a.body == "" {
			t.Error("the removal of a retained message was sent")
		}
		if ids[a.header.Get("Webhook-Id")] {
			t.Errorf("the ID %q came twice", a.header.Get("Webhook-Id"))
		}
		ids[a.header.Get("Webhook-Id")] = true
		if strings.HasPrefix(a.body, `{"n":`) {
			if a.body != fmt.Sprintf(`{"n":%d}`, next[a.path]) {
				t.Errorf("%s: %s, want number %d", a.path, a.body, next[a.path])
			}
			next[a.path]++
		}
	}
	for _, o := range owners {
		if path := "/owners/" + o.Spelling + "/events"; next[path] != each {
			t.Errorf("%s: %d of %d", path, next[path], each)
		}
	}
	if d := s.Deliveries(); d.Sent != d.Acknowledged || d.InHand != 0 || d.Waiting != 0 || d.Failed != 0 || d.Answers[200] != d.Sent || len(step) == 0 {
		t.Errorf("%+v", d)
	}
}

func TestADeliveryIsWhatARealSenderSends(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, SubscriptionClaim: "fds_subscription"})
	e := newEndpoint(t, p, nil)
	own, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "sender"})
	if err != nil {
		t.Fatal(err)
	}
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL + "/hook?tenant=7", ClientID: "the-sender", Certificate: &own.TLS})
	o := p.Owners()[1]
	before := time.Now().Unix()
	if err := s.Deliver(t.Context(), o, []byte(`{"a": 1}`)); err != nil {
		t.Fatal(err)
	}
	got := e.all()[0]
	if got.method != "POST" || got.path != "/hook?tenant=7" || got.body != `{"a": 1}` || got.length != 8 || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v", got)
	}
	if len(got.certificates) != 1 || !got.certificates[0].Equal(own.TLS.Leaf) {
		t.Errorf("it came with %d certificates", len(got.certificates))
	}
	if at, err := strconv.ParseInt(got.header.Get("Webhook-Timestamp"), 10, 64); err != nil || at < before || at > time.Now().Unix() {
		t.Errorf("webhook-timestamp %d, %v", at, err)
	}
	parsed, err := jwt.ParseSigned(got.token(), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if typ := parsed.Headers[0].ExtraHeaders[jose.HeaderType]; typ != "at+jwt" {
		t.Errorf("typ %v", typ)
	}
	claims := claimsOfSigned(t, keysOf(t, p), got.token())
	thumbprint := sha256.Sum256(own.TLS.Leaf.Raw)
	for name, want := range map[string]any{
		"iss": p.Issuer(), "aud": e.URL + "/hook", "client_id": "the-sender", "sub": "the-sender", "fds_subscription": o.Spelling,
		"cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(thumbprint[:])},
	} {
		if fmt.Sprint(claims[name]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	now := float64(time.Now().Unix())
	iat, _ := claims["iat"].(float64)
	nbf, _ := claims["nbf"].(float64)
	exp, _ := claims["exp"].(float64)
	if jti, _ := claims["jti"].(string); len(jti) < 20 || iat > now || nbf > now || iat < now-60 || nbf < now-60 || exp < now+500 || exp > now+601 {
		t.Errorf("iat %v, nbf %v, exp %v, jti %q at %v", iat, nbf, exp, jti, now)
	}
	if err := s.Deliver(t.Context(), o, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	switch all := e.all(); {
	case all[1].token() != got.token():
		t.Error("the second delivery of an owner has another token")
	case all[2].token() == got.token():
		t.Error("another owner's delivery has the same token")
	case all[1].header.Get("Webhook-Id") == got.header.Get("Webhook-Id"):
		t.Error("another delivery has the same ID")
	}
}

func TestSignaturesAreThoseOfStandardWebhooks(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	second := "whsec_" + base64.StdEncoding.EncodeToString([]byte("another secret of 32 bytes or so"))
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", second}})
	a := fdstest.Attempt{
		Owner: p.Owners()[0], ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", At: time.Unix(1614265330, 0), Body: []byte(`{"test": 2432232314}`),
	}
	for range 2 {
		if _, err := s.Attempt(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		a.Secrets = []string{}
	}
	all := e.all()
	signatures := strings.Split(all[0].header.Get("Webhook-Signature"), " ")
	if len(signatures) != 2 || signatures[0] != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" || signatures[1] == signatures[0] {
		t.Errorf("%q", signatures)
	}
	if all[0].header.Get("Webhook-Timestamp") != "1614265330" || len(all[1].header.Values("Webhook-Signature")) != 0 {
		t.Errorf("%v\n%v", all[0].header, all[1].header)
	}
}

func TestOpaqueTokensOfASenderAreKnownToIntrospection(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Introspection: true})
	e := newEndpoint(t, p, nil)
	own, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "sender"})
	if err != nil {
		t.Fatal(err)
	}
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL, Opaque: true, Certificate: &own.TLS})
	o := p.Owners()[0]
	if err := s.Deliver(t.Context(), o, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	token := e.all()[0].token()
	if strings.Contains(token, ".") || token == "" {
		t.Fatalf("the token is %q", token)
	}
	thumbprint := sha256.Sum256(own.TLS.Leaf.Raw)
	answer := introspect(t, p, token)
	if answer["active"] != true || answer["aud"] != e.URL || answer["client_id"] != "fdsbox-sender" || answer["iss"] != p.Issuer() || answer["subscription_id"] != o.Spelling ||
		fmt.Sprint(answer["cnf"]) != fmt.Sprint(map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(thumbprint[:])}) || answer["exp"] == nil {
		t.Errorf("%v", answer)
	}
	expired, err := s.Token(fdstest.Attempt{Owner: o, Claims: map[string]any{"exp": time.Now().Add(-time.Second).Unix()}})
	if err != nil {
		t.Fatal(err)
	}
	if answer := introspect(t, p, expired); answer["active"] != false {
		t.Errorf("expired: %v", answer)
	}
	altered, err := s.Token(fdstest.Attempt{Owner: o, Claims: map[string]any{"aud": "https://elsewhere.example", "cnf": nil}})
	if err != nil {
		t.Fatal(err)
	}
	if answer := introspect(t, p, altered); answer["aud"] != "https://elsewhere.example" || answer["cnf"] != nil {
		t.Errorf("altered: %v", answer)
	}
	if signed, err := s.Token(fdstest.Attempt{Owner: o, JOSEHeader: map[string]any{"alg": "none"}}); err != nil || strings.Count(signed, ".") != 2 {
		t.Errorf("a header of its own: %q, %v", signed, err)
	}
}

func introspect(t *testing.T, p *fdstest.Provider, token string) map[string]any {
	t.Helper()
	client := clientOf(t, p)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer()+"/introspect", strings.NewReader("token="+token))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(p.ConfidentialApplication().ID, p.ConfidentialApplication().Secret)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestADeliveryIsTriedAgainUntilItIsAcknowledged(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, func(n int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		statuses(503, 500, 303, 429, 408, 401)(n, w, r)
	})
	s := sendTo(t, p, hasty(fdstest.Webhook{URL: e.URL}))
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	all := e.all()
	if len(all) != 7 {
		t.Fatalf("%d attempts", len(all))
	}
	for i, a := range all {
		if a.header.Get("Webhook-Id") != all[0].header.Get("Webhook-Id") || a.body != "{}" || a.path != "/" {
			t.Errorf("attempt %d: %v", i, a.header)
		}
	}
	if all[5].token() != all[0].token() || all[6].token() == all[0].token() {
		t.Error("a new token is for an attempt after 401 alone")
	}
	if d := s.Deliveries(); d.Sent != 1 || d.Acknowledged != 1 || d.Attempts != 7 || d.Answers[503] != 1 || d.LastError != "the endpoint answered 401" {
		t.Errorf("%+v", d)
	}
}

func TestADeliveryFailsForGoodAfterSomeAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		status, attempts int
		gone             bool
	}{
		"503": {503, 5, false}, "401": {401, 5, false}, "400": {400, 3, false}, "404": {404, 3, false}, "410": {410, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := fdstest.New(t, fdstest.Options{Quiet: true})
			e := newEndpoint(t, p, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) })
			w := hasty(fdstest.Webhook{URL: e.URL})
			w.Attempts = 5
			s := sendTo(t, p, w)
			if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err == nil {
				t.Fatal("it is acknowledged")
			}
			if d := s.Deliveries(); d.Attempts != c.attempts || d.Failed != 1 || d.InHand != 0 || d.Gone != c.gone {
				t.Errorf("%+v", d)
			}
			if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err == nil {
				t.Fatal("the second one is acknowledged")
			}
			if more := s.Deliveries().Attempts > c.attempts; more == c.gone {
				t.Errorf("sends on: %v", more)
			}
		})
	}
}

func TestBatchesAreArraysInOrder(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	first := make(chan struct{})
	e := newEndpoint(t, p, func(n int, _ http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			<-first
		}
	})
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL, Batch: 3})
	o := p.Owners()[0]
	publish(t, p, o, `1`)
	eventually(t, "the first has come", func() bool { return len(e.all()) == 1 })
	publish(t, p, o, `2`, `3`, `4`, `5`, `no JSON`, `6`)
	if d := s.Deliveries(); d.Waiting != 6 || d.InHand != 1 {
		t.Errorf("%+v", d)
	}
	close(first)
	eventually(t, "all acknowledged", func() bool { return s.Deliveries().Acknowledged == 5 })
	if got := e.bodies(); !slices.Equal(got, []string{`[1]`, `[2,3,4]`, `[5]`, `no JSON`, `[6]`}) {
		t.Errorf("%q", got)
	}
}

func TestOneTokenNamesAllOwners(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL, OneToken: true})
	var all []any
	for _, o := range p.Owners() {
		all = append(all, o.Spelling)
		if err := s.Deliver(t.Context(), o, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range e.all() {
		if named := claimOf(t, a.token(), "subscription_id"); fmt.Sprint(named) != fmt.Sprint(all) || a.token() != e.all()[0].token() {
			t.Errorf("it names %v", named)
		}
	}
}

func TestOnlyWhatIsGrantedGoesToAWebhookThatWantsIt(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL, Granted: true})
	o, other := p.Owners()[0], p.Owners()[1]
	publish(t, p, o, `1`)
	if _, err := p.IssueTokens("fdsdemo", o); err != nil {
		t.Fatal(err)
	}
	publish(t, p, other, `2`)
	publish(t, p, o, `3`)
	eventually(t, "it has come", func() bool { return s.Deliveries().Acknowledged == 1 })
	p.RevokeGrants(o)
	publish(t, p, o, `4`)
	if _, err := p.IssueTokens("fdsdemo", other); err != nil {
		t.Fatal(err)
	}
	publish(t, p, other, `5`)
	eventually(t, "the other's has come", func() bool { return s.Deliveries().Acknowledged == 2 })
	if got := e.bodies(); !slices.Equal(got, []string{`3`, `5`}) {
		t.Errorf("%q", got)
	}
}

func TestASenderEndsWithItsContextAndWithTheProvider(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	first, err := p.SendTo(ctx, fdstest.Webhook{URL: e.URL})
	if err != nil {
		t.Fatal(err)
	}
	second := sendTo(t, p, fdstest.Webhook{URL: e.URL})
	delivered := make(chan error, 1)
	go func() { delivered <- first.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)) }()
	publish(t, p, p.Owners()[1], `{}`)
	eventually(t, "all are under way", func() bool { return len(e.all()) == 3 })
	cancel()
	if err := <-delivered; err == nil {
		t.Error("it is acknowledged")
	}
	began := time.Now()
	p.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
	for _, s := range []*fdstest.Sender{first, second} {
		if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err == nil {
			t.Error("it delivers still")
		}
	}
	if _, err := p.SendTo(t.Context(), fdstest.Webhook{URL: e.URL}); err == nil {
		t.Error("a provider that is closed sends")
	}
}

func TestAWebhookThatCannotBeSentToIsAnError(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	for name, w := range map[string]fdstest.Webhook{
		"no URL":                  {},
		"http":                    {URL: "http://127.0.0.1/"},
		"a user":                  {URL: "https://a:b@127.0.0.1/"},
		"no audience":             {URL: "https://127.0.0.1/{subscription_id}"},
		"a secret":                {URL: "https://127.0.0.1/", Secrets: []string{"whsec_%"}},
		"an ID that is not there": {URL: "https://127.0.0.1/", NoID: true, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
		"no introspection":        {URL: "https://127.0.0.1/", Opaque: true},
		"a negative number":       {URL: "https://127.0.0.1/", Attempts: -1},
	} {
		if _, err := p.SendTo(t.Context(), w); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAWebhookAndItsPartsPrintWithoutSecrets(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	w := fdstest.Webhook{URL: "https://127.0.0.1:1/", Secrets: []string{secret}}
	s := sendTo(t, p, w)
	a := fdstest.Attempt{Owner: p.Owners()[0], Token: "the-token-itself", Secrets: []string{secret}, Secret: []byte("the-key")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, one := range []any{w, s, a} {
			if text := fmt.Sprintf(format, one); strings.Contains(text, "MfKQ") || strings.Contains(text, "the-") {
				t.Errorf("%s: %s", format, text)
			}
		}
	}
	token, err := s.Token(fdstest.Attempt{Owner: p.Owners()[0]})
	if err != nil {
		t.Fatal(err)
	}
	if all := p.Secrets(); !slices.Contains(all, secret) || !slices.Contains(all, token) {
		t.Error("Secrets does not list the secret and the token")
	}
}

func TestASendersTokenReadsNothingFromTheWebAPI(t *testing.T) {
	for name, opaque := range map[string]bool{"a JWT": false, "opaque": true} {
		t.Run(name, func(t *testing.T) {
			a := start(t, fdstest.Options{Introspection: true, OpaqueTokens: opaque})
			s := sendTo(t, a.p, fdstest.Webhook{URL: "https://127.0.0.1:1/", Opaque: opaque})
			for _, claims := range []map[string]any{nil, {"aud": a.p.APIURL()}} {
				token, err := s.Token(fdstest.Attempt{Owner: a.p.Owners()[0], Claims: claims})
				if err != nil {
					t.Fatal(err)
				}
				if ans := a.get("spaces", token); ans.status != http.StatusUnauthorized {
					t.Errorf("%v: %d", claims, ans.status)
				}
			}
		})
	}
}
