package fdstest_test

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAWeakWebAPIAnswersAsWhomItIsToldTo(t *testing.T) {
	a := start(t, fdstest.Options{Devices: 3})
	off := a.p.Inject(fdstest.LooseAuthorization(func(r *http.Request) []fdstest.Owner {
		if r.URL.Query().Get("access_token") != "any" {
			return nil
		}
		r.URL.RawQuery = ""
		return a.p.Owners()[:1]
	}))
	if got := a.get("specifications?access_token=any", ""); got.status != http.StatusOK || len(got.items(t)) != 3 {
		t.Errorf("%d, %.100s", got.status, got.body)
	}
	if got := a.get("specifications", ""); got.status != http.StatusUnauthorized {
		t.Errorf("what is not decided on is answered %d", got.status)
	}
	off()
	if got := a.get("specifications?access_token=any", ""); got.status != http.StatusUnauthorized {
		t.Errorf("afterwards it answers %d", got.status)
	}
}

func TestAServerSpeaksTLSAsItIsTold(t *testing.T) {
	a := start(t, fdstest.Options{})
	old := func(address string) error {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(address, "https://"), &tls.Config{RootCAs: a.p.RootCAs(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	off := a.p.Inject(fdstest.ServerTLS(fdstest.APIPath("spaces"), func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }))
	if err := old(a.p.APIURL()); err != nil {
		t.Errorf("the Web API: %v", err)
	}
	if old(a.p.Issuer()) == nil {
		t.Error("the authorization server speaks TLS 1.0 too")
	}
	if got := a.get("specifications", a.signIn().AccessToken); got.status != http.StatusOK {
		t.Errorf("over TLS of today it answers %d, %v", got.status, got.err)
	}
	off()
	if old(a.p.APIURL()) == nil {
		t.Error("afterwards the Web API speaks TLS 1.0")
	}
}

func TestAServerSpeaksPlainHTTPToo(t *testing.T) {
	a := start(t, fdstest.Options{Devices: 3})
	plain := func(path string) int {
		response, err := new(http.Client).Get(strings.Replace(a.p.APIURL(), "https://", "http://", 1) + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	if got := plain("/fds/v2/specifications"); got != http.StatusBadRequest {
		t.Errorf("a sound server answers %d", got)
	}
	off := a.p.Inject(fdstest.PlainHTTP(fdstest.APIEndpoint))
	if got := plain("/fds/v2/specifications"); got != http.StatusUnauthorized {
		t.Errorf("it answers %d", got)
	}
	if got := a.get("specifications", a.signIn().AccessToken); got.status != http.StatusOK {
		t.Errorf("over https it answers %d, %v", got.status, got.err)
	}
	off()
	if got := plain("/fds/v2/specifications"); got != http.StatusBadRequest {
		t.Errorf("afterwards it answers %d", got)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestAWeakAuthorizationServerLeavesOutWhatItMustDemand(t *testing.T) {
	a := start(t, fdstest.Options{})
	confidential := a.p.ConfidentialApplication()
	wrong := func() int {
		return a.do(t.Context(), http.MethodPost, a.p.Issuer()+"/token", "", url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {"none"}, "client_id": {confidential.ID}, "client_secret": {"wrong"},
		}).status
	}
	if got := wrong(); got != http.StatusUnauthorized {
		t.Errorf("a wrong secret is answered %d", got)
	}
	off := a.p.Inject(fdstest.AnyCredentials())
	if got := wrong(); got != http.StatusBadRequest {
		t.Errorf("with AnyCredentials a wrong secret is answered %d", got)
	}
	off()

	bare := a.AuthCodeURL("s", oauth2.SetAuthURLParam("prompt", "consent"))
	off = a.p.Inject(fdstest.WithoutPKCE())
	callback, err := a.p.ApproveCallback(t.Context(), bare)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(callback)
	if _, err := a.Exchange(a.ctx(), u.Query().Get("code")); err != nil {
		t.Errorf("with WithoutPKCE: %v", err)
	}
	verifier := oauth2.GenerateVerifier()
	if _, err := a.Exchange(a.ctx(), a.callback(verifier).Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Error("with WithoutPKCE a wrong code_verifier is taken")
	}
	off()

	off = a.p.Inject(fdstest.AnyRedirectURI())
	elsewhere := *a.Config
	elsewhere.RedirectURL = "https://elsewhere.example/x"
	if callback, err := a.p.ApproveCallback(t.Context(), elsewhere.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier))); err != nil || !strings.HasPrefix(callback, elsewhere.RedirectURL+"?") {
		t.Errorf("with AnyRedirectURI: %v", err)
	}
	off()

	a.p.Inject(fdstest.CodesServeTwice())
	code := a.callback(verifier).Get("code")
	for range 2 {
		if _, err := a.Exchange(a.ctx(), code, oauth2.VerifierOption(verifier)); err != nil {
			t.Errorf("with CodesServeTwice: %v", err)
		}
	}

	a.p.Inject(fdstest.SpentRefreshTokensServe())
	first := a.signIn().RefreshToken
	for range 3 {
		if got := a.refresh(first); got.status != http.StatusOK || got.json(t)["refresh_token"] == first {
			t.Errorf("with SpentRefreshTokensServe: %d, %.100s", got.status, got.body)
		}
	}
}
