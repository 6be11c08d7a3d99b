package loopback

import (
	"errors"
	"net/http"
	"slices"
	"testing"
)

func TestTheStartPageLeadsToTheProviderWithACookieForTheRedirectAlone(t *testing.T) {
	s, b := serve(t, t.Context(), listen(t)), newBrowser(t)
	a := b.get(t, s.StartURL(), nil)
	if a.status != http.StatusSeeOther || a.header.Get("Location") != provider || a.body != "" {
		t.Errorf("the start page answers %d to %q with %q", a.status, a.header.Get("Location"), a.body)
	}
	expectHeaders(t, a)
	var paths []string
	for _, c := range a.Cookies() {
		paths = append(paths, c.Path)
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Domain != "" || c.MaxAge < 14*60 || c.MaxAge > 15*60 {
			t.Errorf("the cookie is %q", c.Raw)
		}
	}
	if want := []string{"/callback/of-this-issuer", s.start.path}; !slices.Equal(paths, want) {
		t.Errorf("there are cookies for %q, want %q", paths, want)
	}
}

func TestTheSecretsOfAStartPageAreItsOwnAndOf128Bits(t *testing.T) {
	one, other := newStart("/"), newStart("/")
	for _, s := range [][2]string{{one.path, other.path}, {one.name, other.name}, {one.value, other.value}} {
		if s[0] == s[1] || len(s[0]) < 26 { // of 5 bits each
			t.Errorf("%q and %q", s[0], s[1])
		}
	}
}

func TestTheCookieHasAPathThatABrowserTakes(t *testing.T) {
	for path, want := range map[string]string{"/callback": "/callback", "/r\u00fcckruf": "/r%C3%BCckruf", "/a;b": "/", "/": "/"} {
		if got := newStart(path).redirect; got != want {
			t.Errorf("for %q it has %q, want %q", path, got, want)
		}
	}
}

func TestAttackARedirectFromAnotherBrowserIsRefused(t *testing.T) {
	s, b := serve(t, t.Context(), listen(t)), newBrowser(t)
	right := s.RedirectURI() + "?state=right"
	b.begin(t, s.Listener)
	name, value := s.start.name, s.start.value
	for what, cookie := range map[string]string{
		"no cookie":             "",
		"another's cookie":      "session=" + value,
		"another value":         name + "=" + value[1:] + "A",
		"a part of the value":   name + "=" + value[:20],
		"an empty value":        name + "=",
		"the name as the value": "x=" + name + "=" + value,
	} {
		thief := newBrowser(t)
		a := thief.get(t, right, func(r *http.Request) { r.Header["Cookie"] = []string{cookie} })
		if why := s.turnedAway(); a.status != http.StatusForbidden || !errors.Is(why, ErrNoCookie) {
			t.Errorf("%s: %d %q, told %v", what, a.status, a.body, why)
		}
		s.goesOn(t, what)
	}
	if a := b.get(t, right, nil); a.body != "welcome" {
		t.Errorf("the browser that began gets %d %q", a.status, a.body)
	}
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

func TestAttackASecondOpeningOfTheStartPageEndsTheWait(t *testing.T) {
	s := serve(t, t.Context(), listen(t))
	newBrowser(t).begin(t, s.Listener) // a thief who was faster
	a := newBrowser(t).get(t, s.StartURL(), nil)
	if a.status != http.StatusForbidden || a.header.Get("Location") != "" || len(a.Cookies()) != 0 {
		t.Errorf("the second opening gets %d to %q with %d cookies", a.status, a.header.Get("Location"), len(a.Cookies()))
	}
	if err := s.end(t); !errors.Is(err, ErrOpenedTwice) {
		t.Errorf("Serve gave %v", err)
	}
	if why := s.turnedAway(); !errors.Is(why, ErrOpenedTwice) {
		t.Errorf("told %v", why)
	}
}

func TestTheSameBrowserMayOpenTheStartPageAgain(t *testing.T) {
	s, b := serve(t, t.Context(), listen(t)), newBrowser(t)
	b.begin(t, s.Listener)
	for range 3 {
		if a := b.get(t, s.StartURL(), nil); a.status != http.StatusSeeOther || a.header.Get("Location") != provider || len(a.Cookies()) != 0 {
			t.Errorf("again it answers %d to %q with %d cookies", a.status, a.header.Get("Location"), len(a.Cookies()))
		}
	}
	s.goesOn(t, "a reload")
	if a := b.get(t, s.RedirectURI()+"?state=right", nil); a.body != "welcome" {
		t.Errorf("then the redirect gets %d %q", a.status, a.body)
	}
}

func TestAttackWhatNoPersonOpensDoesNotUseUpTheStartPage(t *testing.T) {
	s := serve(t, t.Context(), listen(t))
	for name, attack := range notNavigations {
		a := newBrowser(t).get(t, s.StartURL(), attack.change)
		if a.status != attack.status || a.header.Get("Location") != "" || len(a.Cookies()) != 0 {
			t.Errorf("%s: %d to %q with %d cookies", name, a.status, a.header.Get("Location"), len(a.Cookies()))
		}
	}
	for _, guess := range []string{s.StartURL()[:len(s.StartURL())-1], s.StartURL() + "A", s.StartURL() + "/"} {
		if a := newBrowser(t).get(t, guess, nil); a.status != http.StatusNotFound {
			t.Errorf("%s answers %d", guess, a.status)
		}
	}
	s.goesOn(t, "nobody")
	newBrowser(t).begin(t, s.Listener)
}
