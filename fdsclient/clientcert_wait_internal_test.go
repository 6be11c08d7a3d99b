package fdsclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// selfSigned makes a client certificate.
func selfSigned(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// certificateClient returns a Client of an application with a certificate, whose
// token endpoint is server.
func certificateClient(t *testing.T, store tokenstore.Store, server http.RoundTripper, source func(context.Context) (*tls.Certificate, error)) *Client {
	t.Helper()
	client, err := New(Config{
		Provider:    Provider{Issuer: "https://auth.example", Endpoints: Endpoints{Authorization: "https://auth.example/a", Token: "https://auth.example/t"}},
		Application: Application{ClientID: "app", Certificate: source},
		Store:       store,
		State:       &statestore.Memory{},
	})
	if err != nil {
		t.Fatal(err)
	}
	speakThrough(client, server)
	return client
}

func onlyOwner(t *testing.T, client *Client) *Owner {
	t.Helper()
	owners, err := client.Owners(t.Context())
	if err != nil || len(owners) != 1 {
		t.Fatalf("%d owners, %v", len(owners), err)
	}
	return owners[0]
}

// keepGrant stores a grant whose access token lives for so long.
func keepGrant(t *testing.T, store tokenstore.Store, lifetime time.Duration, thumbprint string) {
	t.Helper()
	id := fds.NewSubscriptionID().String()
	if _, err := store.Save(t.Context(), tokenstore.Grant{
		Key:                   tokenstore.Key{Issuer: "https://auth.example", ClientID: "app", GrantID: id},
		Subscriptions:         []string{id},
		RefreshToken:          fds.NewSecret("first"),
		AccessToken:           fds.NewSecret("stored"),
		TokenType:             "Bearer",
		AccessExpiry:          time.Now().Add(lifetime),
		Renewed:               time.Now(),
		CertificateThumbprint: thumbprint,
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAfterARestartAFreshTokenOfTheSameCertificateIsUsedAgain(t *testing.T) {
	certificate := selfSigned(t)
	source := func(context.Context) (*tls.Certificate, error) { return certificate, nil }
	sum := sha256.Sum256(certificate.Certificate[0])
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	store := tokenstore.OpenMemory()
	keepGrant(t, store, time.Hour, thumbprint)
	asked := 0
	client := certificateClient(t, store, answering(func(*http.Request) (int, string) {
		asked++
		return http.StatusOK, `{"access_token":"new","refresh_token":"second","token_type":"Bearer","expires_in":3600}`
	}), source)
	defer client.Close()
	owner := onlyOwner(t, client)
	token, err := owner.Token(t.Context())
	if err != nil || token.Reveal() != "stored" || asked != 0 {
		t.Errorf("%v, %v; the provider was asked %d times", token, err, asked)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := owner.Token(context.Background()); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a fresh token costs %v allocations", n)
	}
}

func TestACertificateSourceThatHangsHoldsUpNeitherCallersNorTheCertificateBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		certificate := selfSigned(t)
		hang := make(chan struct{})
		var mu sync.Mutex
		hangs, calls := true, 0
		source := func(context.Context) (*tls.Certificate, error) { // which knows no context
			mu.Lock()
			calls++
			now, wait := hangs, hang
			mu.Unlock()
			if now {
				<-wait
			}
			return certificate, nil
		}
		store := tokenstore.OpenMemory()
		keepGrant(t, store, -time.Minute, "")
		hook := &certificateHook{}
		client := certificateClient(t, store, answering(func(*http.Request) (int, string) {
			return http.StatusOK, `{"access_token":"new","refresh_token":"second","token_type":"Bearer","expires_in":60}`
		}), source)
		client.cfg.Hooks = []any{hook}
		owner := onlyOwner(t, client)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := client.auth.ClientCerts.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller's end gives %v", err)
		}
		cancel()
		begun := time.Now()
		if _, err := owner.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "Application.Certificate") {
			t.Errorf("without any certificate: %v", err)
		}
		if waited := time.Since(begun); waited > time.Minute {
			t.Errorf("waited %v", waited)
		}
		mu.Lock()
		if calls != 1 {
			t.Errorf("%d calls of the source at once", calls)
		}
		hangs = false
		mu.Unlock()
		close(hang)
		synctest.Wait()
		time.Sleep(10 * time.Second) // the back-off
		if _, err := owner.Token(t.Context()); err != nil {
			t.Errorf("once it answers: %v", err)
		}

		mu.Lock()
		hangs, hang = true, make(chan struct{})
		mu.Unlock()
		time.Sleep(3 * time.Minute) // the token expires, and the scheduler looks again and again
		if _, err := owner.Token(t.Context()); err != nil {
			t.Errorf("with the certificate before: %v", err)
		}
		if n := hook.count(); n == 0 || n > 2 { // nothing to begin with, then the one before
			t.Errorf("told %d times", n)
		}
		begun = time.Now()
		client.Close()
		if waited := time.Since(begun); waited > time.Second {
			t.Errorf("Close waited %v for the source", waited)
		}
		close(hang)
	})
}
