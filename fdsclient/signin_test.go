package fdsclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func TestAUserSignsInOnceAndTheGrantIsKept(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	owner := p.Owners()[1]

	signedIn := signIn(t, client, p, owner)
	if len(signedIn) != 1 || signedIn[0].Key() != (fds.OwnerKey{Issuer: p.Issuer(), SubscriptionID: owner.SubscriptionID}) {
		t.Fatalf("signed in %v, want %s", signedIn, owner.SubscriptionID)
	}
	grant := stored(t, cfg.Store)
	if grant.RefreshToken.IsZero() || grant.Subscriptions[0] != owner.Spelling {
		t.Errorf("the stored grant is for %v, refresh token there: %v", grant.Subscriptions, !grant.RefreshToken.IsZero())
	}

	again := open(t, cfg) // the program after a restart
	owners, err := again.Owners(t.Context())
	if err != nil || len(owners) != 1 || owners[0].Key() != signedIn[0].Key() {
		t.Fatalf("after a restart: %v, %v", owners, err)
	}
	if got := token(t, owners[0]); got.Reveal() != grant.AccessToken.Reveal() {
		t.Error("the stored access token, still fresh, was not used again")
	}
	if n := p.Requests(fdstest.TokenEndpoint); n != 1 {
		t.Errorf("the token endpoint had %d requests, want only that of the sign-in", n)
	}
}

func TestEachWayOfClientAuthenticationSignsInAndRenews(t *testing.T) {
	p := start(t, fdstest.Options{})
	app := p.ConfidentialApplication()
	for _, method := range []fdsclient.AuthMethod{"", fdsclient.AuthClientSecretBasic, fdsclient.AuthClientSecretPost} {
		t.Run("method "+string(method), func(t *testing.T) {
			cfg := configure(t, p)
			cfg.Application.ClientID, cfg.Application.ClientSecret = app.ID, fds.NewSecret(app.Secret)
			cfg.Application.AuthMethod = method
			client := open(t, cfg)
			owner := signIn(t, client, p)[0]
			first := token(t, owner)
			expire(t, cfg.Store)
			_, restored := restart(t, cfg)
			if second := token(t, restored); second.Reveal() == first.Reveal() {
				t.Error("the token was not renewed")
			}
		})
	}
}

func TestTheSpellingOfTheTokenGoesOnTheWire(t *testing.T) {
	upper := strings.ToUpper(fds.NewSubscriptionID().String())
	p := start(t, fdstest.Options{Owners: []fdstest.Owner{{Name: "Upper", Spelling: upper}}})
	owner := signIn(t, open(t, configure(t, p)), p)[0]
	if owner.Root().ClientID() != upper {
		t.Errorf("client ID %s, want it as the token spelt it, %s", owner.Root().ClientID(), upper)
	}
	if owner.Key().SubscriptionID.String() != strings.ToLower(upper) {
		t.Errorf("key %s", owner.Key())
	}
}

func TestAttackStrayRedirectsDoNotEndASignIn(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		browser := newPerson(t)
		authorization := browser.begin(address)
		redirect, _ := redirectOf(t, authorization)
		for _, stray := range []string{"?state=wrong&code=x", "?state=wrong&error=access_denied", "?error=access_denied", "", "?state=" + url.QueryEscape("\r\n<script>")} {
			if status, body := browser.visit(redirect + stray); status != http.StatusBadRequest || strings.Contains(body, "<script>") {
				t.Errorf("stray redirect %q got %d %q", stray, status, body)
			}
		}
		callback, err := p.ApproveCallback(ctx, authorization)
		if err == nil {
			browser.visit(callback)
		}
		return err
	}})
	if err != nil || len(owners) != 1 {
		t.Fatalf("the sign-in gave %v, %v", owners, err)
	}
}

func TestADeniedSignInEndsWithATypedError(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	_, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: p.Deny})
	var refused *fdsclient.OAuthError
	if !errors.Is(err, fds.ErrAccessDenied) || !errors.As(err, &refused) || refused.Code != "access_denied" || fdsclient.Retryable(err) {
		t.Errorf("error %v", err)
	}
	for range cfg.Store.List(t.Context()) {
		t.Error("a grant was stored")
	}
}

func TestAttackErrorTextsOfAProviderAreTamed(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	bodies := make(chan string, 1)
	_, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(_ context.Context, address string) error {
		browser := newPerson(t)
		redirect, state := redirectOf(t, browser.begin(address))
		_, body := browser.visit(redirect + "?" + url.Values{
			"state": {state}, "iss": {p.Issuer()}, "error": {"server_error"},
			"error_description": {"<script>alert(1)</script>\r\nSet-Cookie: a=b " + state + strings.Repeat("x", 5000)},
		}.Encode())
		bodies <- body
		return nil
	}})
	body := <-bodies
	if err == nil || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("error %q", err)
	}
	if strings.Contains(body, "script") || !strings.Contains(body, "Not signed in") {
		t.Errorf("page %q", body)
	}
}

