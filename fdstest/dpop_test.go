package fdstest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestADPoPTokenOpensTheAPIOnlyWithAProofOfItsKey(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Optional})
	c, key, endpoint, spaces := newRaw(t, p, nil), newKey(t), p.Issuer()+"/token", p.APIURL()+"/fds/v2/spaces"
	tokens := c.token(approved(t, p, "fdsdemo"), "DPoP", proof(t, key, "POST", endpoint, "")).succeeds(t, "sign-in")
	access := text(tokens, "access_token")
	cnf, _ := claimOf(t, access, "cnf").(map[string]any)
	if tokens["token_type"] != "DPoP" || cnf["jkt"] != thumbprint(t, key) {
		t.Errorf("token_type %v, cnf %v", tokens["token_type"], cnf)
	}
	good := proof(t, key, "GET", spaces, access)
	if ans := c.spaces("Authorization", "DPoP "+access, "DPoP", good); ans.status != http.StatusOK {
		t.Errorf("the right proof: %d %q", ans.status, ans.header)
	}
	bearer := text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "without DPoP"), "access_token")
	if ans := c.spaces("Authorization", "Bearer "+bearer); ans.status != http.StatusOK {
		t.Errorf("a bearer token: %d", ans.status)
	}
	for what, request := range map[string]struct {
		headers []string
		want    string
	}{
		"as a bearer token":     {[]string{"Authorization", "Bearer " + access}, `Bearer realm="fds", error="invalid_token", error_description="the access token is bound by DPoP`},
		"the proof again":       {[]string{"Authorization", "DPoP " + access, "DPoP", good}, `error="invalid_dpop_proof", error_description="the proof's jti does not serve`},
		"no proof":              {[]string{"Authorization", "DPoP " + access}, "0 DPoP headers"},
		"two proofs":            {[]string{"Authorization", "DPoP " + access, "DPoP", proof(t, key, "GET", spaces, access), "DPoP", proof(t, key, "GET", spaces, access)}, "2 DPoP headers"},
		"another key":           {[]string{"Authorization", "DPoP " + access, "DPoP", proof(t, newKey(t), "GET", spaces, access)}, "bound to another key"},
		"another method":        {[]string{"Authorization", "DPoP " + access, "DPoP", proof(t, key, "POST", spaces, access)}, "htm"},
		"another path":          {[]string{"Authorization", "DPoP " + access, "DPoP", proof(t, key, "GET", p.APIURL()+"/fds/v2/", access)}, "htu"},
		"no ath":                {[]string{"Authorization", "DPoP " + access, "DPoP", proof(t, key, "GET", spaces, "")}, "no ath"},
		"another token's ath":   {[]string{"Authorization", "DPoP " + access, "DPoP", proof(t, key, "GET", spaces, bearer)}, "another access token"},
		"a bearer with a proof": {[]string{"Authorization", "DPoP " + bearer, "DPoP", proof(t, key, "GET", spaces, bearer)}, "is a bearer token"},
	} {
		ans := c.spaces(request.headers...)
		challenges := ans.header.Values("WWW-Authenticate")
		if ans.status != http.StatusUnauthorized || !strings.Contains(strings.Join(challenges, "\n"), request.want) ||
			!slices.ContainsFunc(challenges, func(s string) bool { return strings.HasPrefix(s, `DPoP realm="fds", algs="ES256 PS256 RS256"`) }) {
			t.Errorf("%s: %d %q, want %q", what, ans.status, challenges, request.want)
		}
	}
	if !slices.Contains(p.Secrets(), good) {
		t.Error("Secrets does not list the proof")
	}
	if m := metadataOf(t, p); !slices.Equal(m["dpop_signing_alg_values_supported"].([]any), []any{"ES256", "PS256", "RS256"}) {
		t.Errorf("metadata: %v", m)
	}
}

func TestAPublicApplicationsRefreshTokenIsBoundToItsKey(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Optional})
	c, key, endpoint := newRaw(t, p, nil), newKey(t), p.Issuer()+"/token"
	refresh := text(c.token(approved(t, p, "fdsdemo"), "DPoP", proof(t, key, "POST", endpoint, "")).succeeds(t, "sign-in"), "refresh_token")
	c.token(renewal("fdsdemo", refresh)).wants(t, "no proof", 400, "invalid_grant", "bound to a key")
	c.token(renewal("fdsdemo", refresh), "DPoP", proof(t, newKey(t), "POST", endpoint, "")).wants(t, "another key", 400, "invalid_grant", "bound to a key")
	tokens := c.token(renewal("fdsdemo", refresh), "DPoP", proof(t, key, "POST", endpoint, "")).succeeds(t, "a refused renewal spent the token")
	c.token(renewal("fdsdemo", text(tokens, "refresh_token"))).wants(t, "the next, without proof", 400, "invalid_grant", "bound to a key")

	fleet := p.ConfidentialApplication()
	form := approved(t, p, "fleet-app")
	form.Set("client_secret", fleet.Secret)
	refresh = text(c.token(form, "DPoP", proof(t, key, "POST", endpoint, "")).succeeds(t, "a confidential application"), "refresh_token")
	other := newKey(t)
	tokens = c.token(clone(renewal("fleet-app", refresh), "client_secret", fleet.Secret), "DPoP", proof(t, other, "POST", endpoint, "")).succeeds(t, "its renewal with another key")
	if cnf, _ := claimOf(t, text(tokens, "access_token"), "cnf").(map[string]any); cnf["jkt"] != thumbprint(t, other) {
		t.Errorf("cnf is %v", cnf)
	}
}

