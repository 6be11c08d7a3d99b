package fdsclient_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// begin begins a sign-in of a web application and plays the person.
func begin(t *testing.T, client *fdsclient.Client, p *fdstest.Provider, owner fdstest.Owner) (fdsclient.Attempt, string) {
	t.Helper()
	attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{})
	if err != nil {
		t.Fatal(err)
	}
	callback, err := p.ApproveCallback(t.Context(), attempt.URL(), owner)
	if err != nil {
		t.Fatal(err)
	}
	return attempt, callback
}

// Login CSRF: an attacker sends the victim's browser the redirect of the attacker's own sign-in,
// so that the victim would work with the attacker's data.
func TestAttackTheRedirectOfAnAttackersOwnSignInIsNotTaken(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, web(t, p))
	_, attackers := begin(t, client, p, p.Owners()[0])
	victim, own := begin(t, client, p, p.Owners()[1])
	if _, err := client.FinishSignIn(t.Context(), victim, attackers); !errors.Is(err, fds.ErrForeignRedirect) {
		t.Errorf("the attacker's redirect gives %v", err)
	}
	if owners, err := client.FinishSignIn(t.Context(), victim, own); err != nil || owners[0].Key().SubscriptionID != p.Owners()[1].SubscriptionID {
		t.Errorf("the victim's own sign-in was ended: %v", err)
	}
}

// Code injection: an attacker who has got hold of a victim's code puts it into the redirect of a
// sign-in of their own. PKCE has the server refuse it.
func TestAttackAStolenCodeInAnothersRedirectIsRefused(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, web(t, p))
	_, victims := begin(t, client, p, p.Owners()[1])
	attackers, own := begin(t, client, p, p.Owners()[0])
	stolen, err := url.Parse(victims)
	if err != nil {
		t.Fatal(err)
	}
	injected, err := url.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	query := injected.Query()
	query.Set("code", stolen.Query().Get("code"))
	injected.RawQuery = query.Encode()
	var refused *fdsclient.OAuthError
	if _, err := client.FinishSignIn(t.Context(), attackers, injected.String()); !errors.As(err, &refused) || refused.Code != "invalid_grant" {
		t.Errorf("the stolen code gives %v", err)
	}
}

// Mix-up: the redirect claims to come from another authorization server than the one that was
// asked (RFC 9207).
func TestAttackARedirectThatNamesAnotherIssuerSendsNoCode(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, web(t, p))
	attempt, callback := begin(t, client, p, p.Owners()[0])
	forged := strings.Replace(callback, url.QueryEscape(p.Issuer()), url.QueryEscape("https://evil.example"), 1)
	before := p.Requests(fdstest.TokenEndpoint)
	if _, err := client.FinishSignIn(t.Context(), attempt, forged); !errors.Is(err, fds.ErrIssuer) {
		t.Errorf("error %v", err)
	}
	if p.Requests(fdstest.TokenEndpoint) != before {
		t.Error("the code was sent all the same")
	}
}

// TestAttackAPageInTheBrowserCannotReachTheLoopbackPort: a web page that polls the port
// by scripts, images and frames, a foreign name that resolves to this machine,
// and a page that knows all but the state.
func TestAttackAPageInTheBrowserCannotReachTheLoopbackPort(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	owners, err := client.SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(ctx context.Context, address string) error {
		browser := newPerson(t)
		authorization := browser.begin(address)
		redirect, state := redirectOf(t, authorization)
		denied := redirect + "?" + url.Values{"state": {state}, "error": {"access_denied"}, "iss": {p.Issuer()}}.Encode()
		for name, change := range map[string]func(*http.Request){
			"a foreign Host":       func(r *http.Request) { r.Host = "evil.example" },
			"localhost":            func(r *http.Request) { r.Host = strings.Replace(r.Host, "127.0.0.1", "localhost", 1) },
			"an Origin":            func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
			"a script":             func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "cors") },
			"an image":             func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "no-cors") },
			"a frame":              func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "iframe") },
			"another method":       func(r *http.Request) { r.Method = http.MethodPost },
			"another path":         func(r *http.Request) { r.URL.Path = "/" },
			"the state cut by one": func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, state, state[1:], 1) },
		} {
			for range 20 { // it polls
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, denied, nil)
				if err != nil {
					return err
				}
				change(r)
				response, err := browser.Do(r) // which has the cookie
				if err != nil {
					t.Errorf("%s: %v", name, err)
					break
				}
				response.Body.Close()
				if response.StatusCode < 400 || response.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: status %d", name, response.StatusCode)
				}
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

// TestAttackATokenAnswerWithoutEndOrMeasureIsGivenUp: the grant is kept.
func TestAttackATokenAnswerWithoutEndOrMeasureIsGivenUp(t *testing.T) {
	p := start(t, fdstest.Options{})
	for name, fault := range map[string]fdstest.Fault{
		"oversized":  fdstest.Oversized(fdstest.TokenEndpoint, 300<<10),
		"never ends": fdstest.Endless(fdstest.TokenEndpoint),
	} {
		cfg := configure(t, p)
		signIn(t, open(t, cfg), p)
		expire(t, cfg.Store)
		off := p.Inject(fault)
		_, owner := restart(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := owner.Token(ctx)
		cancel()
		off()
		if !errors.Is(err, fds.ErrUnavailable) || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("%s: %v", name, err)
		}
		if stored(t, cfg.Store).RefreshToken.IsZero() {
			t.Errorf("%s: the grant is gone", name)
		}
	}
}
