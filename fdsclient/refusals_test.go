package fdsclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/pull"
)

func TestAttackAServerThatCannotBeTrustedOrReachedGetsOneSentence(t *testing.T) {
	p := start(t, fdstest.Options{})
	issuer, err := url.Parse(p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	// The near end of a connection: nothing listens there, and its port is taken, so
	// that no other test gets it meanwhile.
	taken, err := net.Dial("tcp", issuer.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	misnamed, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "other", Hosts: []string{"other.example"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	other := serveTLS(t, misnamed, http.NotFoundHandler())
	for name, c := range map[string]struct {
		change func(*fdsclient.Config)
		says   string
	}{
		"wrong CA":        {func(c *fdsclient.Config) { c.Provider.Roots = realtest.Trusting(x509.NewCertPool()) }, "have its CA certificate trusted"},
		"wrong host name": {func(c *fdsclient.Config) { c.Provider.Issuer = other }, "check the host name in the URL"},
		"nothing listens": {func(c *fdsclient.Config) { c.Provider.Issuer = "https://" + taken.LocalAddr().String() }, "check host and port"},
		"no metadata":     {func(c *fdsclient.Config) { c.Provider.Issuer = "https://" + issuer.Host + "/elsewhere" }, "check the issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configure(t, p)
			c.change(&cfg)
			_, err := open(t, cfg).SignIn(t.Context(), approve(p))
			if !errors.Is(err, fds.ErrUnavailable) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want %q in one line", err, c.says)
			}
		})
	}
}

// serveTLS serves h under a certificate and returns its URL.
func serveTLS(t *testing.T, certificate fdstest.Certificate, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate.TLS}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestNoConfigurationMakesAnOwnerPanic(t *testing.T) {
	p := start(t, fdstest.Options{Devices: 1})
	cfg := configure(t, p)
	cfg.Application.Name = "Gebäude-Übersicht ☂"
	owner := signIn(t, open(t, cfg), p)[0]
	if _, err := pull.Collect(owner.Pull().Specifications(t.Context(), pull.Query{})); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*fdsclient.Config){
		"APIURL":        func(c *fdsclient.Config) { c.Provider.APIURL += "/fds/v2/" },
		"query":         func(c *fdsclient.Config) { c.Provider.APIURL += "?a=b" },
		"KeepAlive":     func(c *fdsclient.Config) { c.Push.KeepAlive = time.Millisecond },
		"SessionExpiry": func(c *fdsclient.Config) { c.Push.SessionExpiry = -time.Second },
		"MaxPacketSize": func(c *fdsclient.Config) { c.Push.MaxPacketSize = 1 },
		"Name":          func(c *fdsclient.Config) { c.Application.Name = "a\r\nb" },
	} {
		cfg := configure(t, p)
		change(&cfg)
		if _, err := fdsclient.New(cfg); !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttackAConfigurationsErrorsShowNoPassword(t *testing.T) {
	for _, address := range []string{
		"https://alice:hunter2@auth.example.com?tenant=1",
		"alice:hunter2@auth.example.com",
		"https://alice:p@hunter2@auth.example.com",
		"https://alice:a/hunter2@auth.example.com",
		"http://alice:hunter2@auth.example.com",
		"https:alice:hunter2@auth.example.com",
		"https:/alice:hunter2@auth.example.com",
		"https:///alice:hunter2@auth.example.com",
	} {
		_, err := fdsclient.New(fdsclient.Config{
			Provider:    fdsclient.Provider{Issuer: address, APIURL: address},
			Application: fdsclient.Application{ClientID: "app", RedirectURL: address},
		})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "auth.example.com") {
			t.Errorf("error %v", err)
		}
	}
}

func TestASettingChangedAfterNewChangesNothing(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	cfg.Application.Scopes = []string{"openid", "offline_access"}
	client := open(t, cfg)
	cfg.Application.Scopes[1] = "everything"
	attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{})
	if err != nil || strings.Contains(attempt.URL(), "everything") {
		t.Errorf("asks for %s, %v", attempt.URL(), err)
	}
}

func TestARedirectURIWithoutAPathMeansTheRoot(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Application.ClientID, cfg.Application.RedirectURL = "bare", "https://bare.example.com"
	if err := p.AddClient(fdstest.Application{ID: "bare", RedirectURIs: []string{cfg.Application.RedirectURL}}); err != nil {
		t.Fatal(err)
	}
	client := open(t, cfg)
	attempt, callback := begun(t, client, p)
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" // as every browser asks for it
	if _, err := client.FinishSignIn(t.Context(), attempt, u.RequestURI()); err != nil {
		t.Error(err)
	}
}

