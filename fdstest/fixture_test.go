package fdstest_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// app is an application as x/oauth2 and net/http make one.
type app struct {
	*oauth2.Config
	t    *testing.T
	p    *fdstest.Provider
	http *http.Client
}

func start(t *testing.T, opts fdstest.Options) *app {
	t.Helper()
	opts.Quiet = true
	p := fdstest.New(t, opts)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &app{
		t: t, p: p,
		http: &http.Client{Transport: transport, Timeout: 20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Config: &oauth2.Config{
			ClientID: "fdsdemo", RedirectURL: "http://127.0.0.1:4711/callback", Scopes: []string{"openid", "offline_access"},
			Endpoint: oauth2.Endpoint{AuthURL: p.Issuer() + "/authorize", TokenURL: p.Issuer() + "/token", AuthStyle: oauth2.AuthStyleInParams},
		},
	}
}

func (a *app) ctx() context.Context {
	return context.WithValue(a.t.Context(), oauth2.HTTPClient, a.http)
}

func (a *app) link(verifier string) string {
	return a.AuthCodeURL("the-state", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "consent"), oauth2.SetAuthURLParam("nonce", "the-nonce"))
}

// callback approves and returns the parameters of the redirect.
func (a *app) callback(verifier string, owners ...fdstest.Owner) url.Values {
	a.t.Helper()
	callback, err := a.p.ApproveCallback(a.t.Context(), a.link(verifier), owners...)
	if err != nil {
		a.t.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		a.t.Fatal(err)
	}
	return u.Query()
}

func (a *app) signIn(owners ...fdstest.Owner) *oauth2.Token {
	a.t.Helper()
	verifier := oauth2.GenerateVerifier()
	token, err := a.Exchange(a.ctx(), a.callback(verifier, owners...).Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// answer is what came of a request.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a *app) do(ctx context.Context, method, target, bearer string, form url.Values) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		a.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.GetBody = nil // an answer that does not come must not be asked for again behind our back
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

func (a *app) get(path, bearer string) answer {
	a.t.Helper()
	return a.do(a.t.Context(), http.MethodGet, a.p.APIURL()+"/fds/v2/"+path, bearer, nil)
}

func (a *app) metadata() answer {
	a.t.Helper()
	return a.do(a.t.Context(), http.MethodGet, a.p.Issuer()+"/.well-known/oauth-authorization-server", "", nil)
}

func (a *app) refresh(refreshToken string) answer {
	a.t.Helper()
	return a.do(a.t.Context(), http.MethodPost, a.p.Issuer()+"/token", "",
		url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "client_id": {"fdsdemo"}})
}

func (ans answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(ans.body), &m); err != nil || ans.err != nil {
		t.Fatalf("no JSON object: %d, %v, %v", ans.status, err, ans.err)
	}
	return m
}

func (ans answer) items(t *testing.T) []map[string]any {
	t.Helper()
	var items []map[string]any
	if err := json.Unmarshal([]byte(ans.body), &items); err != nil || ans.err != nil || ans.status != http.StatusOK {
		t.Fatalf("no list: %d, %v, %v", ans.status, err, ans.err)
	}
	return items
}

func claimOf(t *testing.T, token, name string) any {
	t.Helper()
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims[name]
}

// loopbackApp listens for the redirect as a desktop application does.
func loopbackApp(t *testing.T) (redirectURI string, arrived <-chan url.Values) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan url.Values, 1)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ch <- r.URL.Query()
		_, _ = io.WriteString(w, "signed in")
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return "http://" + l.Addr().String() + "/callback", ch
}

// eventually waits for a condition, ten seconds at most.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func clientOf(t *testing.T, p *fdstest.Provider) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}}
	return &http.Client{Transport: transport}
}

func portOf(t *testing.T, hostPort string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// syncWriter lets several goroutines write to one buffer.
type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}
