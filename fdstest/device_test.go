package fdstest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

func (c raw) beginDevice(form url.Values) map[string]any {
	c.t.Helper()
	return c.post(c.p.Issuer()+"/device_authorization", form).succeeds(c.t, "device authorization")
}

func poll(clientID, deviceCode string) url.Values {
	return url.Values{"grant_type": {deviceGrant}, "device_code": {deviceCode}, "client_id": {clientID}}
}

var deviceRequest = url.Values{"client_id": {"fdsdemo"}, "scope": {"openid offline_access"}}

func TestADeviceGetsItsTokensOnceAPersonHasEnteredItsCode(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DeviceGrant: true, DeviceInterval: time.Millisecond})
	c := newRaw(t, p, nil)
	begun := c.beginDevice(deviceRequest)
	code, shown := text(begun, "device_code"), text(begun, "user_code")
	if !regexp.MustCompile(`^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$`).MatchString(shown) ||
		text(begun, "verification_uri") != p.Issuer()+"/device" || text(begun, "verification_uri_complete") != p.Issuer()+"/device?user_code="+shown ||
		begun["expires_in"] != 600.0 || begun["interval"] != 1.0 {
		t.Errorf("%v", begun)
	}
	c.token(poll("fdsdemo", code)).wants(t, "before the decision", 400, "authorization_pending", "not decided")
	owner := p.Owners()[1]
	if err := p.ApproveDevice(t.Context(), strings.ToLower(strings.ReplaceAll(shown, "-", "")), owner); err != nil {
		t.Fatal(err)
	}
	var tokens map[string]any
	eventually(t, "the device has its tokens", func() bool {
		ans := c.token(poll("fdsdemo", code))
		if ans.status == http.StatusOK {
			tokens = ans.json(t)
		}
		return tokens != nil
	})
	if claimOf(t, text(tokens, "access_token"), "subscription_id") != owner.Spelling || claimOf(t, text(tokens, "id_token"), "sub") != "person" {
		t.Errorf("%v", tokens)
	}
	c.token(renewal("fdsdemo", text(tokens, "refresh_token"))).succeeds(t, "renewal")
	for _, secret := range []string{code, shown, strings.ReplaceAll(shown, "-", "")} {
		if !slices.Contains(p.Secrets(), secret) {
			t.Error("Secrets lacks a code")
		}
	}
	if m := metadataOf(t, p); m["device_authorization_endpoint"] != p.Issuer()+"/device_authorization" || !slices.Contains(m["grant_types_supported"].([]any), any(deviceGrant)) {
		t.Errorf("metadata: %v", m)
	}
	if err := p.ApproveDevice(t.Context(), shown); err == nil || !strings.Contains(err.Error(), "No device waits") {
		t.Errorf("the code again: %v", err)
	}
}

func TestAPersonCanDenyADevice(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DeviceGrant: true})
	c := newRaw(t, p, nil)
	begun := c.beginDevice(deviceRequest)
	if err := p.DenyDevice(t.Context(), text(begun, "user_code")); err != nil {
		t.Fatal(err)
	}
	c.token(poll("fdsdemo", text(begun, "device_code"))).wants(t, "denied", 400, "access_denied", "did not approve")
	if err := p.ApproveDevice(t.Context(), "BBBB-BBBB"); err == nil || !strings.Contains(err.Error(), "No device waits") {
		t.Errorf("an unknown code: %v", err)
	}
	if err := p.ApproveDevice(t.Context(), text(c.beginDevice(deviceRequest), "user_code"), fdstest.Owner{Spelling: "x"}); err == nil || !strings.Contains(err.Error(), "does not offer") {
		t.Errorf("an unknown owner: %v", err)
	}
	plain := fdstest.New(t, fdstest.Options{Quiet: true})
	if err := plain.ApproveDevice(t.Context(), "BBBB-BBBB"); err == nil || !strings.Contains(err.Error(), "Options.DeviceGrant") {
		t.Errorf("a provider without the grant: %v", err)
	}
	newRaw(t, plain, nil).token(poll("fdsdemo", "x")).wants(t, "a provider without the grant", 400, "unsupported_grant_type", "authorization_code")
}

func TestTheVerificationPageFillsInTheCodeOfItsURLAndRunsNothing(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DeviceGrant: true})
	c := newRaw(t, p, nil)
	begun := c.beginDevice(deviceRequest)
	page := c.send(http.MethodGet, text(begun, "verification_uri_complete"), nil)
	if page.status != http.StatusOK || !strings.Contains(page.body, `value="`+text(begun, "user_code")+`"`) {
		t.Errorf("%d %s", page.status, page.body)
	}
	page = c.send(http.MethodGet, p.Issuer()+"/device?user_code="+url.QueryEscape(`"><script>`), nil)
	if strings.Contains(page.body, "<script>") || !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%q %s", page.header, page.body)
	}
	if ans := c.post(p.Issuer()+"/device", url.Values{"user_code": {text(begun, "user_code")}}, "Sec-Fetch-Site", "cross-site"); ans.status != http.StatusForbidden {
		t.Errorf("a form from another site: %d", ans.status)
	}
}

func TestADeviceAuthenticatesItsClientAndItsTokensAreBound(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DeviceGrant: true, DPoP: fdstest.Optional})
	c, fleet, key := newRaw(t, p, nil), p.ConfidentialApplication(), newKey(t)
	c.post(p.Issuer()+"/device_authorization", url.Values{"client_id": {"fleet-app"}}).wants(t, "no secret", 401, "invalid_client", "secret")
	begun := c.beginDevice(url.Values{"client_id": {"fleet-app"}, "client_secret": {fleet.Secret}})
	if err := p.ApproveDevice(t.Context(), text(begun, "user_code")); err != nil {
		t.Fatal(err)
	}
	form := poll("fleet-app", text(begun, "device_code"))
	c.token(form).wants(t, "no secret", 401, "invalid_client", "secret")
	c.token(poll("fdsdemo", text(begun, "device_code"))).wants(t, "another application", 400, "invalid_grant", "another client's")
	tokens := c.token(clone(form, "client_secret", fleet.Secret), "DPoP", proof(t, key, "POST", p.Issuer()+"/token", "")).succeeds(t, "the right one")
	if tokens["token_type"] != "DPoP" || tokens["refresh_token"] != nil || tokens["id_token"] != nil {
		t.Errorf("%v", tokens)
	}
	c.token(clone(form, "client_secret", fleet.Secret)).wants(t, "the device code again", 400, "invalid_grant", "used before")
}

func TestTheIntervalIsLeftOutWhenAsked(t *testing.T) {
	for interval, want := range map[time.Duration]any{0: 5.0, -1: nil, 2500 * time.Millisecond: 3.0} {
		p := fdstest.New(t, fdstest.Options{Quiet: true, DeviceGrant: true, DeviceInterval: interval})
		if got := newRaw(t, p, nil).beginDevice(deviceRequest)["interval"]; got != want {
			t.Errorf("%v: %v, want %v", interval, got, want)
		}
	}
}