func TestAttackAnEchoedSecretShowsInNoFormAndNoMember(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	signIn(t, open(t, cfg), p)
	const secret = "ab/cd+ef=gh"
	for name, body := range map[string]string{
		"in a URL's form":   `{"error":"invalid_request","error_description":"no ` + url.QueryEscape(secret) + ` here"}`,
		"as a path":         `{"error":"invalid_request","error_description":"no ` + url.PathEscape(secret) + ` here"}`,
		"as the error code": `{"error":"` + secret + `"}`,
	} {
		g := stored(t, cfg.Store)
		g.RefreshToken, g.AccessExpiry = fds.NewSecret(secret), time.Now().Add(-time.Minute)
		if _, err := cfg.Store.Save(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		off := p.Inject(fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", body))
		_, owner := restart(t, cfg)
		_, err := owner.Token(t.Context())
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if err == nil || strings.Contains(err.Error(), form) {
				t.Errorf("%s: the error shows the refresh token as %q, or is none: %v", name, form, err)
			}
		}
		off()
	}
}

func TestAttackKeysThatCannotBeHadAreTheProvidersFaultAndNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		for name, fault := range map[string]fdstest.Fault{
			"an error":  fdstest.Answer(fdstest.KeysEndpoint, 500, "text/plain", "internal detail"),
			"a page":    fdstest.Answer(fdstest.KeysEndpoint, 200, "text/html", "<p>internal detail"),
			"a cut off": fdstest.DropBeforeWork(fdstest.KeysEndpoint),
		} {
			off := p.Inject(fault)
			client := open(t, web(t, p))
			attempt, callback := begun(t, client, p)
			_, err := client.FinishSignIn(t.Context(), attempt, callback)
			if !errors.Is(err, fds.ErrUnavailable) || !fdsclient.Retryable(err) || strings.Contains(err.Error(), "internal detail") {
				t.Errorf("%s: %v", name, err)
			}
			off()
		}
	})
}

func TestAnAnswerThatSpeaksOfNoLivesIsRenewedInPeace(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	defer p.Inject(fdstest.TokenAnswerMember("expires_in", -1))()
	owner := signIn(t, open(t, cfg), p)[0]
	for range 20 {
		token(t, owner)
	}
	if left := time.Until(token(t, owner).Expiry()); left < 4*time.Minute {
		t.Errorf("the token is taken to live %v more, want the assumed 5 minutes", left)
	}
	if n := p.Requests(fdstest.TokenEndpoint); n != 1 {
		t.Errorf("%d requests to the token endpoint, want that of the sign-in", n)
	}
}

func TestACallerWhoGaveUpIsNotToldThatTheProviderIsAway(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, web(t, p))
	attempt, callback := begun(t, client, p)
	defer p.Inject(fdstest.Slow(fdstest.TokenEndpoint, 10*time.Second))()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := client.FinishSignIn(ctx, attempt, callback)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fds.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

func TestAfterCloseNobodySignsIn(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	client := open(t, cfg)
	attempt, callback := begun(t, client, p)
	client.Close()
	if _, err := client.FinishSignIn(t.Context(), attempt, callback); !errors.Is(err, fds.ErrClientClosed) {
		t.Errorf("FinishSignIn: %v", err)
	}
	if _, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{}); !errors.Is(err, fds.ErrClientClosed) {
		t.Errorf("BeginSignIn: %v", err)
	}
	if _, err := client.SignIn(t.Context(), approve(p)); !errors.Is(err, fds.ErrClientClosed) {
		t.Errorf("SignIn: %v", err)
	}
	for range cfg.Store.List(t.Context()) {
		t.Error("a grant was stored")
	}
}

func TestCloseWaitsForASignInThatHasItsRedirect(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	client := open(t, cfg)
	attempt, callback := begun(t, client, p)
	defer p.Inject(fdstest.Slow(fdstest.TokenEndpoint, 300*time.Millisecond))()
	var user sync.WaitGroup
	user.Go(func() {
		if _, err := client.FinishSignIn(t.Context(), attempt, callback); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the exchange", func() bool { return p.Requests(fdstest.TokenEndpoint) > 0 })
	client.Close()
	stored(t, cfg.Store)
	user.Wait()
}

func TestCloseSavesWhatTheStoreWouldNotTakeBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		store := &watchedStore{Store: cfg.Store}
		cfg.Store = store
		signIn(t, open(t, cfg), p)
		unsaved := func() *fdsclient.Client {
			expire(t, store)
			store.failing.Store(true)
			client, owner := restart(t, cfg)
			if _, err := owner.Token(t.Context()); err == nil {
				t.Fatal("a token was given out that is not saved")
			}
			return client
		}
		client := unsaved()
		spent := stored(t, store).RefreshToken
		store.failing.Store(false)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if stored(t, store).RefreshToken.Equal(spent) {
			t.Error("the spent refresh token is still stored")
		}
		_, owner := restart(t, cfg)
		token(t, owner)

		if err := unsaved().Close(); !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "sign in again") {
			t.Errorf("closing with a store that takes nothing: %v", err)
		}
	})
}