func TestThePageComesAfterTheExchange(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	client := open(t, cfg)
	for name, c := range map[string]struct {
		fault func() (off func())
		want  string
	}{
		"saved":  {func() func() { return p.Inject(fdstest.Slow(fdstest.TokenEndpoint, 300*time.Millisecond)) }, "Signed in"},
		"failed": {func() func() { return p.Inject(fdstest.Answer(fdstest.TokenEndpoint, 500, "text/html", "<h1>oops")) }, "Not signed in"},
	} {
		t.Run(name, func(t *testing.T) {
			defer c.fault()()
			pages := make(chan string, 1)
			_, _ = client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
				browser := newPerson(t)
				callback, err := p.ApproveCallback(ctx, browser.begin(address))
				if err != nil {
					return err
				}
				_, page := browser.visit(callback)
				pages <- page
				return nil
			}})
			page := <-pages
			if !strings.Contains(page, c.want) {
				t.Errorf("page %q, want %q", page, c.want)
			}
			if name == "saved" {
				stored(t, cfg.Store)
			}
		})
	}
}

func TestCancellingASignInFreesThePortAtOnce(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var port string
	var cancelled time.Time
	_, err := client.SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(_ context.Context, address string) error {
		u, _ := url.Parse(address)
		port, cancelled = u.Host, time.Now()
		cancel()
		return nil
	}})
	if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > 100*time.Millisecond {
		t.Errorf("%v after %v", err, took)
	}
	l, err := net.Listen("tcp", port)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	l.Close()
}

func TestABrowserThatFailsToOpenIsNoEnd(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	shown := make(chan string, 1)
	var person sync.WaitGroup
	person.Go(func() {
		if err := p.Approve(t.Context(), <-shown); err != nil {
			t.Error(err)
		}
	})
	defer person.Wait()
	owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{
		ShowURL:     func(address string) { shown <- address },
		OpenBrowser: func(context.Context, string) error { return errors.New("no display") },
	})
	if err != nil || len(owners) != 1 {
		t.Errorf("%v, %v", owners, err)
	}
}

func TestAttackWhatTheProviderGetsWrongIsRefusedByName(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, c := range map[string]struct {
		fault fdstest.Fault
		class error
		says  string
	}{
		"wrong issuer":             {fdstest.ResponseIssuer("https://evil.example"), fds.ErrIssuer, "evil.example"},
		"missing issuer":           {fdstest.NoResponseIssuer(), fds.ErrIssuer, "names no issuer"},
		"no subscription ID":       {fdstest.TokenSubscription(nil), fds.ErrNoSubscription, "claim"},
		"an empty list":            {fdstest.TokenSubscription([]string{}), fds.ErrNoSubscription, "empty"},
		"not a UUID":               {fdstest.TokenSubscription("customer-17"), fds.ErrSubscriptionID, "customer-17"},
		"a UUID of version 1":      {fdstest.TokenSubscription("c232ab00-9414-11ec-b3c8-9f6bdeced846"), fds.ErrSubscriptionID, "version 1"},
		"a number":                 {fdstest.TokenSubscription(17), fds.ErrSubscriptionID, "neither a string"},
		"one of several is bad":    {fdstest.TokenSubscription([]string{fds.NewSubscriptionID().String(), "x"}), fds.ErrSubscriptionID, "characters, this has 1"},
		"nonce of another sign-in": {fdstest.IDTokenClaim("nonce", "other"), nil, "nonce"},
		"ID token for another app": {fdstest.IDTokenClaim("aud", "other"), nil, "ID token"},
		"ID token expired":         {fdstest.IDTokenClaim("exp", 1000000000), nil, "expired"},
		"type of token unknown":    {fdstest.TokenAnswerMember("token_type", "mac"), fds.ErrUnavailable, "mac"},
		"no access token":          {fdstest.TokenAnswerMember("access_token", nil), fds.ErrUnavailable, "RFC 6749"},
		"header injection":         {fdstest.TokenAnswerMember("access_token", "a\r\nX: y"), fds.ErrUnavailable, "header"},
		"redirect at the endpoint": {fdstest.Redirect(fdstest.TokenEndpoint, 307, "https://evil.example/"), fds.ErrUnavailable, "redirects"},
		"an endless answer":        {fdstest.Endless(fdstest.TokenEndpoint), fds.ErrUnavailable, "larger than"},
		"a page":                   {fdstest.WebPage(fdstest.TokenEndpoint), fds.ErrUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configure(t, p)
			client := open(t, cfg)
			defer p.Inject(c.fault)()
			_, err := client.SignIn(t.Context(), approve(p))
			if err == nil || (c.class != nil && !errors.Is(err, c.class)) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want class %v and %q in it", err, c.class, c.says)
			}
			for range cfg.Store.List(t.Context()) {
				t.Error("a grant was stored")
			}
		})
	}
}

