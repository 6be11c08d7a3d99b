package webhook

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// secrets are the same for each owner.
func secrets(text ...string) func(context.Context, fds.OwnerKey) ([]fds.Secret, error) {
	var all []fds.Secret
	for _, one := range text {
		all = append(all, fds.NewSecret(one))
	}
	return func(context.Context, fds.OwnerKey) ([]fds.Secret, error) { return all, nil }
}

// fuzzed is an endpoint, and a token that it takes for the time of a fuzzing.
func fuzzed(f *testing.F, change func(*Config)) (r *Receiver, token string, handed *[]delivery.Message) {
	f.Helper()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32)))
	owner := fds.OwnerKey{Issuer: "https://login.example", SubscriptionID: fds.NewSubscriptionID()}
	handed = new([]delivery.Message)
	c := Config{
		Settings: Settings{Issuer: owner.Issuer, Audience: "https://app.example/fds", Senders: []string{"sender"}},
		Handler:  func(_ context.Context, m delivery.Message) error { *handed = append(*handed, m); return nil },
		Owner: func(_ context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
			if id != owner.SubscriptionID {
				return fds.OwnerKey{}, fds.ErrNoOwner
			}
			return owner, nil
		},
		Keys: func(context.Context) ([]byte, error) {
			x := base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
			return []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + x + `"}]}`), nil
		},
	}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { r.Close() })
	if _, err := r.keys.get(f.Context()); err != nil {
		f.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{"iss": owner.Issuer, "aud": "https://app.example/fds", "client_id": "sender", "exp": time.Now().Add(24 * time.Hour).Unix(), "subscription_id": owner.SubscriptionID})
	if err != nil {
		f.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return r, input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input))), handed
}

// sent is what an endpoint answers to a delivery.
func sent(r *Receiver, token, body string, change func(http.Header)) int {
	req := httptest.NewRequest(http.MethodPost, "https://app.example/fds", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(req.Header)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Code
}

func FuzzAToken(f *testing.F) {
	r, token, handed := fuzzed(f, nil)
	if status := sent(r, token, `{}`, nil); status != http.StatusOK || len(*handed) != 1 {
		f.Fatal(status)
	}
	parts := strings.Split(token, ".")
	for _, seed := range []string{"", "Bearer", "Bearer " + token, "bearer  " + token + " ", "Bearer " + token + "=", "Bearer .." + parts[2], "Bearer e30." + parts[1] + "." + parts[2], "Bearer " + parts[0] + "." + parts[1] + ".", "Basic eDp5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		before := len(*handed)
		status := sent(r, "", `{}`, func(h http.Header) { h["Authorization"] = []string{header} })
		_, sent, _ := strings.Cut(header, " ")
		if taken := status == http.StatusOK; taken != (len(*handed) > before) || taken && strings.Trim(sent, " ") != token {
			t.Errorf("%d for %q", status, header)
		}
		if status == http.StatusGone || status/100 == 3 || status == http.StatusInternalServerError {
			t.Error(status)
		}
	})
}

func FuzzABody(f *testing.F) {
	r, token, handed := fuzzed(f, func(c *Config) { c.Dialect = fds.Dialect{SubscriptionMember: "meta.owner", MessageID: "id"} })
	for _, seed := range []string{`{}`, `[]`, `[{"n":1},{"n":2}]`, `{"id":"e"}`, `{"meta":{"owner":"3f2504e0-4f89-41d3-9a0c-0305e82c3301"}}`, "\xef\xbb\xbf {}", `[{}`, `null`, "{\"n\":\"\xff\"}", strings.Repeat("[", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		*handed = nil
		status := sent(r, token, body, nil)
		var value any
		valid := json.Unmarshal([]byte(strings.TrimPrefix(body, "\xef\xbb\xbf")), &value) == nil
		switch status {
		case http.StatusOK, http.StatusForbidden:
			if !valid {
				t.Errorf("%d for %q", status, body)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("%d for %q", status, body)
		}
		if status != http.StatusOK && len(*handed) > 0 {
			t.Errorf("%d, and %d were handed over", status, len(*handed))
		}
		for _, m := range *handed {
			if _, err := fds.ParseItem(m.Payload); err != nil || !strings.Contains(body, string(m.Payload)) {
				t.Errorf("%q of %q: %v", m.Payload, body, err)
			}
		}
	})
}

func FuzzHeadersOfASender(f *testing.F) {
	const body, secret = `{"n":1}`, "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
	r, _, _ := fuzzed(f, func(c *Config) { c.Secrets = secrets(secret) })
	f.Add("msg", "1700000000", "v1,AAAA", ":"+clientCertificate+":", "https")
	f.Add("a.1", "-1", "v1a, v1,= v1", "::", "http, https")
	f.Add("", "99999999999999999999", strings.Repeat("v1,AAAA ", 600), ":AAAA:, :AAAA:", `for=x;proto="https`)
	f.Fuzz(func(t *testing.T, id, stamp, signature, certificate, forwarded string) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signature}, "Client-Cert": {certificate}, "X-Forwarded-Proto": {forwarded}, "Forwarded": {forwarded}}
		read, err := deliveryID(h)
		if err == nil && (read != id || id == "" || len(id) > maxID) {
			t.Errorf("%q is read as %q", id, read)
		}
		var refused *refusal
		if err := r.signed(t.Context(), h, fds.OwnerKey{}, read, []byte(body)); !errors.As(err, &refused) || refused.status != http.StatusUnauthorized {
			t.Errorf("signed: %v", err) // nobody finds one by chance
		}
		if der, ok := clientCert(h); ok && strings.Trim(certificate, " ") != ":"+base64.StdEncoding.EncodeToString(der)+":" && !strings.ContainsAny(certificate, "\r\n") && len(der)%3 == 0 {
			t.Errorf("%q is read as %x", certificate, der)
		}
		if only := strings.Trim(forwarded, ` "`); forwardedEncrypted(h, false) && !strings.Contains(strings.ToLower(only), "https") {
			t.Errorf("%q is no HTTPS", forwarded)
		}
	})
}
