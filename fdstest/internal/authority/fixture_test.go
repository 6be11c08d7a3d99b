package authority

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	north    = "6f1b7c52-7d0e-4a35-9a51-0c8d3f5b2e11"
	harbour  = "0D3E9A4C-5B21-4F7A-8C66-91E2B7D40A55" // spelt in upper case
	audience = "https://api.example.com"
	callback = "http://127.0.0.1:4711/callback"
)

// setup is a running server and a browser for it.
type setup struct {
	*Server
	t       *testing.T
	issuer  string
	browser *http.Client
}

func start(t *testing.T, change func(*Config)) *setup {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	cfg := Config{Issuer: "https://" + web.Listener.Addr().String(), Audience: audience}
	if change != nil {
		change(&cfg)
	}
	server, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = server
	web.StartTLS()
	t.Cleanup(web.Close)
	for _, o := range []Owner{{"Northside Hospital", north}, {"Harbour <b>&\"Co", harbour}} {
		if err := server.AddOwner(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []Client{
		{ID: "desktop", Name: "Desk <i>top", RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}},
		{ID: "segments", RedirectURIs: []string{"http://127.0.0.1/callback/*", "http://[::1]/*"}},
		{ID: "fleet app", Secret: "s3cret: with % and +", RedirectURIs: []string{"https://fleet.example.com/cb?tenant=1"}},
	} {
		if err := server.AddClient(c); err != nil {
			t.Fatal(err)
		}
	}
	jar, _ := cookiejar.New(nil)
	browser := web.Client()
	browser.Jar = jar
	browser.Timeout = 20 * time.Second
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &setup{Server: server, t: t, issuer: cfg.Issuer, browser: browser}
}

func (s *setup) ctx() context.Context {
	return context.WithValue(s.t.Context(), oauth2.HTTPClient, s.browser)
}

// app is the application's side, as golang.org/x/oauth2 plays it.
func (s *setup) app() *oauth2.Config {
	return &oauth2.Config{
		ClientID:    "desktop",
		RedirectURL: callback,
		Scopes:      []string{"openid", "offline_access"},
		Endpoint:    oauth2.Endpoint{AuthURL: s.issuer + AuthorizationPath, TokenURL: s.issuer + TokenPath, AuthStyle: oauth2.AuthStyleInParams},
	}
}

func consentPrompt() oauth2.AuthCodeOption { return oauth2.SetAuthURLParam("prompt", "consent") }

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *setup) do(req *http.Request) answer {
	s.t.Helper()
	resp, err := s.browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (s *setup) get(target string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(req)
}

func (s *setup) post(path string, form url.Values) answer {
	s.t.Helper()
	return s.do(s.postRequest(path, form.Encode()))
}

func (s *setup) postRequest(path, body string) *http.Request {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.issuer+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

func (s *setup) tokenOf(page answer) string {
	s.t.Helper()
	m := formToken.FindStringSubmatch(page.body)
	if page.status != http.StatusOK || m == nil {
		s.t.Fatalf("no consent page: %d %s", page.status, page.body)
	}
	return html.UnescapeString(m[1])
}

// decide opens authURL, decides and returns the parameters of the redirect.
func (s *setup) decide(authURL, decision string, owners ...string) url.Values {
	s.t.Helper()
	token := s.tokenOf(s.get(authURL))
	return s.redirectOf(s.post(ConsentPath, url.Values{"token": {token}, "decision": {decision}, "owner": owners}))
}

func (s *setup) redirectOf(a answer) url.Values {
	s.t.Helper()
	location, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther {
		s.t.Fatalf("no redirect: %d %v %s", a.status, err, a.body)
	}
	return location.Query()
}

// signIn goes the whole way for the desktop application.
func (s *setup) signIn(owners ...string) *oauth2.Token {
	s.t.Helper()
	verifier := oauth2.GenerateVerifier()
	q := s.decide(s.app().AuthCodeURL("st", oauth2.S256ChallengeOption(verifier), consentPrompt(), oauth2.SetAuthURLParam("nonce", "n-0")), "approve", owners...)
	token, err := s.app().Exchange(s.ctx(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

func (s *setup) refresh(refreshToken string) answer {
	s.t.Helper()
	return s.post(TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "client_id": {"desktop"}})
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	return m
}

// wantError demands an error answer of RFC 6749 section 5.2.
func (a answer) wantError(t *testing.T, status int, code string) {
	t.Helper()
	if got := a.json(t)["error"]; a.status != status || got != code {
		t.Errorf("answer is %d %v, want %d %s (%s)", a.status, got, status, code, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("an error answer may be cached")
	}
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// claimsOf reads a token's claims without checking it.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
