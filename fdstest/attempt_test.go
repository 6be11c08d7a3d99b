package fdstest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func TestEveryPartOfAnAttemptCanBeAnother(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	issue := func(name string) *tls.Certificate {
		c, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: name})
		if err != nil {
			t.Fatal(err)
		}
		return &c.TLS
	}
	own, stranger := issue("sender"), issue("stranger")
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL + "/hook", Certificate: own, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})
	o := p.Owners()[0]
	signed := func(a arrival) bool { return claimsOfSigned(t, keysOf(t, p), a.token()) != nil }
	header := func(a arrival) map[string]any {
		t.Helper()
		part, _, _ := strings.Cut(a.token(), ".")
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		var h map[string]any
		if err := json.Unmarshal(text, &h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		attempt fdstest.Attempt
		holds   func(arrival) bool
	}{
		"nothing": {fdstest.Attempt{}, func(a arrival) bool {
			return signed(a) && a.body == `{"n":1}` && a.length == 7 && len(a.certificates) == 1 && a.certificates[0].Equal(own.Leaf) && a.header.Get("Webhook-Signature") != ""
		}},
		"a claim":            {fdstest.Attempt{Claims: map[string]any{"aud": p.APIURL()}}, func(a arrival) bool { return signed(a) && claimOf(t, a.token(), "aud") == p.APIURL() }},
		"a claim taken out":  {fdstest.Attempt{Claims: map[string]any{"client_id": nil}}, func(a arrival) bool { return signed(a) && claimOf(t, a.token(), "client_id") == nil }},
		"typ":                {fdstest.Attempt{JOSEHeader: map[string]any{"typ": "JWT"}}, func(a arrival) bool { return signed(a) && header(a)["typ"] == "JWT" }},
		"no typ":             {fdstest.Attempt{JOSEHeader: map[string]any{"typ": nil}}, func(a arrival) bool { return signed(a) && header(a)["typ"] == nil }},
		"kid":                {fdstest.Attempt{JOSEHeader: map[string]any{"kid": "unknown"}}, func(a arrival) bool { return header(a)["kid"] == "unknown" }},
		"crit":               {fdstest.Attempt{JOSEHeader: map[string]any{"crit": []string{"exp"}}}, func(a arrival) bool { return header(a)["crit"] != nil }},
		"jku":                {fdstest.Attempt{JOSEHeader: map[string]any{"jku": "https://evil.example/keys"}}, func(a arrival) bool { return header(a)["jku"] == "https://evil.example/keys" }},
		"jwk":                {fdstest.Attempt{JOSEHeader: map[string]any{"jwk": jose.JSONWebKey{Key: curve.Public()}}, Key: curve}, func(a arrival) bool { return header(a)["jwk"] != nil && !signed(a) }},
		"another key":        {fdstest.Attempt{Key: curve}, func(a arrival) bool { return !signed(a) && header(a)["kid"] == keysOf(t, p).Keys[0].KeyID }},
		"no signature":       {fdstest.Attempt{JOSEHeader: map[string]any{"alg": "none"}}, func(a arrival) bool { return strings.HasSuffix(a.token(), ".") && header(a)["alg"] == "none" }},
		"a token":            {fdstest.Attempt{Token: "not.a.token"}, func(a arrival) bool { return a.token() == "not.a.token" }},
		"an ID":              {fdstest.Attempt{ID: "the-id"}, func(a arrival) bool { return a.header.Get("Webhook-Id") == "the-id" }},
		"a time":             {fdstest.Attempt{At: time.Unix(77, 0)}, func(a arrival) bool { return a.header.Get("Webhook-Timestamp") == "77" }},
		"a signature":        {fdstest.Attempt{Fields: http.Header{"webhook-signature": {"v1,AAAA"}}}, func(a arrival) bool { return a.header.Get("Webhook-Signature") == "v1,AAAA" }},
		"no signature of it": {fdstest.Attempt{Secrets: []string{}}, func(a arrival) bool { return a.header.Get("Webhook-Signature") == "" }},
		"no token":           {fdstest.Attempt{Fields: http.Header{"Authorization": nil}}, func(a arrival) bool { return len(a.header.Values("Authorization")) == 0 }},
		"two tokens":         {fdstest.Attempt{Fields: http.Header{"Authorization": {"Bearer a", "Bearer b"}}}, func(a arrival) bool { return len(a.header.Values("Authorization")) == 2 }},
		"a content type":     {fdstest.Attempt{Fields: http.Header{"Content-Type": {"text/plain"}}}, func(a arrival) bool { return a.header.Get("Content-Type") == "text/plain" }},
		"a method":           {fdstest.Attempt{Method: "PUT"}, func(a arrival) bool { return a.method == "PUT" }},
		"a URL":              {fdstest.Attempt{URL: e.URL + "/other/{subscription_id}?access_token=x"}, func(a arrival) bool { return a.path == "/other/"+o.Spelling+"?access_token=x" }},
		"no length":          {fdstest.Attempt{Chunked: true}, func(a arrival) bool { return a.length == -1 && a.body == `{"n":1}` }},
		"another certificate": {fdstest.Attempt{Certificate: stranger}, func(a arrival) bool {
			return len(a.certificates) == 1 && a.certificates[0].Equal(stranger.Leaf) && signed(a)
		}},
		"no certificate":   {fdstest.Attempt{Certificate: &tls.Certificate{}}, func(a arrival) bool { return len(a.certificates) == 0 && signed(a) }},
		"an expired token": {fdstest.Attempt{Claims: map[string]any{"exp": past.Unix()}}, func(a arrival) bool { return claimOf(t, a.token(), "exp") == float64(past.Unix()) }},
	} {
		t.Run(name, func(t *testing.T) {
			c.attempt.Owner, c.attempt.Body = o, []byte(`{"n":1}`)
			before := len(e.all())
			reply, err := s.Attempt(t.Context(), c.attempt)
			if err != nil || reply.Status != http.StatusOK {
				t.Fatalf("%+v, %v", reply, err)
			}
			if all := e.all(); len(all) != before+1 || !c.holds(all[before]) {
				t.Errorf("%+v", all[before:])
			}
		})
	}
	if d := s.Deliveries(); d.Sent != 0 {
		t.Errorf("attempts count as deliveries: %+v", d)
	}
}

