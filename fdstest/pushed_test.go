package fdstest_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"golang.org/x/oauth2"
)

// push sends an authorization request ahead and returns its request_uri.
func (c raw) push(form url.Values, headers ...string) string {
	c.t.Helper()
	ans := c.post(c.p.Issuer()+"/par", form, headers...)
	if ans.status != http.StatusCreated {
		c.t.Fatalf("%d %s", ans.status, ans.body)
	}
	return text(ans.json(c.t), "request_uri")
}

func pushedURL(p *fdstest.Provider, clientID, requestURI string) string {
	return p.Issuer() + "/authorize?" + url.Values{"client_id": {clientID}, "request_uri": {requestURI}}.Encode()
}

// refusedPage opens an authorization URL that must end on a page, not at the
// application.
func refusedPage(t *testing.T, p *fdstest.Provider, authorizationURL, cause string) {
	t.Helper()
	if callback, err := p.ApproveCallback(t.Context(), authorizationURL); err == nil || !strings.Contains(err.Error(), cause) {
		t.Errorf("%q, %v, want %q", callback, err, cause)
	}
}

func TestAPushedRequestServesOnce(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, PushedRequests: fdstest.Optional})
	c, verifier := newRaw(t, p, nil), oauth2.GenerateVerifier()
	ans := c.post(p.Issuer()+"/par", authorizationForm("fdsdemo", verifier))
	m := ans.json(t)
	uri := text(m, "request_uri")
	if ans.status != http.StatusCreated || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || m["expires_in"] != 60.0 {
		t.Fatalf("%d %v", ans.status, m)
	}
	refusedPage(t, p, pushedURL(p, "fleet-app", uri), "another application's")
	refusedPage(t, p, p.Issuer()+"/authorize?request_uri="+url.QueryEscape(uri), "client_id")
	// What comes along in the front channel counts for nothing.
	changed := pushedURL(p, "fdsdemo", uri) + "&redirect_uri=https%3A%2F%2Fevil.example&scope=openid&state=other"
	c.token(codeForm(t, p, "fdsdemo", verifier, changed)).succeeds(t, "sign-in")
	refusedPage(t, p, pushedURL(p, "fdsdemo", uri), "used before")
	refusedPage(t, p, pushedURL(p, "fdsdemo", "urn:ietf:params:oauth:request_uri:unknown"), "unknown or has expired")
	refusedPage(t, p, pushedURL(p, "fdsdemo", "https://evil.example/request"), "not one of this server's")
	if !slices.Contains(p.Secrets(), uri) {
		t.Error("Secrets does not list the request_uri")
	}
}

func TestAPushedRequestExpires(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, PushedRequests: fdstest.Optional, PushedRequestLifetime: time.Millisecond})
	uri := newRaw(t, p, nil).push(authorizationForm("fdsdemo", oauth2.GenerateVerifier()))
	time.Sleep(time.Millisecond) // its lifetime, after its answer
	refusedPage(t, p, pushedURL(p, "fdsdemo", uri), "expired")
}

func TestAPushedRequestIsCheckedAndItsClientAuthenticated(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, PushedRequests: fdstest.Optional})
	c, fleet := newRaw(t, p, nil), p.ConfidentialApplication()
	form := authorizationForm("fleet-app", oauth2.GenerateVerifier())
	par := p.Issuer() + "/par"
	for what, refused := range map[string]struct {
		form        url.Values
		status      int
		code, cause string
	}{
		"no secret":            {form, 401, "invalid_client", "secret"},
		"a wrong secret":       {clone(form, "client_secret", "wrong-wrong"), 401, "invalid_client", "secret"},
		"a request_uri":        {clone(form, "client_secret", fleet.Secret, "request_uri", "urn:x"), 400, "invalid_request", "request_uri"},
		"another redirect URI": {clone(form, "client_secret", fleet.Secret, "redirect_uri", "https://evil.example"), 400, "invalid_request", "redirect_uri"},
		"PKCE by plain":        {clone(form, "client_secret", fleet.Secret, "code_challenge_method", "plain"), 400, "invalid_request", "S256"},
		"no PKCE":              {clone(form, "client_secret", fleet.Secret, "code_challenge", ""), 400, "invalid_request", "PKCE"},
		"another type":         {clone(form, "client_secret", fleet.Secret, "response_type", "token"), 400, "unsupported_response_type", "code"},
	} {
		c.post(par, refused.form).wants(t, what, refused.status, refused.code, refused.cause)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("fleet-app:"+fleet.Secret))
	c.post(par, clone(form, "client_id", "fdsdemo"), "Authorization", basic).wants(t, "another application's", 400, "invalid_request", "client_id differs")
	c.post(par, clone(form, "client_id", ""), "Authorization", basic).wants(t, "no client_id", 400, "invalid_request", "did not send client_id")
	c.push(form, "Authorization", basic)
	c.push(clone(form, "client_secret", fleet.Secret))
	if ans := c.send(http.MethodGet, par, nil); ans.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", ans.status)
	}
}

