package fdstest_test

import (
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestClientCredentialsGiveTheOwnersOfTheApplication(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Resources: []string{reports}})
	c, owners := newRaw(t, p, nil), p.Owners()
	c.token(credentialsForm("fdsdemo")).wants(t, "while nobody may", 400, "unsupported_grant_type", "authorization_code")
	addClient(t, p, fdstest.Application{ID: "server", Secret: "s3cret-s3cret", ClientCredentials: owners[1:]})
	form := clone(credentialsForm("server"), "client_secret", "s3cret-s3cret")
	tokens := c.token(form).succeeds(t, "allowed")
	access := text(tokens, "access_token")
	if claim := claimOf(t, access, "subscription_id"); !reflect.DeepEqual(claim, []any{owners[1].Spelling, owners[2].Spelling}) || claimOf(t, access, "sub") != "server" {
		t.Errorf("it names %v", claim)
	}
	if got := slices.Sorted(maps.Keys(tokens)); !slices.Equal(got, []string{"access_token", "expires_in", "scope", "token_type"}) {
		t.Errorf("the answer has %q", got)
	}
	if ans := c.spaces("Authorization", "Bearer "+access); ans.status != http.StatusOK {
		t.Errorf("the API answers %d", ans.status)
	}
	if aud := claimOf(t, text(c.token(clone(form, "resource", reports)).succeeds(t, "a resource"), "access_token"), "aud"); aud != reports {
		t.Errorf("aud is %v", aud)
	}
	c.token(clone(form, "resource", "https://other.example")).wants(t, "an unknown resource", 400, "invalid_target", "resource")
	c.token(clone(form, "scope", "offline_access")).wants(t, "a person's scope", 400, "invalid_scope", "offline_access needs a person")
	c.token(credentialsForm("server")).wants(t, "no secret", 401, "invalid_client", "secret")
	c.token(credentialsForm("fdsdemo")).wants(t, "another application", 400, "unauthorized_client", "not registered for the client credentials")
	if m := metadataOf(t, p); !slices.Contains(m["grant_types_supported"].([]any), any("client_credentials")) {
		t.Errorf("metadata: %v", m["grant_types_supported"])
	}
	if p.RevokeGrants(owners[2]) != 2 || c.spaces("Authorization", "Bearer "+access).status != http.StatusUnauthorized {
		t.Error("the grant cannot be withdrawn")
	}
	// An application without a redirect URI has no way through a browser.
	if err := p.AddClient(fdstest.Application{ID: "machine", Secret: "s3cret-s3cret", ClientCredentials: owners}); err != nil {
		t.Error(err)
	}
	refusedPage(t, p, p.Issuer()+"/authorize?"+authorizationForm("machine", strings.Repeat("v", 43)).Encode(), "not registered")
}

func TestPasswordAndImplicitAreNotOffered(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, DeviceGrant: true, Introspection: true, PushedRequests: fdstest.Optional, DPoP: fdstest.Optional})
	newRaw(t, p, nil).token(url.Values{"grant_type": {"password"}, "username": {"a"}, "password": {"b"}, "client_id": {"fdsdemo"}}).
		wants(t, "password", 400, "unsupported_grant_type", "device_code")
	callback, err := p.ApproveCallback(t.Context(), p.Issuer()+"/authorize?"+authorizationForm("fdsdemo", strings.Repeat("v", 43), "response_type", "token").Encode())
	if err != nil || !strings.Contains(callback, "error=unsupported_response_type") {
		t.Errorf("implicit: %s, %v", callback, err)
	}
	m := metadataOf(t, p)
	if !reflect.DeepEqual(m["response_types_supported"], []any{"code"}) || !reflect.DeepEqual(m["grant_types_supported"], []any{"authorization_code", "refresh_token", deviceGrant}) {
		t.Errorf("metadata: %v, %v", m["response_types_supported"], m["grant_types_supported"])
	}
}