func TestATokenIsSignedAsItsHeaderSays(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	s := sendTo(t, p, fdstest.Webhook{URL: "https://127.0.0.1:1/"})
	o := p.Owners()[0]
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(keysOf(t, p).Keys[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for _, c := range []struct {
		algorithm jose.SignatureAlgorithm
		attempt   fdstest.Attempt
		verifies  any
	}{
		{jose.ES384, fdstest.Attempt{Key: curve}, curve.Public()},
		{jose.RS256, fdstest.Attempt{Key: numbers}, numbers.Public()},
		{jose.RS512, fdstest.Attempt{Key: numbers}, numbers.Public()},
		{jose.PS256, fdstest.Attempt{Key: numbers}, numbers.Public()},
		{jose.EdDSA, fdstest.Attempt{Key: edwards}, edwards.Public()},
		{jose.HS256, fdstest.Attempt{Secret: []byte("a secret of thirty-two bytes, so.")}, []byte("a secret of thirty-two bytes, so.")},
		{jose.HS512, fdstest.Attempt{}, asPEM},
		{jose.HS256, fdstest.Attempt{}, asPEM},
		{jose.ES256, fdstest.Attempt{}, keysOf(t, p).Keys[0].Key},
	} {
		c.attempt.Owner, c.attempt.JOSEHeader = o, map[string]any{"alg": string(c.algorithm)}
		token, err := s.Token(c.attempt)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{c.algorithm})
		if err != nil {
			t.Fatalf("%s: %v", c.algorithm, err)
		}
		var claims jwt.Claims
		if err := parsed.Claims(c.verifies, &claims); err != nil || claims.Subject != "fdsbox-sender" {
			t.Errorf("%s: %v, %+v", c.algorithm, err, claims)
		}
	}
	// The same by hand, of the attack on a receiver that takes the public key for a secret.
	token, err := s.Token(fdstest.Attempt{Owner: o, JOSEHeader: map[string]any{"alg": "HS256"}})
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, asPEM)
	mac.Write([]byte(token[:strings.LastIndexByte(token, '.')]))
	if want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); !strings.HasSuffix(token, "."+want) {
		t.Error("HS256 is not by the public key in PEM")
	}
}

