package authserver

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

// requested returns the parameters of an authorization request.
func requested(t *testing.T, settings Settings, parameters map[string]string) (Attempt, url.Values) {
	t.Helper()
	s := at(answering(func(*http.Request) (int, string) { return http.StatusOK, "" }), settings)
	m, err := s.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.NewAttempt(t.Context(), m, "https://app.example/callback", parameters)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(a.Address.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return a, u.Query()
}

func TestAnEmptyParameterTakesADefaultAway(t *testing.T) {
	settings := Settings{Scopes: []string{"openid", "offline_access", "x"}, Resources: []string{"https://api.example"}}
	a, q := requested(t, settings, nil)
	if q.Get("prompt") != "consent" || q.Get("scope") != "openid offline_access x" || q.Get("nonce") != a.Nonce.Reveal() || a.Nonce.IsZero() || q.Get("resource") == "" {
		t.Errorf("by default: %v", q)
	}
	if _, q = requested(t, settings, map[string]string{"prompt": "", "login_hint": "", "ui_locales": "de"}); q.Has("prompt") || q.Has("login_hint") || q.Get("ui_locales") != "de" || q.Get("scope") == "" {
		t.Errorf("without prompt: %v", q)
	}
	if _, q = requested(t, settings, map[string]string{"prompt": "login"}); q.Get("prompt") != "login" {
		t.Errorf("with another prompt: %v", q)
	}
	if _, q = requested(t, settings, map[string]string{"resource": ""}); q.Has("resource") {
		t.Errorf("without resources: %v", q)
	}
	// An ID token is waited for where one is asked for.
	for _, scope := range []string{"", "x"} {
		if a, q = requested(t, settings, map[string]string{"scope": scope}); q.Get("scope") != scope || q.Has("nonce") || !a.Nonce.IsZero() {
			t.Errorf("with the scope %q: %v", scope, q)
		}
	}
	for name := range ownParameters {
		for _, value := range []string{"", "x"} {
			s := at(nil, settings)
			m, err := s.Metadata(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.NewAttempt(t.Context(), m, "https://app.example/callback", map[string]string{name: value}); !errors.Is(err, fds.ErrConfig) {
				t.Errorf("%s=%q: %v", name, value, err)
			}
		}
	}
}
