package fdstest_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
	"golang.org/x/oauth2"
)

const reports = "https://reports.example.com/v1"

func TestTheAudienceFollowsTheResourcesAskedFor(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Resources: []string{reports, "urn:example:archive"}})
	c, api := newRaw(t, p, nil), p.APIURL()
	signIn := func(resources ...string) url.Values {
		t.Helper()
		verifier := oauth2.GenerateVerifier()
		form := authorizationForm("fdsdemo", verifier)
		form["resource"] = resources
		return codeForm(t, p, "fdsdemo", verifier, p.Issuer()+"/authorize?"+form.Encode())
	}
	for _, step := range []struct {
		authorized, asked []string
		audience          any
		api               int
	}{
		{nil, nil, api, http.StatusOK},
		{[]string{api}, []string{api}, api, http.StatusOK},
		{[]string{api, reports}, nil, []any{api, reports}, http.StatusOK},
		{[]string{api, reports}, []string{reports}, reports, http.StatusUnauthorized},
		{[]string{reports}, nil, reports, http.StatusUnauthorized},
		{[]string{api, api}, nil, api, http.StatusOK},
	} {
		form := signIn(step.authorized...)
		form["resource"] = step.asked
		tokens := c.token(form).succeeds(t, "sign-in")
		access := text(tokens, "access_token")
		if got := claimOf(t, access, "aud"); !reflect.DeepEqual(got, step.audience) {
			t.Errorf("%q, then %q: aud is %v", step.authorized, step.asked, got)
		}
		if ans := c.spaces("Authorization", "Bearer "+access); ans.status != step.api {
			t.Errorf("%q, then %q: the API answers %d", step.authorized, step.asked, ans.status)
		}
		if step.authorized == nil {
			continue
		}
		renewed := c.token(clone(renewal("fdsdemo", text(tokens, "refresh_token")), "resource", step.authorized[0])).succeeds(t, "renewal")
		if got := claimOf(t, text(renewed, "access_token"), "aud"); got != step.authorized[0] {
			t.Errorf("renewed for %q: aud is %v", step.authorized[0], got)
		}
	}
}

func TestAnOpaqueTokenForAnotherResourceDoesNotOpenTheAPI(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Resources: []string{reports}, OpaqueTokens: true})
	c := newRaw(t, p, nil)
	for resource, status := range map[string]int{p.APIURL(): http.StatusOK, reports: http.StatusUnauthorized} {
		access := text(c.token(approved(t, p, "fdsdemo", "resource", resource)).succeeds(t, resource), "access_token")
		if ans := c.spaces("Authorization", "Bearer "+access); ans.status != status {
			t.Errorf("%s: the API answers %d", resource, ans.status)
		}
	}
}

func TestAResourceThatIsNotKnownOrNotApprovedIsAnInvalidTarget(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Resources: []string{reports}, PushedRequests: fdstest.Optional, DeviceGrant: true})
	c := newRaw(t, p, nil)
	callback, err := p.ApproveCallback(t.Context(), p.Issuer()+"/authorize?"+authorizationForm("fdsdemo", oauth2.GenerateVerifier(), "resource", p.APIURL()+"/").Encode())
	if u, parseErr := url.Parse(callback); err != nil || parseErr != nil || u.Query().Get("error") != "invalid_target" {
		t.Errorf("authorization: %s, %v", callback, err)
	}
	unknown := url.Values{"client_id": {"fdsdemo"}, "resource": {"https://other.example"}}
	c.post(p.Issuer()+"/device_authorization", unknown).wants(t, "device", 400, "invalid_target", "no tokens for one of the resources")
	c.post(p.Issuer()+"/par", clone(authorizationForm("fdsdemo", oauth2.GenerateVerifier()), "resource", "https://other.example")).wants(t, "pushed", 400, "invalid_target", "no tokens")
	form := approved(t, p, "fdsdemo")
	c.token(clone(form, "resource", "https://other.example")).wants(t, "token", 400, "invalid_target", "no tokens")
	c.token(clone(form, "resource", reports)).wants(t, "not approved", 400, "invalid_target", "not among those that were approved")
	refresh := text(c.token(form).succeeds(t, "a refused request spent the code"), "refresh_token")
	c.token(clone(renewal("fdsdemo", refresh), "resource", reports)).wants(t, "renewal", 400, "invalid_target", "not among")
	c.token(renewal("fdsdemo", refresh)).succeeds(t, "a refused renewal spent the token")
}

func TestWithoutResourcesTheParameterIsIgnored(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	tokens := newRaw(t, p, nil).token(approved(t, p, "fdsdemo", "resource", "https://other.example")).succeeds(t, "sign-in")
	if aud := claimOf(t, text(tokens, "access_token"), "aud"); aud != p.APIURL() {
		t.Errorf("aud is %v", aud)
	}
	for _, resource := range []string{"reports", "https://a.example/#x", "://"} {
		if _, err := fdstest.Start(fdstest.Options{Resources: []string{resource}}); err == nil || !strings.Contains(err.Error(), "RFC 8707") {
			t.Errorf("%q: %v", resource, err)
		}
	}
}
