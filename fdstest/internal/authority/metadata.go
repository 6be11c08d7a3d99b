package authority

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/fds-sdk/fds-go/fdstest/internal/dpop"
	"github.com/go-jose/go-jose/v4"
)

// scopesSupported are the scopes that mean something here; others are ignored,
// as RFC 6749 section 3.3 permits, and the token answer says what was granted.
var scopesSupported = []string{"openid", "offline_access"}

// metadata describes the server to its clients (RFC 8414 section 2 and OpenID
// Connect Discovery 1.0 section 3).
func (s *Server) metadata() map[string]any {
	claims := []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"}
	if s.cfg.SubscriptionIn&InIDToken != 0 {
		claims = append(claims, s.claim)
	}
	m := map[string]any{
		"issuer":                                         s.issuer,
		"authorization_endpoint":                         s.issuer + AuthorizationPath,
		"token_endpoint":                                 s.issuer + TokenPath,
		"revocation_endpoint":                            s.issuer + RevocationPath,
		"jwks_uri":                                       s.issuer + KeysPath,
		"scopes_supported":                               scopesSupported,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          s.grantTypes(),
		"token_endpoint_auth_methods_supported":          s.cfg.AuthMethods,
		"revocation_endpoint_auth_methods_supported":     s.cfg.AuthMethods,
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true, // RFC 9207 section 3
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{signatureAlgorithm},
		"prompt_values_supported":                        []string{"login", "consent", "select_account", "none"},
		"claims_supported":                               claims,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"claims_parameter_supported":                     false,
	}
	if slices.Contains(s.cfg.AuthMethods, MethodPrivateKeyJWT) {
		algorithms := make([]string, 0, len(assertionAlgorithms))
		for _, a := range assertionAlgorithms {
			algorithms = append(algorithms, string(a))
		}
		m["token_endpoint_auth_signing_alg_values_supported"] = algorithms
		m["revocation_endpoint_auth_signing_alg_values_supported"] = algorithms
		if s.cfg.Introspection {
			m["introspection_endpoint_auth_signing_alg_values_supported"] = algorithms
		}
	}
	if s.cfg.CertificateBoundTokens {
		m["tls_client_certificate_bound_access_tokens"] = true // RFC 8705 section 3.3
	}
	if s.cfg.DPoP != Unsupported {
		m["dpop_signing_alg_values_supported"] = dpop.Algorithms() // RFC 9449 section 5.1
	}
	if s.cfg.PushedRequests != Unsupported { // RFC 9126 section 5
		m["pushed_authorization_request_endpoint"] = s.issuer + PushedRequestPath
		m["require_pushed_authorization_requests"] = s.cfg.PushedRequests == Required
	}
	if s.cfg.DeviceGrant {
		m["device_authorization_endpoint"] = s.issuer + DeviceAuthorizationPath // RFC 8628 section 4
	}
	if s.cfg.Introspection {
		m["introspection_endpoint"] = s.issuer + IntrospectionPath
		m["introspection_endpoint_auth_methods_supported"] = slices.DeleteFunc(slices.Clone(s.cfg.AuthMethods), func(method string) bool { return method == MethodNone })
	}
	if s.cfg.MutualTLSURL != "" {
		aliases := make(map[string]string)
		for path, name := range s.aliases() {
			aliases[name] = s.cfg.MutualTLSURL + path
		}
		m["mtls_endpoint_aliases"] = aliases
	}
	return m
}

// aliases names the endpoints that take client certificates, by path (RFC 8705
// section 5).
func (s *Server) aliases() map[string]string {
	names := map[string]string{TokenPath: "token_endpoint", RevocationPath: "revocation_endpoint"}
	if s.cfg.PushedRequests != Unsupported {
		names[PushedRequestPath] = "pushed_authorization_request_endpoint"
	}
	if s.cfg.DeviceGrant {
		names[DeviceAuthorizationPath] = "device_authorization_endpoint"
	}
	if s.cfg.Introspection {
		names[IntrospectionPath] = "introspection_endpoint"
	}
	return names
}

func (s *Server) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	m := s.metadata()
	for _, h := range s.hooks.all() {
		if h.Metadata != nil {
			h.Metadata(m)
		}
	}
	writeJSON(w, http.StatusOK, m)
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	var set jose.JSONWebKeySet
	for _, k := range s.keys.listed() {
		set.Keys = append(set.Keys, k.public())
	}
	_ = json.NewEncoder(w).Encode(set)
}