func TestPushingIsDemandedOfAnApplicationOrOfAll(t *testing.T) {
	unpushed := func(p *fdstest.Provider, clientID string) url.Values {
		t.Helper()
		callback, err := p.ApproveCallback(t.Context(), p.Issuer()+"/authorize?"+authorizationForm(clientID, oauth2.GenerateVerifier()).Encode())
		u, parseErr := url.Parse(callback)
		if err != nil || parseErr != nil {
			t.Fatal(err, parseErr)
		}
		return u.Query()
	}
	p := fdstest.New(t, fdstest.Options{Quiet: true, PushedRequests: fdstest.Optional})
	addClient(t, p, fdstest.Application{ID: "held", PushedRequests: true})
	if q := unpushed(p, "held"); q.Get("error") != "invalid_request" || q.Get("state") != "st" || !strings.Contains(q.Get("error_description"), "pushed") {
		t.Errorf("this application: %v", q)
	}
	if q := unpushed(p, "fdsdemo"); q.Get("code") == "" {
		t.Errorf("another application: %v", q)
	}
	verifier := oauth2.GenerateVerifier()
	c := newRaw(t, p, nil)
	c.token(codeForm(t, p, "held", verifier, pushedURL(p, "held", c.push(authorizationForm("held", verifier))))).succeeds(t, "pushed")

	required := fdstest.New(t, fdstest.Options{Quiet: true, PushedRequests: fdstest.Required})
	if q := unpushed(required, "fdsdemo"); q.Get("error") != "invalid_request" {
		t.Errorf("all: %v", q)
	}
	for provider, want := range map[*fdstest.Provider]any{p: false, required: true, fdstest.New(t, fdstest.Options{Quiet: true}): nil} {
		m := metadataOf(t, provider)
		if _, has := m["pushed_authorization_request_endpoint"]; m["require_pushed_authorization_requests"] != want || has != (want != nil) {
			t.Errorf("metadata: %v", m)
		}
	}
}

func TestAPushedProofBindsTheCode(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, PushedRequests: fdstest.Optional, DPoP: fdstest.Optional})
	c, key, verifier, par := newRaw(t, p, nil), newKey(t), oauth2.GenerateVerifier(), p.Issuer()+"/par"
	request := authorizationForm("fdsdemo", verifier)
	c.post(par, clone(request, "dpop_jkt", thumbprint(t, newKey(t))), "DPoP", proof(t, key, "POST", par, "")).wants(t, "two keys", 400, "invalid_request", "dpop_jkt")
	c.post(par, request, "DPoP", proof(t, key, "POST", p.Issuer()+"/token", "")).wants(t, "a proof for elsewhere", 400, "invalid_dpop_proof", "htu")
	form := codeForm(t, p, "fdsdemo", verifier, pushedURL(p, "fdsdemo", c.push(request, "DPoP", proof(t, key, "POST", par, ""))))
	c.token(form).wants(t, "no proof", 400, "invalid_grant", "dpop_jkt")
	c.token(form, "DPoP", proof(t, key, "POST", p.Issuer()+"/token", "")).succeeds(t, "its key")
}