func TestABodyThatIsCutBreaksOff(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL})
	if _, err := s.Attempt(t.Context(), fdstest.Attempt{Owner: p.Owners()[0], Body: []byte(`{"n":1}`), Cut: 4}); err == nil {
		t.Error("it is answered")
	}
	eventually(t, "it has come", func() bool { return len(e.all()) == 1 })
	if got := e.all()[0]; got.length != 7 || !strings.HasPrefix(got.body, `{"n`) || !strings.HasSuffix(got.body, "<broken off>") || len(got.body) > len(`{"n"<broken off>`) {
		t.Errorf("%+v", got)
	}
	if d := s.Deliveries(); d.Answers[0] != 1 {
		t.Errorf("%+v", d)
	}
}

func TestASenderWaitsLongerEachTimeAndAsLongAsItIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network fdstest.Network
		p := fdstest.New(t, fdstest.Options{Network: &network, Quiet: true})
		certificate, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "localhost", Hosts: []string{"localhost"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := network.Listen(0)
		if err != nil {
			t.Fatal(err)
		}
		var times []time.Time
		e := &httptest.Server{Listener: l, TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate.TLS}}}
		e.Config = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			times = append(times, time.Now())
			switch len(times) {
			case 7:
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(http.StatusTooManyRequests)
			case 8:
				w.Header().Set("Retry-After", time.Now().Add(1200*time.Second).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusServiceUnavailable)
			case 9:
				w.Header().Set("Retry-After", "1000000")
				w.WriteHeader(http.StatusServiceUnavailable)
			case 10:
			default:
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}
		e.StartTLS()
		defer e.Close()
		_, port, _ := strings.Cut(l.Addr().String(), ":")
		s := sendTo(t, p, fdstest.Webhook{URL: "https://localhost:" + port + "/", First: time.Second, Most: 10 * time.Second})
		if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct{ least, most time.Duration }{
			{500 * time.Millisecond, 1500 * time.Millisecond}, {time.Second, 3 * time.Second}, {2 * time.Second, 6 * time.Second}, {4 * time.Second, 12 * time.Second},
			{5 * time.Second, 15 * time.Second}, {5 * time.Second, 15 * time.Second},
			{600 * time.Second, 601 * time.Second}, {1199 * time.Second, 1201 * time.Second}, {time.Hour, time.Hour + time.Second},
		} {
			if pause := times[i+1].Sub(times[i]); pause < want.least || pause > want.most {
				t.Errorf("pause %d is %v, want %v to %v", i+1, pause, want.least, want.most)
			}
		}

		// What nobody answers ends with the caller's context, and is no delivery any more.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e.Close()
		if err := s.Deliver(ctx, p.Owners()[0], []byte(`{}`)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if d := s.Deliveries(); d.InHand != 0 || d.Failed != 0 || d.Abandoned != 1 || d.Answers[0] < 3 || d.LastError == "" {
			t.Errorf("%+v", d)
		}
		p.Close()
	})
}

func TestAnEndpointThatDoesNotAnswerIsAttemptedAgain(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, func(n int, _ http.ResponseWriter, r *http.Request) {
		if n == 1 {
			<-r.Context().Done()
		}
	})
	w := hasty(fdstest.Webhook{URL: e.URL})
	w.Timeout = 50 * time.Millisecond
	s := sendTo(t, p, w)
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if d := s.Deliveries(); d.Answers[0] == 0 || d.LastError != "no answer came in time" {
		t.Errorf("%+v", d)
	}
}

func TestAnEndpointOfAnUnknownAuthorityIsNotSentTo(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	other := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, other, nil)
	s := sendTo(t, p, hasty(fdstest.Webhook{URL: e.URL, Attempts: 2}))
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err == nil || len(e.all()) != 0 {
		t.Errorf("%v, %d requests", err, len(e.all()))
	}
	s = sendTo(t, p, fdstest.Webhook{URL: e.URL, Roots: other.RootCAs()})
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
		t.Error(err)
	}
}