func TestIntrospectionTellsAnApplicationOfItsOwnTokens(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Introspection: true})
	c, fleet := newRaw(t, p, nil), p.ConfidentialApplication()
	addClient(t, p, fdstest.Application{ID: "other", Secret: "s3cret-s3cret"})
	form := approved(t, p, "fleet-app")
	form.Set("client_secret", fleet.Secret)
	tokens := c.token(form).succeeds(t, "sign-in")
	access, refresh := text(tokens, "access_token"), text(tokens, "refresh_token")
	endpoint := p.Issuer() + "/introspect"
	ask := func(token string) url.Values {
		return url.Values{"client_id": {"fleet-app"}, "client_secret": {fleet.Secret}, "token": {token}}
	}
	told := c.post(endpoint, ask(access)).succeeds(t, "an access token")
	exp, _ := told["exp"].(float64)
	for name, want := range map[string]any{
		"active": true, "client_id": "fleet-app", "iss": p.Issuer(), "sub": "person", "aud": p.APIURL(), "scope": "openid offline_access",
		"token_type": "Bearer", "subscription_id": p.Owners()[0].Spelling, "cnf": nil,
	} {
		if told[name] != want {
			t.Errorf("%s is %v, want %v", name, told[name], want)
		}
	}
	if until := time.Until(time.Unix(int64(exp), 0)); until < 9*time.Minute || until > 10*time.Minute+time.Second {
		t.Errorf("exp is in %v", until)
	}
	if told := c.post(endpoint, ask(refresh)).succeeds(t, "a refresh token"); told["active"] != true || told["token_type"] != nil {
		t.Errorf("a refresh token: %v", told)
	}
	inactive := func(what string, form url.Values) {
		t.Helper()
		if told := c.post(endpoint, form).succeeds(t, what); len(told) != 1 || told["active"] != false {
			t.Errorf("%s: %v", what, told)
		}
	}
	inactive("an unknown token", ask("unknown"))
	inactive("another application's", url.Values{"client_id": {"other"}, "client_secret": {"s3cret-s3cret"}, "token": {access}})
	c.token(clone(renewal("fleet-app", refresh), "client_secret", fleet.Secret)).succeeds(t, "renewal")
	inactive("a used refresh token", ask(refresh))
	p.RevokeGrants(p.Owners()[0])
	inactive("a revoked one", ask(access))
	c.post(endpoint, url.Values{"client_id": {"fdsdemo"}, "token": {access}}).wants(t, "a public application", 401, "invalid_client", "that authenticate")
	c.post(endpoint, url.Values{"client_id": {"fleet-app"}, "token": {access}}).wants(t, "no secret", 401, "invalid_client", "secret")
	c.post(endpoint, ask("")).wants(t, "no token", 400, "invalid_request", "token is missing")
	if m := metadataOf(t, p); m["introspection_endpoint"] != endpoint || !reflect.DeepEqual(m["introspection_endpoint_auth_methods_supported"], []any{"client_secret_basic", "client_secret_post"}) {
		t.Errorf("metadata: %v", m)
	}
}

