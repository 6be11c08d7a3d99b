package fdsclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// begun returns an attempt of an application with an https redirect URI, approved,
// and its callback URL.
func begun(t *testing.T, client *fdsclient.Client, p *fdstest.Provider) (fdsclient.Attempt, string) {
	t.Helper()
	attempt, err := client.BeginSignIn(t.Context(), fdsclient.SignInOptions{})
	if err != nil {
		t.Fatal(err)
	}
	callback, err := p.ApproveCallback(t.Context(), attempt.URL())
	if err != nil {
		t.Fatal(err)
	}
	return attempt, callback
}

// web configures the confidential application with its https redirect URI.
func web(t *testing.T, p *fdstest.Provider) fdsclient.Config {
	t.Helper()
	cfg := configure(t, p)
	app := p.ConfidentialApplication()
	cfg.Application.ClientID, cfg.Application.ClientSecret = app.ID, fds.NewSecret(app.Secret)
	cfg.Application.RedirectURL = app.RedirectURIs[0]
	return cfg
}

func TestAttackAnAttemptThatIsReplayedOrExpiredIsNotTaken(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	client := open(t, cfg)

	attempt, callback := begun(t, client, p)
	owners, err := client.FinishSignIn(t.Context(), attempt, callback)
	if err != nil || len(owners) != 1 {
		t.Fatalf("%v, %v", owners, err)
	}
	if _, err := client.FinishSignIn(t.Context(), attempt, callback); !errors.Is(err, fds.ErrAttemptUsed) {
		t.Errorf("the second use: %v", err)
	}
	// A replay in another process has only the server to stop it.
	_, err = open(t, cfg).FinishSignIn(t.Context(), attempt, callback)
	var refused *fdsclient.OAuthError
	if !errors.As(err, &refused) || refused.Code != "invalid_grant" {
		t.Errorf("the replayed code: %v", err)
	}

	late, callback := begun(t, client, p)
	encoded, err := late.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(encoded, &members); err != nil {
		t.Fatal(err)
	}
	members["expires"] = time.Now().Add(-time.Second)
	if encoded, err = json.Marshal(members); err != nil {
		t.Fatal(err)
	}
	expired, err := fdsclient.DecodeAttempt(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.FinishSignIn(t.Context(), expired, callback); !errors.Is(err, fds.ErrAttemptExpired) {
		t.Errorf("an expired attempt: %v", err)
	}
	if _, err := fdsclient.DecodeAttempt([]byte(`{"version":1}`)); err == nil {
		t.Error("rubbish was decoded")
	}
}

func TestAttackARedirectThatIsNotTheAttemptsIsNotTaken(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, web(t, p))
	attempt, callback := begun(t, client, p)
	other, _ := begun(t, client, p)
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	change := func(edit func(u *url.URL, q url.Values)) string {
		c := *u
		q := c.Query()
		edit(&c, q)
		c.RawQuery = q.Encode()
		return c.String()
	}
	for name, foreign := range map[string]string{
		"another host":  change(func(u *url.URL, _ url.Values) { u.Host = "evil.example" }),
		"http":          change(func(u *url.URL, _ url.Values) { u.Scheme = "http" }),
		"another path":  change(func(u *url.URL, _ url.Values) { u.Path = "/elsewhere" }),
		"no state":      change(func(_ *url.URL, q url.Values) { q.Del("state") }),
		"two states":    callback + "&state=x",
		"two codes":     callback + "&code=x",
		"far too long":  callback + "&x=" + strings.Repeat("x", 20000),
		"state altered": change(func(_ *url.URL, q url.Values) { q.Set("state", q.Get("state")+"x") }),
	} {
		if _, err := client.FinishSignIn(t.Context(), attempt, foreign); !errors.Is(err, fds.ErrForeignRedirect) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Login CSRF: the attacker's redirect in the victim's session.
	if _, err := client.FinishSignIn(t.Context(), other, callback); !errors.Is(err, fds.ErrForeignRedirect) {
		t.Errorf("another session's redirect: %v", err)
	}
	// None of it has used the attempt up; a server passes path and query alone, in which
	// there may be more.
	if _, err := client.FinishSignIn(t.Context(), attempt, u.RequestURI()+"&%zz;&x=100%"); err != nil {
		t.Errorf("the right redirect: %v", err)
	}
}

func TestAttackSecretsDoNotPrint(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := web(t, p)
	client := open(t, cfg)
	attempt, callback := begun(t, client, p)
	owners, err := client.FinishSignIn(t.Context(), attempt, callback)
	if err != nil {
		t.Fatal(err)
	}
	tok := token(t, owners[0])
	holder := struct {
		attempt fdsclient.Attempt
		token   fdsclient.Token
		owner   *fdsclient.Owner
		cfg     fdsclient.Config
	}{attempt, tok, owners[0], cfg}
	var out bytes.Buffer
	for _, v := range []any{holder, &holder, attempt, &attempt, tok, &tok, owners[0], cfg.Application, cfg, stored(t, cfg.Store)} {
		fmt.Fprintf(&out, "%v %+v %#v %s %q %x\n", v, v, v, v, v, v)
		text, _ := json.Marshal(v)
		out.Write(text)
	}
	for _, secret := range append(p.Secrets(), cfg.Application.ClientSecret.Reveal()) {
		if strings.Contains(out.String(), secret) || strings.Contains(out.String(), fmt.Sprintf("%x", secret)) {
			t.Errorf("a secret of %d characters was printed", len(secret))
		}
	}
	_, state := redirectOf(t, attempt.URL())
	if strings.Contains(out.String(), state) {
		t.Error("the state was printed")
	}
}

// TestAWebAppSignsItsUsersIn is the flow of a server whose user's browser is
// elsewhere: the attempt lies in the user's session between two requests.
func TestAWebAppSignsItsUsersIn(t *testing.T) {
	p := start(t, fdstest.Options{})
	var client *fdsclient.Client
	sessions := make(map[string][]byte)
	var done atomic.Pointer[[]*fdsclient.Owner]
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connect", func(w http.ResponseWriter, r *http.Request) {
		attempt, err := client.BeginSignIn(r.Context(), fdsclient.SignInOptions{})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		encoded, err := attempt.Encode()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		sessions["alice"] = encoded
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "alice", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, attempt.URL(), http.StatusFound)
	})
	mux.HandleFunc("GET /fds/callback", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil {
			http.Error(w, "no session", http.StatusForbidden)
			return
		}
		attempt, err := fdsclient.DecodeAttempt(sessions[cookie.Value])
		if err != nil {
			http.Error(w, "no sign-in was begun", http.StatusForbidden)
			return
		}
		owners, err := client.FinishSignIn(r.Context(), attempt, r.URL.String())
		if err != nil {
			http.Error(w, "not signed in", http.StatusForbidden)
			return
		}
		done.Store(&owners)
		fmt.Fprintln(w, "connected")
	})
	app := httptest.NewTLSServer(mux)
	defer app.Close()

	cfg := configure(t, p)
	cfg.Application.ClientID, cfg.Application.RedirectURL = "web-app", app.URL+"/fds/callback"
	if err := p.AddClient(fdstest.Application{ID: "web-app", RedirectURIs: []string{cfg.Application.RedirectURL}}); err != nil {
		t.Fatal(err)
	}
	client = open(t, cfg)

	browser := app.Client()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	begin, err := browser.Get(app.URL + "/connect")
	if err != nil {
		t.Fatal(err)
	}
	begin.Body.Close()
	callback, err := p.ApproveCallback(t.Context(), begin.Header.Get("Location"), p.Owners()[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range []struct {
		cookies []*http.Cookie
		status  int
	}{{nil, http.StatusForbidden}, {begin.Cookies(), http.StatusOK}} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, callback, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range session.cookies {
			request.AddCookie(c)
		}
		response, err := browser.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != session.status {
			t.Errorf("with %d cookies: status %d, want %d", len(session.cookies), response.StatusCode, session.status)
		}
	}
	if owners := done.Load(); owners == nil || (*owners)[0].Key().SubscriptionID != p.Owners()[2].SubscriptionID {
		t.Errorf("signed in %v", owners)
	}
}