func TestProofsAreDemandedOfAnApplicationOrOfAll(t *testing.T) {
	const missing = "the request has no DPoP header"
	p := fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Optional})
	addClient(t, p, fdstest.Application{ID: "held", DPoP: true})
	c := newRaw(t, p, nil)
	form := approved(t, p, "held")
	c.token(form).wants(t, "this application", 400, "invalid_dpop_proof", missing)
	c.token(form, "DPoP", proof(t, newKey(t), "POST", p.Issuer()+"/token", "")).succeeds(t, "a refused request spent the code")
	c.token(approved(t, p, "fdsdemo")).succeeds(t, "another application")
	if _, err := p.IssueTokens("held", p.Owners()[0]); err == nil {
		t.Error("tokens without a key were issued to it")
	}

	p = fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Required})
	newRaw(t, p, nil).token(approved(t, p, "fdsdemo")).wants(t, "all", 400, "invalid_dpop_proof", missing)

	p = fdstest.New(t, fdstest.Options{Quiet: true})
	tokens := newRaw(t, p, nil).token(approved(t, p, "fdsdemo"), "DPoP", proof(t, newKey(t), "POST", p.Issuer()+"/token", "")).succeeds(t, "a provider without DPoP")
	if tokens["token_type"] != "Bearer" {
		t.Errorf("token_type %v", tokens["token_type"])
	}
}

func TestNoncesAreDemandedWhereAskedAndRotate(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Optional, DPoPNonces: []fdstest.Endpoint{fdstest.TokenEndpoint, fdstest.APIEndpoint}})
	c, key, endpoint, spaces := newRaw(t, p, nil), newKey(t), p.Issuer()+"/token", p.APIURL()+"/fds/v2/spaces"
	form := approved(t, p, "fdsdemo")
	without := c.token(form, "DPoP", proof(t, key, "POST", endpoint, ""))
	without.wants(t, "no nonce", 400, "use_dpop_nonce", "DPoP-Nonce header")
	nonce := without.header.Get("DPoP-Nonce")
	signedIn := c.token(form, "DPoP", proof(t, key, "POST", endpoint, "", "nonce", nonce))
	tokens := signedIn.succeeds(t, "with the nonce")
	access, refresh := text(tokens, "access_token"), text(tokens, "refresh_token")
	if signedIn.header.Get("DPoP-Nonce") == "" {
		t.Error("a good answer has no nonce")
	}

	read := func(nonce string) answer {
		return c.spaces("Authorization", "DPoP "+access, "DPoP", proof(t, key, "GET", spaces, access, "nonce", nonce))
	}
	refused := read(nonce) // the token endpoint's
	apiNonce := refused.header.Get("DPoP-Nonce")
	if refused.status != http.StatusUnauthorized || apiNonce == "" || apiNonce == nonce ||
		!strings.Contains(strings.Join(refused.header.Values("WWW-Authenticate"), " "), `error="use_dpop_nonce"`) {
		t.Errorf("%d %q", refused.status, refused.header)
	}
	if ans := read(apiNonce); ans.status != http.StatusOK || ans.header.Get("DPoP-Nonce") != apiNonce {
		t.Errorf("with the API's nonce: %d %q", ans.status, ans.header)
	}

	p.RotateDPoPNonces()
	ans := read(apiNonce)
	if next := ans.header.Get("DPoP-Nonce"); ans.status != http.StatusUnauthorized || next == apiNonce || read(next).status != http.StatusOK {
		t.Errorf("after rotation: %d %q", ans.status, ans.header)
	}
	c.token(renewal("fdsdemo", refresh), "DPoP", proof(t, key, "POST", endpoint, "", "nonce", nonce)).wants(t, "a nonce of yesterday", 400, "use_dpop_nonce", "no longer")

	p = fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Optional, DPoPNonces: []fdstest.Endpoint{fdstest.APIEndpoint}})
	c, endpoint, spaces = newRaw(t, p, nil), p.Issuer()+"/token", p.APIURL()+"/fds/v2/spaces"
	signedIn = c.token(approved(t, p, "fdsdemo"), "DPoP", proof(t, key, "POST", endpoint, ""))
	access = text(signedIn.succeeds(t, "a nonce at the API only"), "access_token")
	if ans := read("any"); signedIn.header.Get("DPoP-Nonce") != "" || ans.status != http.StatusUnauthorized {
		t.Errorf("%q, %d", signedIn.header.Get("DPoP-Nonce"), ans.status)
	}
}

func TestACodeIsBoundToTheKeyOfItsRequest(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DPoP: fdstest.Optional})
	c, key, endpoint := newRaw(t, p, nil), newKey(t), p.Issuer()+"/token"
	form := approved(t, p, "fdsdemo", "dpop_jkt", thumbprint(t, key))
	c.token(form).wants(t, "no proof", 400, "invalid_grant", "dpop_jkt")
	c.token(form, "DPoP", proof(t, newKey(t), "POST", endpoint, "")).wants(t, "another key", 400, "invalid_grant", "dpop_jkt")
	c.token(form, "DPoP", proof(t, key, "POST", endpoint, "")).succeeds(t, "its key")
}
