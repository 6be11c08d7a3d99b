package fdsclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// certificateHook keeps what is told of certificates.
type certificateHook struct {
	mu   sync.Mutex
	told []error
}

func (h *certificateHook) OnCertificate(owner fds.OwnerKey, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if owner == (fds.OwnerKey{}) {
		h.told = append(h.told, err)
	}
}

func (h *certificateHook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.told)
}

func TestTokensFollowTheApplicationsCertificate(t *testing.T) {
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	file := filepath.Join(t.TempDir(), "app.pem")
	write := func(c realtest.Certificate) {
		if err := os.WriteFile(file, append(c.PEM, c.KeyPEM...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(server.TLS.Certificate)
	hook := &certificateHook{}
	cfg := Config{
		Provider:    Provider{Issuer: server.Issuer, Roots: realtest.Trusting(server.RootCAs)},
		Application: Application{ClientID: server.TLS.ID, Certificate: CertificateFiles(file, file)},
		Store:       tokenstore.OpenMemory(),
		State:       &statestore.Memory{},
		Hooks:       []any{hook},
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	owners, err := client.SignIn(ctx, SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, url string) error {
		callback, err := server.Approve(ctx, url)
		if err == nil {
			_, err = server.Open(ctx, callback)
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	get := func() (Token, string) {
		token, err := owners[0].Token(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cnf := claimOf(t, token, "cnf")
		thumbprint := client.auth.ClientCerts.Thumbprint()
		if thumbprint == "" || !strings.Contains(cnf, thumbprint) {
			t.Fatalf("the token is bound to %s, the certificate is %s", cnf, thumbprint)
		}
		return token, thumbprint
	}
	first, old := get()
	if again, _ := get(); again.Reveal() != first.Reveal() {
		t.Error("a token was renewed without need")
	}

	if err := os.WriteFile(file, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		client.auth.ClientCerts.Watch(ctx)
	}
	if again, _ := get(); again.Reveal() != first.Reveal() {
		t.Error("a file that cannot be read ended the use of the certificate before")
	}
	until(t, "the bad file told", func() bool { return hook.count() > 0 })
	if n := hook.count(); n != 1 {
		t.Errorf("told %d times of one bad file", n)
	}

	write(server.IssueCertificate("app-tls", realtest.CertificateOptions{}))
	client.auth.ClientCerts.Watch(ctx)
	second, replaced := get()
	if second.Reveal() == first.Reveal() || replaced == old {
		t.Error("the token of the certificate before is still given out")
	}

	// A restart with yet another certificate finds a token of the one before.
	client.Close()
	write(server.IssueCertificate("app-tls", realtest.CertificateOptions{}))
	if client, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if owners, err = client.Owners(ctx); err != nil {
		t.Fatal(err)
	}
	if third, _ := get(); third.Reveal() == second.Reveal() {
		t.Error("after a restart a token of the certificate before is given out")
	}
}

// claimOf returns a claim of an access token that is a JWT, in JSON.
func claimOf(t *testing.T, token Token, name string) string {
	t.Helper()
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatal("the access token is no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(claims[name])
}

func TestAnApplicationWithoutItsCertificateSaysSo(t *testing.T) {
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{})
	missing := filepath.Join(t.TempDir(), "app.pem")
	client, err := New(Config{
		Provider:    Provider{Issuer: server.Issuer, Roots: realtest.Trusting(server.RootCAs)},
		Application: Application{ClientID: server.TLS.ID, Certificate: CertificateFiles(missing, missing)},
		Store:       tokenstore.OpenMemory(),
		State:       &statestore.Memory{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.SignIn(t.Context(), SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(context.Context, string) error { return nil }})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "Application.Certificate") {
		t.Errorf("error %v", err)
	}
}