func TestAttackMetadataOfAHostileServerAreNotTrusted(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, c := range map[string]struct {
		fault fdstest.Fault
		class error
		says  string
	}{
		"another issuer":    {fdstest.MetadataMember("issuer", "https://evil.example"), fds.ErrIssuer, "evil.example"},
		"http endpoint":     {fdstest.MetadataMember("token_endpoint", "http://127.0.0.1/token"), fds.ErrUnavailable, "https"},
		"no endpoint":       {fdstest.MetadataMember("authorization_endpoint", nil), fds.ErrUnavailable, "authorization_endpoint"},
		"PKCE downgrade":    {fdstest.MetadataMember("code_challenge_methods_supported", []string{"plain"}), fds.ErrUnavailable, "PKCE"},
		"an endless answer": {fdstest.Endless(fdstest.MetadataEndpoint), fds.ErrUnavailable, "larger than"},
		"a page":            {fdstest.Answer(fdstest.MetadataEndpoint, 200, "text/html", "<html>"), fds.ErrUnavailable, "RFC 8414"},
		"not there":         {fdstest.Answer(fdstest.MetadataEndpoint, 404, "text/plain", "no"), fds.ErrUnavailable, "404"},
		"redirect":          {fdstest.Redirect(fdstest.MetadataEndpoint, 302, "https://evil.example/"), fds.ErrUnavailable, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			client := open(t, configure(t, p))
			defer p.Inject(c.fault)()
			_, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
				t.Error("the browser opened")
				return p.Approve(ctx, address)
			}})
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v and %q", err, c.class, c.says)
			}
		})
	}
}

func TestGivenEndpointsNeedNoMetadata(t *testing.T) {
	p := start(t, fdstest.Options{})
	found := metadataOf(t, p)
	defer p.Inject(fdstest.Answer(fdstest.MetadataEndpoint, 404, "text/plain", "no"))()
	for name, jwks := range map[string]string{"with keys": found["jwks_uri"].(string), "without keys": ""} {
		t.Run(name, func(t *testing.T) {
			cfg := configure(t, p)
			cfg.Provider.Endpoints = fdsclient.Endpoints{
				Authorization: found["authorization_endpoint"].(string),
				Token:         found["token_endpoint"].(string),
				JWKS:          jwks,
			}
			signIn(t, open(t, cfg), p)
		})
	}
}

func metadataOf(t *testing.T, p *fdstest.Provider) map[string]any {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsOf(p), DisableKeepAlives: true}}
	response, err := client.Get(p.Issuer() + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var found map[string]any
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestOpenIDDiscoveryServesWhereRFC8414DoesNot(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	// The first of the two well-known places answers 404.
	defer p.Inject(fdstest.Answer(fdstest.MetadataEndpoint, 404, "text/plain", "no").Times(1))()
	signIn(t, client, p)
}

func TestAStoreThatCannotKeepAGrantIsFoundBeforeTheBrowserOpens(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Store = lockedStore{cfg.Store}
	client := open(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := client.SignIn(ctx, fdsclient.SignInOptions{OpenBrowser: func(context.Context, string) error {
		t.Error("the browser opened")
		return nil
	}, ShowURL: func(string) { t.Error("the URL was shown") }})
	if !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("error %v", err)
	}
}

type lockedStore struct{ tokenstore.Store }

func (lockedStore) Probe(context.Context) error {
	return &tokenstore.Error{Op: "probe", Class: fds.ErrStoreUnavailable, Err: errors.New("locked")}
}

func TestWhereIPv4IsTakenTheRedirectGoesToIPv6(t *testing.T) {
	v6, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback: %v", err)
	}
	port := v6.Addr().(*net.TCPAddr).Port
	v6.Close()
	v4, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Skipf("port %d is taken on 127.0.0.1: %v", port, err)
	}
	defer v4.Close()
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Application.RedirectPorts = []int{port}
	owners, err := open(t, cfg).SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		if !strings.HasPrefix(address, "http://[::1]:") {
			t.Errorf("the start page is at %s", address)
		}
		return p.Approve(ctx, address)
	}})
	if err != nil || len(owners) != 1 {
		t.Errorf("%v, %v", owners, err)
	}
}
