package fdsclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// evilProvider is one that an application is registered with too. It sends whoever
// signs in there on to an honest one, and wants to be given that one's code.
type evilProvider struct {
	issuer string
	roots  *x509.CertPool
	honest string // authorization endpoint

	mu   sync.Mutex
	path string // of the redirect URI that it asks the honest one for; "": as it got it
	loot []url.Values
}

func newEvilProvider(t *testing.T, honest *fdstest.Provider) *evilProvider {
	t.Helper()
	e := &evilProvider{honest: metadataOf(t, honest)["authorization_endpoint"].(string)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": e.issuer, "authorization_endpoint": e.issuer + "/authorize", "token_endpoint": e.issuer + "/token",
			"code_challenge_methods_supported": []string{"S256"}, "response_types_supported": []string{"code"},
		})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.path != "" {
			redirect, _ := url.Parse(query.Get("redirect_uri"))
			redirect.Path, redirect.RawQuery = e.path, ""
			query.Set("redirect_uri", redirect.String())
		}
		http.Redirect(w, r, e.honest+"?"+query.Encode(), http.StatusSeeOther)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		e.mu.Lock()
		defer e.mu.Unlock()
		e.loot = append(e.loot, r.PostForm)
		w.WriteHeader(http.StatusBadRequest)
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	e.issuer, e.roots = server.URL, x509.NewCertPool()
	e.roots.AddCert(server.Certificate())
	return e
}

// asks has it ask for a redirect URI with another path.
func (e *evilProvider) asks(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.path = path
}

// gained reports whether it was sent a code with its verifier.
func (e *evilProvider) gained() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.loot) > 0 && e.loot[0].Get("code") != "" && e.loot[0].Get("code_verifier") != ""
}

// onward opens a URL of it and returns where it leads: the honest provider.
func (e *evilProvider) onward(t *testing.T, authorizationURL string) string {
	t.Helper()
	b := newPerson(t)
	b.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	return b.begin(authorizationURL)
}

// mixedUp are an honest provider that names itself in no redirect, and an evil one.
func mixedUp(t *testing.T, named bool, redirectURIs ...string) (honest *fdstest.Provider, evil *evilProvider) {
	t.Helper()
	honest = start(t, fdstest.Options{})
	if !named {
		honest.Inject(fdstest.NoResponseIssuer())
		honest.Inject(fdstest.MetadataMember("authorization_response_iss_parameter_supported", nil))
	}
	evil = newEvilProvider(t, honest)
	if len(redirectURIs) == 0 {
		redirectURIs = []string{"http://127.0.0.1" + redirectPathAt(t, honest)}
	}
	if err := honest.AddClient(fdstest.Application{ID: "app", RedirectURIs: redirectURIs}); err != nil {
		t.Fatal(err)
	}
	return honest, evil
}

// redirectPathAt returns the path that the application has to register at a
// provider: the one that it uses there.
func redirectPathAt(t *testing.T, p *fdstest.Provider) (path string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	_, _ = open(t, configure(t, p)).SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(_ context.Context, address string) error {
		defer cancel()
		redirect, _ := redirectOf(t, newPerson(t).begin(address))
		u, err := url.Parse(redirect)
		path = u.Path
		return err
	}})
	return path
}

// at configures the application at one of them.
func (e *evilProvider) at(t *testing.T, honest *fdstest.Provider) fdsclient.Config {
	cfg := configure(t, honest)
	cfg.Provider = fdsclient.Provider{Issuer: e.issuer, Roots: realtest.Trusting(e.roots)}
	cfg.Application.ClientID = "app"
	return cfg
}

