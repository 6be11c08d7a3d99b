package fdstest

import (
	"encoding/json"
	"strings"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// OddMetadata lists metadata documents that differ from RFC 8414 and OpenID Connect
// Discovery 1.0. Those that are not Harmless must be refused: another server might
// speak, or a secret go where anybody can read it.
func OddMetadata() []Odd {
	var list []Odd
	add := func(harmless bool, name string, fault Fault) {
		list = append(list, Odd{Name: name, Harmless: harmless, Fault: fault})
	}
	for _, at := range []Endpoint{OAuthMetadataEndpoint, OpenIDDiscoveryEndpoint} {
		name := strings.TrimPrefix(string(at), "metadata/") + " alone answers "
		add(true, name+"{}", Answer(at, 200, "application/json", "{}"))
		add(true, name+"null", Answer(at, 200, "application/json", "null"))
		add(true, name+"for another issuer", RewriteAnswer(at, is("issuer", `"https://other.example"`)))
		add(true, name+"with HTML", WebPage(at))
		add(true, name+"with nothing", Answer(at, 200, "application/json", ""))
		add(true, name+"404", Answer(at, 404, "text/html", "<h1>Not found</h1>"))
		add(true, name+"500", Answer(at, 500, "text/plain", "error"))
		add(true, name+"cut", RewriteAnswer(at, func(r *Reply) { r.Body = r.Body[:len(r.Body)/2] }))
	}
	members := func(harmless bool, name string, values map[string]any) {
		add(harmless, name, inAuthority("", func(take func() bool) authority.Hooks {
			return authority.Hooks{Metadata: func(m map[string]any) {
				if take() {
					for name, value := range values {
						set(m, name, value)
					}
				}
			}}
		}))
	}
	members(true, "booleans as strings", map[string]any{"authorization_response_iss_parameter_supported": "true", "request_parameter_supported": "false"})
	members(true, "lists as strings", map[string]any{"scopes_supported": "openid offline_access", "claims_supported": "sub", "display_values_supported": "page"})
	members(true, "an unused endpoint over http", map[string]any{"userinfo_endpoint": "http://127.0.0.1/userinfo"})
	members(true, "an unused endpoint that is relative", map[string]any{"registration_endpoint": "/register"})
	members(true, "an unused endpoint that is no URL", map[string]any{"end_session_endpoint": "https://[::1/x y"})
	members(true, "an unused endpoint that is a number", map[string]any{"check_session_iframe": 7})
	members(true, "null members", map[string]any{"userinfo_endpoint": json.RawMessage("null"), "acr_values_supported": json.RawMessage("null")})
	members(true, "unknown members", map[string]any{"ext": json.RawMessage(nested(16)), "version": 1.5})
	add(true, "a byte order mark", ByteOrderMark(MetadataEndpoint))
	add(true, "as text/plain", ContentType(MetadataEndpoint, "text/plain"))
	add(true, "as application/octet-stream", ContentType(MetadataEndpoint, "application/octet-stream"))
	add(true, "without a content type", ContentType(MetadataEndpoint, ""))

	members(false, "both for another issuer", map[string]any{"issuer": "https://other.example"})
	members(false, "no issuer", map[string]any{"issuer": nil})
	members(false, "no jwks_uri", map[string]any{"jwks_uri": nil})
	members(false, "no token_endpoint", map[string]any{"token_endpoint": nil})
	members(false, "token_endpoint over http", map[string]any{"token_endpoint": "http://127.0.0.1/token"})
	members(false, "authorization_endpoint with control characters", map[string]any{"authorization_endpoint": "https://127.0.0.1/\u009b2J\u202eauthorize"})
	return inList("OddMetadata", list)
}

// OddKeySets lists answers of jwks_uri that differ from RFC 7517. Of those that are
// not Harmless no key verifies the provider's tokens.
func OddKeySets() []Odd {
	var list []Odd
	add := func(harmless bool, name string, fault Fault) {
		list = append(list, Odd{Name: name, Harmless: harmless, Fault: fault})
	}
	// keys has the array of keys, which holds the good one, written otherwise.
	keys := func(harmless bool, name string, change func(good string) string) {
		add(harmless, name, RewriteAnswer(KeysEndpoint, inMembers(func(m members) string {
			var set []json.RawMessage
			if json.Unmarshal([]byte(m.get("keys")), &set) != nil || len(set) != 1 {
				return m.String()
			}
			return m.with("keys", change(string(set[0]))).String()
		})))
	}
	for _, other := range otherKeys {
		keys(true, other.name+" in front", func(good string) string { return "[" + other.key + "," + good + "]" })
		keys(true, other.name+" behind", func(good string) string { return "[" + good + "," + other.key + "]" })
	}
	keys(true, "a malformed key of the same ID in front", func(good string) string {
		m, _ := readMembers([]byte(good))
		return `[{"kty":"EC","crv":"P-256","kid":` + m.get("kid") + `,"x":"!","y":7},` + good + "]"
	})
	change := func(harmless bool, name, member, value string) {
		keys(harmless, name, func(good string) string {
			m, _ := readMembers([]byte(good))
			if value == "" {
				return "[" + m.without(member).String() + "]"
			}
			return "[" + m.with(member, value).String() + "]"
		})
	}
	change(true, "a key without use", "use", "")
	change(true, "a key without alg", "alg", "")
	change(true, "a key with unknown members", "ext", nested(16))
	add(true, "unknown members", RewriteAnswer(KeysEndpoint, is("ext", nested(16))))
	add(true, "a byte order mark", ByteOrderMark(KeysEndpoint))
	add(true, "as text/plain", ContentType(KeysEndpoint, "text/plain"))
	add(true, "without a content type", ContentType(KeysEndpoint, ""))
	add(true, "503 once", Unavailable(KeysEndpoint, "").Times(1))
	add(true, "429 with Retry-After once", TooManyRequests(KeysEndpoint, "1").Times(1))
	add(true, "a lost connection once", DropBeforeWork(KeysEndpoint).Times(1))

	change(false, "only a malformed key", "x", `"!"`)
	change(false, "only a key of another ID", "kid", `"another"`)
	keys(false, "no key", func(string) string { return "[]" })
	add(false, "{}", RewriteAnswer(KeysEndpoint, is("keys", "")))
	add(false, "keys is null", RewriteAnswer(KeysEndpoint, is("keys", "null")))
	add(false, "a page of HTML", WebPage(KeysEndpoint))
	return inList("OddKeySets", list)
}

// otherKeys are those that a client leaves aside.
var otherKeys = []struct{ name, key string }{
	{"a malformed key", `{"kty":"EC","crv":"P-256","kid":"malformed","use":"sig","x":"!","y":7}`},
	{"a point that is not on the curve", `{"kty":"EC","crv":"P-256","kid":"point","use":"sig","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`},
	{"a key of an unknown kty", `{"kty":"AKP","alg":"ML-DSA-44","kid":"unknown","use":"sig","pub":"AA"}`},
	{"a key on an unknown curve", `{"kty":"EC","crv":"P-192","kid":"curve","use":"sig","x":"AA","y":"AA"}`},
	{"a key without kty", `{"kid":"typeless","use":"sig"}`},
	{"a key with a malformed certificate", `{"kty":"EC","crv":"P-256","kid":"certificate","x5c":["!"],"x":"AA","y":"AA"}`},
	{"a key to encrypt with", `{"kty":"RSA","kid":"encryption","use":"enc","e":"AQAB","n":"` + strings.Repeat("AQAB", 85) + `AQ"}`},
	{"a symmetric key", `{"kty":"oct","kid":"symmetric","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`},
	{"null", "null"},
	{"a number", "7"},
	{"a string", `"key"`},
}