func TestTheSubscriptionIDAppearsWhereItIsAskedFor(t *testing.T) {
	for name, opts := range map[string]fdstest.Options{
		"answer":                            {SubscriptionIn: fdstest.InTokenAnswer},
		"access":                            {SubscriptionIn: fdstest.InAccessToken},
		"id":                                {SubscriptionIn: fdstest.InIDToken},
		"introspection":                     {SubscriptionIn: fdstest.InIntrospection, OpaqueTokens: true},
		"id, introspection":                 {OpaqueTokens: true},
		"access, id, introspection":         {},
		"access, answer, id, introspection": {SubscriptionIn: fdstest.InAccessToken | fdstest.InIDToken | fdstest.InTokenAnswer | fdstest.InIntrospection},
	} {
		opts.Quiet, opts.Introspection = true, true
		p := fdstest.New(t, opts)
		c, fleet := newRaw(t, p, nil), p.ConfidentialApplication()
		form := approved(t, p, "fleet-app")
		form.Set("client_secret", fleet.Secret)
		tokens := c.token(form).succeeds(t, name)
		access := text(tokens, "access_token")
		if opaque := strings.Count(access, ".") == 0; opaque != opts.OpaqueTokens {
			t.Errorf("%s: the access token is %q", name, access)
		}
		told := c.post(p.Issuer()+"/introspect", url.Values{"client_id": {"fleet-app"}, "client_secret": {fleet.Secret}, "token": {access}}).succeeds(t, name)
		places := map[string]any{"answer": tokens["subscription_id"], "id": claimOf(t, text(tokens, "id_token"), "subscription_id"), "introspection": told["subscription_id"]}
		if !opts.OpaqueTokens {
			places["access"] = claimOf(t, access, "subscription_id")
		}
		var found []string
		for place, value := range places {
			if value == p.Owners()[0].Spelling {
				found = append(found, place)
			} else if value != nil {
				t.Errorf("%s: %s says %v", name, place, value)
			}
		}
		slices.Sort(found)
		if got := strings.Join(found, ", "); got != name {
			t.Errorf("%s: it is in %s", name, got)
		}
		if ans := c.spaces("Authorization", "Bearer "+access); ans.status != http.StatusOK {
			t.Errorf("%s: the API answers %d", name, ans.status)
		}
		c.post(p.Issuer()+"/revoke", url.Values{"client_id": {"fleet-app"}, "client_secret": {fleet.Secret}, "token": {access}})
		if ans := c.spaces("Authorization", "Bearer "+access); ans.status != http.StatusUnauthorized {
			t.Errorf("%s: revoked, the API answers %d", name, ans.status)
		}
	}
}

func TestAWrongSubscriptionIDIsWrongEverywhere(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, OpaqueTokens: true, SubscriptionIn: fdstest.InTokenAnswer})
	c := newRaw(t, p, nil)
	p.Inject(fdstest.TokenSubscription(42))
	tokens := c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in")
	if tokens["subscription_id"] != 42.0 || c.spaces("Authorization", "Bearer "+text(tokens, "access_token")).status != http.StatusUnauthorized {
		t.Errorf("%v", tokens["subscription_id"])
	}
}

func TestWithinTheGraceALostAnswerCostsNothing(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, RefreshGrace: time.Hour})
	c := newRaw(t, p, nil)
	first := text(c.token(approved(t, p, "fdsdemo")).succeeds(t, "sign-in"), "refresh_token")
	off := p.Inject(fdstest.DropAfterWork(fdstest.TokenEndpoint).Times(1))
	if ans := c.token(renewal("fdsdemo", first)); ans.err == nil {
		t.Error("the answer was not lost")
	}
	off()
	c.token(clone(renewal("fleet-app", first), "client_secret", p.ConfidentialApplication().Secret)).wants(t, "another application", 400, "invalid_grant", "another client's")
	second := text(c.token(renewal("fdsdemo", first)).succeeds(t, "once more"), "refresh_token")
	third := text(c.token(renewal("fdsdemo", second)).succeeds(t, "the fresh one"), "refresh_token")
	c.token(renewal("fdsdemo", first)).wants(t, "a third time", 400, "invalid_grant", "used before; the grant is revoked")
	c.token(renewal("fdsdemo", third)).wants(t, "the newest after it", 400, "invalid_grant", "revoked")
}

func TestTheMetadataOfAPlainProviderOffersNothingMore(t *testing.T) {
	m := metadataOf(t, fdstest.New(t, fdstest.Options{Quiet: true}))
	if !reflect.DeepEqual(m["token_endpoint_auth_methods_supported"], []any{"none", "client_secret_basic", "client_secret_post"}) ||
		!reflect.DeepEqual(m["grant_types_supported"], []any{"authorization_code", "refresh_token"}) {
		t.Errorf("%v", m)
	}
	for _, name := range []string{
		"mtls_endpoint_aliases", "tls_client_certificate_bound_access_tokens", "token_endpoint_auth_signing_alg_values_supported",
		"dpop_signing_alg_values_supported", "pushed_authorization_request_endpoint", "require_pushed_authorization_requests",
		"device_authorization_endpoint", "introspection_endpoint",
	} {
		if value, has := m[name]; has {
			t.Errorf("%s is %v", name, value)
		}
	}
}