// TestAttackMixUpOnTheLoopback: the user signs in at the evil provider, which
// leads to the honest one, and the honest one's code comes back here (RFC 9700
// section 4.4). Both ways of the evil one: with the redirect URI that it got, and
// with the honest one's.
func TestAttackMixUpOnTheLoopback(t *testing.T) {
	for name, c := range map[string]struct {
		path      func(honest string) string // that the evil provider asks for
		shared    bool                       // the application has set "/callback" for both
		named     bool                       // the honest provider names itself
		succeeds  bool                       // the attack
		delivered int                        // with this status
	}{
		"with its own path":                      {path: func(string) string { return "" }},
		"with the honest one's path":             {path: fdsclient.RedirectPath, delivered: http.StatusNotFound},
		"with a shared path":                     {path: func(string) string { return "" }, shared: true, succeeds: true, delivered: http.StatusBadGateway},
		"with a shared path and a named honesty": {path: func(string) string { return "" }, shared: true, named: true, delivered: http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			var redirects []string
			if c.shared {
				redirects = []string{"http://127.0.0.1/callback"}
			}
			honest, evil := mixedUp(t, c.named, redirects...)
			evil.asks(c.path(honest.Issuer()))
			cfg := evil.at(t, honest)
			if c.shared {
				cfg.Application.RedirectPath = "/callback"
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := open(t, cfg).SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
				defer cancel() // the user gives up
				browser := newPerson(t)
				callback, err := honest.ApproveCallback(ctx, evil.onward(t, browser.begin(address)))
				if c.delivered == 0 {
					if err == nil {
						t.Errorf("the honest provider takes the evil one's path: it leads to %s", callback)
					}
					return nil
				}
				if err != nil {
					t.Error(err)
					return err
				}
				if status, page := browser.visit(callback); status != c.delivered {
					t.Errorf("the redirect gets %d %q, want %d", status, page, c.delivered)
				}
				return nil
			}})
			if err == nil || c.named && !errors.Is(err, fds.ErrIssuer) {
				t.Errorf("the sign-in gives %v", err)
			}
			if evil.gained() != c.succeeds {
				t.Errorf("the evil provider has the code: %v", evil.gained())
			}
		})
	}
}

// TestAttackMixUpWithRedirectURLs: the same at a web application.
func TestAttackMixUpWithRedirectURLs(t *testing.T) {
	for name, urls := range map[string][2]string{ // the honest one's and the evil one's
		"by path":  {"https://app.example/honest", "https://app.example/evil"},
		"by query": {"https://app.example/callback?at=honest", "https://app.example/callback?at=evil"},
		"by host":  {"https://honest.app.example/callback", "https://evil.app.example/callback"},
	} {
		t.Run(name, func(t *testing.T) {
			honest, evil := mixedUp(t, false, urls[0])
			cfg := evil.at(t, honest)
			cfg.Application.RedirectURL = urls[1]
			client := open(t, cfg)
			attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{})
			if err != nil {
				t.Fatal(err)
			}
			onward := evil.onward(t, attempt.URL())
			if _, err := honest.ApproveCallback(t.Context(), onward); err == nil {
				t.Error("the honest provider takes the evil one's redirect URL")
			}
			callback, err := honest.ApproveCallback(t.Context(), strings.Replace(onward, url.QueryEscape(urls[1]), url.QueryEscape(urls[0]), 1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.FinishSignIn(t.Context(), attempt, callback); !errors.Is(err, fds.ErrForeignRedirect) {
				t.Errorf("the evil one's Client gives %v", err)
			}
			own := configure(t, honest)
			own.Application.ClientID, own.Application.RedirectURL = "app", urls[0]
			if _, err := open(t, own).FinishSignIn(t.Context(), attempt, callback); !errors.Is(err, fds.ErrForeignRedirect) {
				t.Errorf("the honest one's Client gives %v", err)
			}
			if evil.gained() {
				t.Error("the evil provider has the code")
			}
		})
	}
}

func TestAttackMixUpTwoProvidersDoNotShareARedirectURL(t *testing.T) {
	p, other := start(t, fdstest.Options{}), start(t, fdstest.Options{})
	at := func(p *fdstest.Provider, address string) fdsclient.Config {
		cfg := configure(t, p)
		cfg.Application.RedirectURL = address
		return cfg
	}
	const address = "https://app.example/callback"
	first := open(t, at(p, address))
	open(t, at(p, address)) // the same provider's again
	for _, spelling := range []string{address, "https://APP.example:443/callback"} {
		_, err := fdsclient.New(at(other, spelling))
		if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), p.Issuer()) || !strings.Contains(err.Error(), "one for each provider") {
			t.Errorf("%s: error %v", spelling, err)
		}
	}
	open(t, at(other, address+"/other"))
	open(t, at(other, address+"?at=other"))

	second := open(t, at(p, "https://app.example/second"))
	second.Close()
	open(t, at(other, "https://app.example/second"))
	runtime.KeepAlive(first)
}
