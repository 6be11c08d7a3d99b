package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// readMetadata reads those of the authorization server, once: at the place of RFC 8414 section
// 3.1, else at that of OpenID Connect Discovery section 4.
func (r *run) readMetadata(ctx context.Context) {
	if r.web.metadata != nil || r.web.why != "" {
		return
	}
	issuer, err := url.Parse(r.config.Client.Provider.Issuer)
	if err != nil {
		r.web.why = "the issuer is no URL"
		return
	}
	way, err := r.transport(ctx)
	if err != nil {
		r.web.why = err.Error()
		return
	}
	origin, path := issuer.Scheme+"://"+issuer.Host, strings.TrimSuffix(issuer.EscapedPath(), "/")
	var reasons []string
	for _, address := range []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	} {
		a := r.ask(ctx, way, http.MethodGet, address, nil, nil)
		var members map[string]any
		switch {
		case a.status == 0:
			reasons = append(reasons, fmt.Sprintf("%s: %v", address, reason(a.err)))
		case a.status != http.StatusOK:
			reasons = append(reasons, fmt.Sprintf("%s: HTTP %d", address, a.status))
		case json.Unmarshal(a.body, &members) != nil || members == nil:
			reasons = append(reasons, address+": no object in JSON")
		case members["issuer"] == nil:
			reasons = append(reasons, address+": an object without issuer")
		default:
			r.web.metadata, r.web.found = members, address
			return
		}
	}
	r.web.why = strings.Join(reasons, "; ")
}

// metadataList returns a member that is a list of texts; known is false where there is none.
func (r *run) metadataList(name string) (list []string, known bool) {
	all, known := r.web.metadata[name].([]any)
	for _, one := range all {
		if text, ok := one.(string); ok {
			list = append(list, text)
		}
	}
	return list, known
}

// needMetadata: the authorization server's metadata were read.
func needMetadata(r *run) (Outcome, string) {
	switch e := r.config.Client.Provider.Endpoints; {
	case r.web.metadata != nil:
		return "", ""
	case e.Authorization != "" && e.Token != "":
		return NotTestable, "the authorization server has no metadata, so that it does not tell: ask it (the configuration names the endpoints)"
	}
	return Error, "the authorization server's metadata cannot be read: " + r.web.why
}

// metadataChecks are the authorization server's part of W3.
func metadataChecks() []*check {
	return []*check{{
		id: "W3-auth-metadata", requirement: "W3", duty: OfAuthorizationServer,
		rule:       "The authorization server describes itself (RFC 8414, OpenID Connect Discovery) under the issuer that is configured.",
		remedy:     "Serve the metadata, with the issuer as it was told to applications, letter by letter; or correct Provider.Issuer.",
		weaknesses: []string{"CWE-346", "API8:2023"},
		probe:      (*run).probeMetadata,
	}}
}

func (r *run) probeMetadata(_ context.Context, t *trial) {
	e := r.config.Client.Provider.Endpoints
	switch issuer, _ := r.web.metadata["issuer"].(string); {
	case r.web.metadata == nil && e.Authorization != "" && e.Token != "":
		t.notApplicable("the configuration names the endpoints, and there are no metadata")
	case r.web.metadata == nil:
		t.saw("read the metadata of "+r.config.Client.Provider.Issuer, "%s", r.web.why)
		t.fail("there are no metadata of the authorization server: %s", r.web.why)
	case issuer != r.config.Client.Provider.Issuer:
		t.saw("read the metadata at "+r.web.found, "issuer %q", cut(issuer))
		t.fail("the metadata name the issuer %q, configured is %q", cut(issuer), r.config.Client.Provider.Issuer)
	default:
		t.saw("read the metadata at "+r.web.found, "issuer %q", issuer)
		if r.endpoint("token_endpoint") == "" {
			t.fail("the metadata name no token_endpoint")
		}
		t.pass()
	}
}

// codeFlowChecks are what W8 asks of the metadata.
func codeFlowChecks() []*check {
	const requirement = "W8"
	row := func(what, rule, remedy string, weaknesses []string, probe func(*run, context.Context, *trial)) *check {
		return &check{
			id: requirement + "-auth-" + what, requirement: requirement, duty: OfAuthorizationServer, needs: []need{needMetadata},
			rule: rule, remedy: remedy, weaknesses: weaknesses, probe: probe,
		}
	}
	return []*check{
		row("code-offered", "The authorization code flow is offered.", "Offer response_type=code and the authorization code grant.", nil,
			func(r *run, _ context.Context, t *trial) {
				types, known := r.metadataList("response_types_supported")
				grants, knownGrants := r.metadataList("grant_types_supported")
				t.saw("read response_types_supported and grant_types_supported", "%q, %q", types, grants)
				switch {
				case r.endpoint("authorization_endpoint") == "":
					t.fail("the metadata name no authorization_endpoint")
				case known && !slices.Contains(types, "code"):
					t.fail("response_types_supported lacks code")
				case knownGrants && !slices.Contains(grants, "authorization_code"):
					t.fail("grant_types_supported lacks authorization_code")
				case !known:
					t.untestable("the metadata do not list response_types_supported; Config.SignIn tries it")
				default:
					t.pass()
				}
			}),
		row("pkce-offered", "PKCE is offered with S256 (RFC 7636, RFC 9700 section 2.1.1).", "Support code_challenge_method S256, and list it in code_challenge_methods_supported.", []string{"CWE-757"},
			func(r *run, _ context.Context, t *trial) {
				methods, known := r.metadataList("code_challenge_methods_supported")
				t.saw("read code_challenge_methods_supported", "%q", methods)
				switch {
				case !known:
					t.untestable("the metadata do not list code_challenge_methods_supported; Config.SignIn tries whether PKCE is demanded")
				case !slices.Contains(methods, "S256"):
					t.fail("code_challenge_methods_supported lacks S256")
				default:
					t.pass()
				}
			}),
		row("issuer-in-response", "Authorization responses name their issuer, so that two servers cannot be mixed up (RFC 9207, RFC 9700 section 4.4).",
			"Send iss in authorization responses, and say so by authorization_response_iss_parameter_supported.", []string{"CWE-346"},
			func(r *run, _ context.Context, t *trial) {
				promised, _ := r.web.metadata["authorization_response_iss_parameter_supported"].(bool)
				t.saw("read authorization_response_iss_parameter_supported", "%t", promised)
				if !promised {
					t.fail("the authorization server does not promise to name itself in its responses")
					return
				}
				t.pass()
			}),
		row("no-unsafe-grants", "Neither the implicit nor the password grant is offered (RFC 9700 sections 2.1.2 and 2.4).", "Switch response_type=token, the implicit and the password grant off.", []string{"CWE-522", "API2:2023"},
			func(r *run, _ context.Context, t *trial) {
				types, known := r.metadataList("response_types_supported")
				grants, knownGrants := r.metadataList("grant_types_supported")
				t.saw("read response_types_supported and grant_types_supported", "%q, %q", types, grants)
				for _, one := range types {
					if slices.Contains(strings.Fields(one), "token") {
						t.fail("response_types_supported has %q, by which tokens pass through the browser", cut(one))
					}
				}
				if slices.Contains(grants, "password") {
					t.fail("grant_types_supported has password")
				}
				// OpenID providers name the implicit grant for ID tokens too, which is harmless.
				if slices.Contains(grants, "implicit") && !known {
					t.fail("grant_types_supported has implicit")
				}
				if !known && !knownGrants {
					t.untestable("the metadata list neither response_types_supported nor grant_types_supported: ask the authorization server")
					return
				}
				t.pass()
			}),
	}
}
