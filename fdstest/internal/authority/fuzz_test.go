package authority

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzALoopbackRedirectStaysOnThisMachine looks for a redirect URI that is
// allowed and that a browser would take elsewhere.
func FuzzALoopbackRedirectStaysOnThisMachine(f *testing.F) {
	c := Client{ID: "desktop", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}}
	for _, seed := range []string{"http://127.0.0.1:1/callback", "http://[::1]:65535/callback", "http://127.0.0.1:80@evil.example/callback",
		"http://127.0.0.1:80\\@evil.example/callback", "http://127.0.0.1:1/callback\n", "http://127.0.0.1:٣/callback"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !c.allowsRedirect(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "http" || u.User != nil || u.Path != "/callback" || u.RawQuery != "" || u.Fragment != "" ||
			u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" || strings.ContainsAny(uri, "\\\r\n\t ") {
			t.Errorf("%q is allowed", uri)
		}
	})
}

// FuzzVerifyAcceptsNothingElse changes tokens and looks for one that passes.
func FuzzVerifyAcceptsNothingElse(f *testing.F) {
	s, err := New(Config{Issuer: "https://127.0.0.1:1", Audience: audience})
	if err != nil {
		f.Fatal(err)
	}
	g := &grant{clientID: "desktop", owners: []string{north}, approved: time.Now()}
	answer, failure := s.issue(issuance{grantType: GrantAuthorizationCode, grant: g, audience: []string{audience}}, time.Now())
	if failure != nil {
		f.Fatal(failure.description)
	}
	good, _ := answer["access_token"].(string)
	if _, _, ok := s.Verify(good); !ok {
		f.Fatal("the token itself is refused")
	}
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, bearer string) {
		if _, _, ok := s.Verify(bearer); ok && bearer != good {
			t.Errorf("%q is accepted", bearer)
		}
	})
}
