package fdsclient_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"
)

// person is a browser on this machine with cookies of its own, for tests that do
// what fdstest's people do not.
type person struct {
	t *testing.T
	http.Client
}

func newPerson(t *testing.T) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t, http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Timeout:       20 * time.Second,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// begin opens a sign-in's start page and returns the provider's URL, to which it
// leads.
func (p *person) begin(start string) (authorizationURL string) {
	p.t.Helper()
	response, err := p.Get(start)
	if err != nil {
		p.t.Error(err)
		return ""
	}
	response.Body.Close()
	if response.StatusCode != http.StatusSeeOther {
		p.t.Errorf("the start page answers %s", response.Status)
	}
	return response.Header.Get("Location")
}

// visit opens an address and returns the page.
func (p *person) visit(address string) (status int, body string) {
	p.t.Helper()
	response, err := p.Get(address)
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// redirectOf returns the redirect URI and the state of an authorization URL.
func redirectOf(t *testing.T, authorizationURL string) (redirect, state string) {
	t.Helper()
	u, err := url.Parse(authorizationURL)
	if err != nil {
		t.Error(err)
		return "", ""
	}
	return u.Query().Get("redirect_uri"), u.Query().Get("state")
}