func TestASignOutRevokesTheTokenThatCouldNotBeSaved(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	store := &watchedStore{Store: cfg.Store}
	cfg.Store = store
	cfg.Provider.Endpoints.Revocation, _ = revocation(t, p)
	signIn(t, open(t, cfg), p)
	expire(t, store)
	spent := stored(t, store).RefreshToken
	store.failing.Store(true)

	address, revoked := revocation(t, p)
	cfg.Provider.Endpoints.Revocation = address
	_, owner := restart(t, cfg)
	if _, err := owner.Token(t.Context()); err == nil {
		t.Fatal("a token was given out that is not saved")
	}
	if err := owner.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-revoked; got == "" || got == spent.Reveal() {
		t.Error("the spent refresh token was revoked, and the one that works was not")
	}
}

func TestWhoSignedOutDoesNotComeBackWithATokenSavedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		store := &watchedStore{Store: cfg.Store}
		cfg.Store = store
		all := p.Owners()
		signIn(t, open(t, cfg), p, all...)
		expire(t, store)
		store.failing.Store(true)
		client := open(t, cfg)
		owners, err := client.Owners(t.Context())
		if err != nil || len(owners) != 3 {
			t.Fatalf("%v, %v", owners, err)
		}
		if _, err := owners[0].Token(t.Context()); err == nil {
			t.Fatal("a token was given out that is not saved")
		}
		store.failing.Store(false)
		if err := owners[0].SignOut(t.Context()); !errors.Is(err, fds.ErrGrantShared) {
			t.Fatal(err)
		}
		eventually(t, "a token of another owner", func() bool {
			_, err := owners[1].Token(t.Context())
			return err == nil
		})
		if got := stored(t, store).Subscriptions; len(got) != 2 || slices.Contains(got, owners[0].Root().ClientID()) {
			t.Errorf("stored for %v", got)
		}
	})
}

func TestASignOutDeletesHereHoweverLongTheProviderTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		owner := signIn(t, open(t, cfg), p)[0]
		inject(t, p, fdstest.Slow(fdstest.RevocationEndpoint, 10*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := owner.SignOut(ctx)
		var result *fdsclient.SignOutError
		if !errors.As(err, &result) || result.Revoked || !result.Deleted || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v", err)
		}
		for range cfg.Store.List(context.Background()) {
			t.Error("the grant is still stored")
		}
	})
}

// revocation serves a revocation endpoint that tells which token it was shown.
func revocation(t *testing.T, p *fdstest.Provider) (address string, shown <-chan string) {
	t.Helper()
	certificate, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "revocation", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := make(chan string, 10)
	return serveTLS(t, certificate, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		tokens <- r.FormValue("token")
	})), tokens
}

func TestFiltersOfAnotherSpellingKeepNoOwnerFromConnecting(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	owner := signIn(t, client, p)[0]
	foreign := "fds/v2/" + strings.ToUpper(fds.NewSubscriptionID().String()) + "/#"
	if _, err := cfg.State.Save(t.Context(), recordOf(cfg, owner.Key()), fmt.Appendf(nil, `{"filters":[%q]}`, foreign), ""); err != nil {
		t.Fatal(err)
	}
	runClient(t, client, (&inbox{}).handle)
	eventually(t, "the owner connected", func() bool { return len(p.Subscriber(p.Owners()[0]).Subscriptions) > 0 })
}

func TestParametersOfTheAppDoNotTouchWhatASignInRestsOn(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, web(t, p))
	for _, name := range []string{"client_id", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "request", "request_uri", "response_mode", "response_type", "state"} {
		_, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{Parameters: map[string]string{name: "x"}})
		if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{Parameters: map[string]string{"login_hint": "alice"}})
	if err != nil || !strings.Contains(attempt.URL(), "login_hint=alice") {
		t.Errorf("%s, %v", attempt.URL(), err)
	}
}

func TestTheSubscriptionIDIsFoundInEachPlaceItMayBe(t *testing.T) {
	p := start(t, fdstest.Options{})
	opaque := fdstest.TokenAnswerMember("access_token", "an-opaque-token")
	owner := p.Owners()[0]
	for name, faults := range map[string][]fdstest.Fault{
		"the access token":   {fdstest.IDTokenClaim(p.SubscriptionClaim(), nil)},
		"the ID token":       {opaque},
		"the token response": {opaque, fdstest.TokenSubscription(nil), fdstest.TokenAnswerMember(p.SubscriptionClaim(), owner.Spelling)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fault := range faults {
				defer p.Inject(fault)()
			}
			signedIn := signIn(t, open(t, configure(t, p)), p, owner)
			if len(signedIn) != 1 || signedIn[0].Key().SubscriptionID != owner.SubscriptionID {
				t.Errorf("signed in %v", signedIn)
			}
		})
	}
}

func TestTheRefreshTokensLifeIsReadWhereTheProviderTellsIt(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, value := range map[string]any{"refresh_expires_in": 7200, "refresh_token_expires_in": "7200"} {
		off := p.Inject(fdstest.TokenAnswerMember(name, value))
		info, err := signIn(t, open(t, configure(t, p)), p)[0].Grant(t.Context())
		if left := time.Until(info.RefreshExpiry); err != nil || left < 7100*time.Second || left > 7200*time.Second {
			t.Errorf("%s: %v left, %v", name, left, err)
		}
		off()
	}
}
