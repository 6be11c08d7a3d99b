package fdstest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
	"golang.org/x/oauth2"
)

// desktop is an application whose sign-in begins at a page of its own, which sets a
// cookie and leads to the provider.
type desktop struct {
	*httptest.Server
	leads func(hop string) string // where the start page, or another page of the application, leads
	seen  chan *http.Request      // at the callback
}

func startDesktop(t *testing.T) *desktop {
	t.Helper()
	d := &desktop{seen: make(chan *http.Request, 1)}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/callback/") {
			d.seen <- r
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "attempt", Value: "one", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.SetCookie(w, &http.Cookie{Name: "strict", Value: "one", Path: "/", SameSite: http.SameSiteStrictMode})
		if _, err := r.Cookie("strict"); r.URL.Path == "/next" && err != nil {
			t.Error("the application's own redirect has lost a cookie")
		}
		if to := d.leads(r.URL.Path); to != "" {
			http.Redirect(w, r, to, http.StatusSeeOther)
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func TestAPersonIsOneBrowserFromTheApplicationsPageToItsCallback(t *testing.T) {
	a, d := start(t, fdstest.Options{}), startDesktop(t)
	a.RedirectURL = d.URL + "/callback/issuer-A"
	link := a.link(oauth2.GenerateVerifier())
	d.leads = func(hop string) string { return map[string]string{"/start": "/next?once=1", "/next": link}[hop] }
	for name, c := range map[string]struct {
		act  func() error
		want string
	}{
		"approve": {func() error { return a.p.Approve(t.Context(), d.URL+"/start", a.p.Owners()[1]) }, "code"},
		"deny":    {func() error { return a.p.Deny(t.Context(), d.URL+"/start") }, "error"},
	} {
		if err := c.act(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := <-d.seen
		if cookie, err := r.Cookie("attempt"); err != nil || cookie.Value != "one" || r.URL.Query().Get(c.want) == "" {
			t.Errorf("%s: the callback has %v, %v", name, r.Cookies(), r.URL.Query())
		}
		if _, err := r.Cookie("strict"); err == nil {
			t.Errorf("%s: a cookie with SameSite=Strict has come from another site", name)
		}
	}
	for name, decide := range map[string]func() (string, error){
		"approve": func() (string, error) { return a.p.ApproveCallback(t.Context(), d.URL+"/start") },
		"deny":    func() (string, error) { return a.p.DenyCallback(t.Context(), d.URL+"/start") },
	} {
		if callback, err := decide(); err != nil || !strings.HasPrefix(callback, a.RedirectURL+"?") {
			t.Errorf("%s: %s, %v", name, callback, err)
		}
	}
	select {
	case <-d.seen:
		t.Error("a callback was followed that should be handed back")
	default:
	}
	if err := a.p.Approve(t.Context(), link); err != nil {
		t.Fatal(err)
	}
	if cookie, err := (<-d.seen).Cookie("attempt"); err == nil {
		t.Errorf("another person has %v", cookie)
	}
}

func TestAPersonOpensNothingButTheLoopbackAndTheProvider(t *testing.T) {
	a, d, other := start(t, fdstest.Options{}), startDesktop(t), fdstest.New(t, fdstest.Options{Quiet: true})
	foreign := 0
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { foreign++ }))
	t.Cleanup(elsewhere.Close)
	const neither = "neither this provider's authorization URL nor an http page on the loopback interface"
	for i, c := range []struct{ to, want string }{
		{elsewhere.URL + "/authorize", neither},
		{other.Issuer() + "/authorize", neither},
		{"https://" + strings.TrimPrefix(d.URL, "http://"), neither},
		{"http://localhost/", neither},
		{"http://user@127.0.0.1:1/", neither},
		{"http://fds.example/start", neither},
		{"file:///etc/passwd", neither},
		{"//fds.example/", neither},
		{"http://[::1", "no URL"},
		{"/start", "after 5 redirects"},
		{"", "status 200 and redirects nowhere"},
	} {
		d.leads = func(string) string { return c.to }
		err := a.p.Approve(t.Context(), d.URL+"/start")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v, want %q", i, err, c.want)
		}
		if u, _ := url.Parse(c.to); u != nil && u.IsAbs() {
			if err := a.p.Deny(t.Context(), c.to); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d at once: %v, want %q", i, err, c.want)
			}
		}
	}
	if foreign != 0 || other.Requests(fdstest.AuthorizationEndpoint) != 0 {
		t.Errorf("%d foreign requests", foreign+other.Requests(fdstest.AuthorizationEndpoint))
	}
	d.Close() // now nobody listens: the error must not tell the address, which is a secret
	if err := a.p.Approve(t.Context(), d.URL+"/start?secret"); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "open the application's page") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestTheKnownApplicationsMayHaveARedirectPathForEachIssuer(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	for _, clientID := range []string{p.PublicApplication().ID, p.ConfidentialApplication().ID} {
		for path, allowed := range map[string]bool{"/callback": true, "/callback/x1": true, "/callback/": false, "/callback/x/y": false, "/other/x1": false} {
			for _, host := range []string{"127.0.0.1", "[::1]"} {
				uri := fmt.Sprintf("http://%s:4711%s", host, path)
				callback, err := p.ApproveCallback(t.Context(),
					p.Issuer()+"/authorize?"+authorizationForm(clientID, oauth2.GenerateVerifier(), "redirect_uri", uri).Encode())
				if (err == nil) != allowed || allowed && !strings.HasPrefix(callback, uri+"?code=") {
					t.Errorf("%s at %s: %v", clientID, uri, err)
				}
			}
		}
	}
}
