package authority

import (
	"crypto"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"
)

// FuzzALoopbackRedirectStaysOnThisMachine looks for a redirect URI that is
// allowed and that a browser would take elsewhere.
func FuzzALoopbackRedirectStaysOnThisMachine(f *testing.F) {
	c := Client{ID: "desktop", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback", "http://127.0.0.1/callback/*", "http://[::1]/callback/*"}}
	for _, seed := range []string{"http://127.0.0.1:1/callback", "http://[::1]:65535/callback", "http://127.0.0.1:80@evil.example/callback",
		"http://127.0.0.1:80\\@evil.example/callback", "http://127.0.0.1:1/callback\n", "http://127.0.0.1:٣/callback", "http://[::1]:1/callback/a", "http://127.0.0.1:1/callback/..", "http://127.0.0.1:1/callback/*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !c.allowsRedirect(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "http" || u.User != nil || u.EscapedPath() != u.Path || path.Clean(u.Path) != u.Path ||
			u.Path != "/callback" && (path.Dir(u.Path) != "/callback" || strings.Contains(u.Path, "*")) || u.RawQuery != "" || u.Fragment != "" ||
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

// FuzzOnlySignedAssertionsProveAClient changes assertions and looks for one that
// passes.
func FuzzOnlySignedAssertionsProveAClient(f *testing.F) {
	key, err := newSigningKey()
	if err != nil {
		f.Fatal(err)
	}
	const issuer = "https://127.0.0.1:1"
	client := Client{
		ID: "fleet", Method: MethodPrivateKeyJWT, Keys: map[string]crypto.PublicKey{"": key.private.Public()},
		RedirectURIs: []string{"http://127.0.0.1/callback"},
	}
	good, err := key.sign("JWT", map[string]any{"iss": "fleet", "sub": "fleet", "aud": issuer, "exp": time.Now().Add(4 * time.Minute).Unix(), "jti": "1"})
	if err != nil {
		f.Fatal(err)
	}
	authenticates := func(t testing.TB, assertion string) bool {
		s, err := New(Config{Issuer: issuer, Audience: audience, AuthMethods: []string{MethodPrivateKeyJWT}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddClient(client); err != nil {
			t.Fatal(err)
		}
		form := parameters{values: map[string]string{"client_assertion_type": assertionType, "client_assertion": assertion}}
		_, failure := s.authenticate(httptest.NewRequest(http.MethodPost, TokenPath, nil), form)
		return failure == nil
	}
	if !authenticates(f, good) {
		f.Fatal("the assertion itself is refused")
	}
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add("eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".")
	f.Fuzz(func(t *testing.T, assertion string) {
		if assertion != good && authenticates(t, assertion) {
			t.Errorf("%q is accepted", assertion)
		}
	})
}
