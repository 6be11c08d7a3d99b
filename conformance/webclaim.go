package conformance

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// nameChecks are W6: how an owner is named.
func nameChecks() []*check {
	return []*check{
		{
			id: "W6-subscription-id-uuid", requirement: "W6", duty: OfAuthorizationServer,
			needs: []need{func(r *run) (Outcome, string) {
				if r.web.oddID != nil {
					return "", ""
				}
				return needOwner(r)
			}},
			rule:       "Every subscription ID is a UUID of version 4.",
			remedy:     "Name resource owners by random UUIDs (RFC 9562 section 5.4), in the form with hyphens.",
			weaknesses: []string{"CWE-340"},
			probe:      (*run).probeIDs,
		},
	}
}

// claimChecks are W7: where an owner is named.
func claimChecks() []*check {
	return []*check{
		{
			id: "W7-token-names-subscription", requirement: "W7", duty: OfAuthorizationServer, needs: []need{needOwner},
			rule:       "The access token includes the owner's subscription ID.",
			remedy:     "Put the subscription ID into access tokens, as a string or an array, or into the answer of introspection (RFC 7662); tell applications the claim's name (Application.SubscriptionClaim).",
			weaknesses: []string{"CWE-863", "API1:2023"},
			probe:      (*run).probeClaim,
		},
	}
}

// claim is the name of the one that holds the subscription IDs.
func (r *run) claim() string {
	return cmp.Or(r.config.Client.Application.SubscriptionClaim, "subscription_id")
}

func (r *run) probeIDs(ctx context.Context, t *trial) {
	if r.web.oddID != nil {
		t.saw("take the subscription ID of a sign-in or a renewal", "%v", r.web.oddID)
		t.fail("%v", r.web.oddID)
		return
	}
	owners, err := r.client.Owners(ctx)
	if err != nil {
		t.error("%v", err)
		return
	}
	var spellings []string
	for _, o := range owners {
		spellings = append(spellings, o.Root().ClientID())
	}
	t.saw("read the subscription IDs of the stored grants", "%q", spellings)
	if token, err := r.token(ctx, r.owner); err == nil {
		if parts, ok := splitJWT(token.Reveal()); ok && parts.claims[r.claim()] != nil {
			named, fit := texts(parts.claims[r.claim()])
			t.saw(fmt.Sprintf("read the claim %q of the owner's access token", r.claim()), "%s", cut(fmt.Sprintf("%q", named)))
			if !fit {
				t.fail("the claim %q is neither a text nor a list of texts", r.claim())
			}
			spellings = append(spellings, named...)
		}
	}
	for _, one := range spellings {
		if _, err := fds.ParseSubscriptionID(one); err != nil {
			t.fail("%v", err)
		}
	}
	t.pass()
}

// texts reads a claim that is a text or a list of them.
func texts(claim any) (all []string, fit bool) {
	switch value := claim.(type) {
	case string:
		return []string{value}, true
	case []any:
		for _, one := range value {
			text, ok := one.(string)
			if !ok {
				return all, false
			}
			all = append(all, text)
		}
		return all, len(all) > 0
	}
	return nil, false
}

func (r *run) probeClaim(ctx context.Context, t *trial) {
	token, err := r.token(ctx, r.owner)
	if err != nil {
		t.error("%v", err)
		return
	}
	parts, isJWT := splitJWT(token.Reveal())
	if isJWT {
		named, _ := texts(parts.claims[r.claim()])
		t.saw(fmt.Sprintf("read the claim %q of the owner's access token", r.claim()), "%s", cut(fmt.Sprintf("%q", named)))
		if r.names(named) {
			t.pass()
			return
		}
		if parts.claims[r.claim()] != nil {
			t.fail("the access token names other owners than %s", r.owner.Key().SubscriptionID)
			return
		}
	}
	named, why := r.introspected(ctx, t, token)
	switch {
	case why == "" && r.names(named):
		t.pass()
	case why == "":
		t.fail("introspection of the access token does not name %s in %q", r.owner.Key().SubscriptionID, r.claim())
	case isJWT:
		t.fail("the access token has no claim %q, and introspection does not help (%s): the SDK found the owner in the ID token or beside the access token", r.claim(), why)
	default:
		t.untestable("the access token cannot be read here (it is no JWT), and it cannot be introspected: %s", why)
	}
}

func (r *run) names(spellings []string) bool {
	return slices.ContainsFunc(spellings, func(one string) bool {
		id, err := fds.ParseSubscriptionID(one)
		return err == nil && id == r.owner.Key().SubscriptionID
	})
}

// introspected asks the authorization server whose an access token is (RFC 7662); why says why it
// cannot be asked.
func (r *run) introspected(ctx context.Context, t *trial, token fdsclient.Token) (named []string, why string) {
	address := r.endpoint("introspection_endpoint")
	if address == "" {
		return nil, "the authorization server offers no introspection"
	}
	form, header := url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}, http.Header{}
	application := r.config.Client.Application
	switch method := r.method(); method {
	case fdsclient.AuthClientSecretBasic:
		methods, _ := r.metadataList("token_endpoint_auth_methods_supported")
		if application.AuthMethod != "" || !slices.Contains(methods, "client_secret_post") || slices.Contains(methods, "client_secret_basic") {
			pair := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(application.ClientID) + ":" + url.QueryEscape(application.ClientSecret.Reveal())))
			header.Set("Authorization", "Basic "+pair)
			break
		}
		fallthrough
	case fdsclient.AuthClientSecretPost:
		form.Set("client_id", application.ClientID)
		form.Set("client_secret", application.ClientSecret.Reveal())
	case fdsclient.AuthTLS, fdsclient.AuthSelfSignedTLS:
		form.Set("client_id", application.ClientID)
	default:
		return nil, fmt.Sprintf("not with the authentication of this application (%s)", method)
	}
	way, err := r.transport(ctx)
	if err != nil {
		return nil, err.Error()
	}
	a := r.ask(ctx, way, http.MethodPost, address, form, header)
	var members map[string]any
	if a.status != http.StatusOK || json.Unmarshal(a.body, &members) != nil || members["active"] != true {
		t.saw("introspect the access token", "%s", a.saw())
		return nil, "the introspection endpoint does not say that it is active"
	}
	named, _ = texts(members[r.claim()])
	t.saw("introspect the access token", "active, %q is %s", r.claim(), cut(fmt.Sprintf("%q", named)))
	return named, ""
}
