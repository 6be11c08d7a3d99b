package webhook_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

const (
	issuer   = "https://login.provider.example"
	audience = "https://app.example/fds"
	sender   = "provider-sender"
)

// site is an endpoint, whoever issues tokens for it, and who delivers.
type site struct {
	t        testing.TB
	receiver *webhook.Receiver
	server   *httptest.Server
	key      *ecdsa.PrivateKey
	owner    fds.OwnerKey // signed in
	other    fds.OwnerKey // signed in, too
	keyed    bool         // by keys that are fetched

	mu       sync.Mutex
	keys     []jose.JSONWebKey // the issuer's at this moment
	fetched  int
	messages []delivery.Message
	answers  []webhook.Answer
	handler  delivery.Handler // nil: all is taken
}

// OnAnswer notes what was answered.
func (s *site) OnAnswer(a webhook.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, a)
}

// newReceiver makes an endpoint with changed settings, and no server.
func newReceiver(t testing.TB, change ...func(*webhook.Config)) *site {
	t.Helper()
	s := &site{t: t, owner: fds.OwnerKey{Issuer: issuer, SubscriptionID: fds.NewSubscriptionID()}, other: fds.OwnerKey{Issuer: issuer, SubscriptionID: fds.NewSubscriptionID()}}
	s.key = newKey(t)
	s.keys = []jose.JSONWebKey{public(s.key, "one")}
	cfg := webhook.Config{
		Settings: webhook.Settings{Issuer: issuer, Audience: audience, Senders: []string{sender}},
		Handler:  s.keep,
		Owner: func(_ context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
			for _, o := range []fds.OwnerKey{s.owner, s.other} {
				if o.SubscriptionID == id {
					return o, nil
				}
			}
			return fds.OwnerKey{}, fds.ErrNoOwner
		},
		Keys:  s.keySet,
		Hooks: []any{s},
	}
	for _, change := range change {
		change(&cfg)
	}
	s.keyed = !cfg.Introspection
	var err error
	if s.receiver, err = webhook.New(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// keep is the endpoint's handler.
func (s *site) keep(ctx context.Context, m delivery.Message) error {
	s.mu.Lock()
	handler := s.handler
	s.mu.Unlock()
	if handler != nil {
		if err := handler(ctx, m); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	return nil
}

// newSite starts an endpoint with changed settings.
func newSite(t *testing.T, change ...func(*webhook.Config)) *site {
	t.Helper()
	s := newReceiver(t, change...)
	mux := http.NewServeMux()
	mux.Handle("/fds", s.receiver)
	mux.Handle("/fds/{subscription_id}", s.receiver)
	s.server = httptest.NewUnstartedServer(mux)
	s.server.TLS = s.receiver.TLSConfig()
	s.server.EnableHTTP2 = true
	s.server.StartTLS()
	t.Cleanup(func() {
		s.server.Close()
		if err := s.receiver.Close(); err != nil {
			t.Error(err)
		}
	})
	if s.keyed {
		waitFor(t, "the keys are fetched", func() bool { return !s.receiver.State().KeysAt.IsZero() })
	}
	return s
}

func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("waited 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key crypto.Signer, id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"}
}

func (s *site) keySet(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched++
	if s.keys == nil {
		return nil, errors.New("the issuer is away")
	}
	return json.Marshal(jose.JSONWebKeySet{Keys: s.keys})
}

// claims are those of a good token for the owner, changed.
func (s *site) claims(changed map[string]any) map[string]any {
	now := time.Now()
	all := map[string]any{
		"iss": issuer, "aud": audience, "client_id": sender, "sub": sender, "jti": "1",
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "subscription_id": s.owner.SubscriptionID.String(),
	}
	maps.Copy(all, changed)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// token signs claims with a key, under changed headers.
func (s *site) token(claims, header map[string]any) string {
	s.t.Helper()
	return signed(s.t, s.key, jose.ES256, claims, header)
}

func signed(t testing.TB, key any, algorithm jose.SignatureAlgorithm, claims, header map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "one")
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
		if value == nil {
			delete(options.ExtraHeaders, jose.HeaderKey(name))
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// request is a good delivery for the owner, changed.
func (s *site) request(body string, change ...func(*http.Request)) *http.Request {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.server.URL+"/fds", bytes.NewReader([]byte(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.token(s.claims(nil), nil))
	for _, change := range change {
		change(r)
	}
	return r
}

// deliver sends a request and returns the status.
func (s *site) deliver(body string, change ...func(*http.Request)) int {
	s.t.Helper()
	response := s.send(s.request(body, change...))
	return response.StatusCode
}

func (s *site) send(r *http.Request) *http.Response {
	s.t.Helper()
	response, err := s.server.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response
}

// handed are the messages that the handler has had.
func (s *site) handed() []delivery.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery.Message(nil), s.messages...)
}

// why returns why the last delivery was not taken.
func (s *site) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) == 0 {
		return errors.New("nothing was answered")
	}
	return s.answers[len(s.answers)-1].Err
}

// with sets a header.
func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// bearing has a request carry another token.
func bearing(token string) func(*http.Request) { return with("Authorization", "Bearer "+token) }

// at leads a request to another path.
func at(format string, args ...any) func(*http.Request) {
	return func(r *http.Request) { r.URL.Path = fmt.Sprintf(format, args...) }
}
