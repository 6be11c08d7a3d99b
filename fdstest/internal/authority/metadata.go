package authority

import (
	"encoding/json"
	"net/http"
)

// scopesSupported are the scopes that mean something here; others are ignored,
// as RFC 6749 section 3.3 permits, and the token answer says what was granted.
var scopesSupported = []string{"openid", "offline_access"}

// metadata describes the server to its clients (RFC 8414 section 2 and OpenID
// Connect Discovery 1.0 section 3).
func (s *Server) metadata() map[string]any {
	return map[string]any{
		"issuer":                                         s.issuer,
		"authorization_endpoint":                         s.issuer + AuthorizationPath,
		"token_endpoint":                                 s.issuer + TokenPath,
		"revocation_endpoint":                            s.issuer + RevocationPath,
		"jwks_uri":                                       s.issuer + KeysPath,
		"scopes_supported":                               scopesSupported,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"token_endpoint_auth_methods_supported":          authMethods,
		"revocation_endpoint_auth_methods_supported":     authMethods,
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true, // RFC 9207 section 3
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{signatureAlgorithm},
		"prompt_values_supported":                        []string{"login", "consent", "select_account", "none"},
		"claims_supported":                               []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", s.claim},
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"claims_parameter_supported":                     false,
	}
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
	_ = json.NewEncoder(w).Encode(s.key.public)
}
