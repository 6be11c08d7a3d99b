package fdstest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// OddIDTokens lists ID tokens that differ from what OpenID Connect Core 1.0 section
// 3.1.3.7 and RFC 8725 demand. A client that needs the ID token must refuse those
// that are not Harmless; to one that does not need it all are harmless.
// IDTokenClaim and IDTokenHeader make others.
func OddIDTokens() []Odd {
	var list []Odd
	add := func(harmless bool, name string, fault Fault) {
		list = append(list, Odd{Name: name, Harmless: harmless, Fault: fault})
	}
	claims := func(harmless bool, name string, change func(accessToken string, claims map[string]any)) {
		add(harmless, name, inAuthority("", func(take func() bool) authority.Hooks {
			return authority.Hooks{IDToken: func(accessToken string, _, claims map[string]any) {
				if take() {
					change(accessToken, claims)
				}
			}}
		}))
	}
	claim := func(harmless bool, name, claim string, value any) {
		claims(harmless, name, func(_ string, claims map[string]any) { set(claims, claim, value) })
	}
	date := func(harmless bool, name, claim string, fromNow time.Duration) {
		claims(harmless, name, func(_ string, claims map[string]any) { claims[claim] = time.Now().Add(fromNow).Unix() })
	}
	const year = 365 * 24 * time.Hour

	add(true, "no typ", IDTokenHeader("typ", nil))
	add(true, "typ jwt", IDTokenHeader("typ", "jwt"))
	add(true, "no kid, which one key does not need", IDTokenHeader("kid", nil))
	claims(true, "aud an array", func(_ string, claims map[string]any) { claims["aud"] = []any{claims["aud"]} })
	claims(true, "azp", func(_ string, claims map[string]any) { claims["azp"] = claims["aud"] })
	claims(true, "at_hash", func(accessToken string, claims map[string]any) {
		sum := sha256.Sum256([]byte(accessToken))
		claims["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	})
	claims(true, "exp with a fraction", func(_ string, claims map[string]any) { claims["exp"] = float64(time.Now().Add(time.Hour).Unix()) + 0.5 })
	claim(true, "unknown claims", "ext", map[string]any{"sub": "another", "list": []any{nil}})
	date(true, "iat in 10 seconds", "iat", 10*time.Second)
	date(true, "nbf in 2 seconds", "nbf", 2*time.Second)

	add(false, "none at all", TokenAnswerMember("id_token", nil))
	add(false, "a number", TokenAnswerMember("id_token", 7))
	add(false, "no JWT", TokenAnswerMember("id_token", "token"))
	add(false, "alg none", IDTokenHeader("alg", "none"))
	add(false, "HS256 with the application's secret", IDTokenHeader("alg", "HS256"))
	add(false, "alg RS256, signed with ES256", IDTokenHeader("alg", "RS256"))
	add(false, "typ at+jwt", IDTokenHeader("typ", "at+jwt"))
	add(false, "kid of no key", IDTokenHeader("kid", "another"))
	add(false, "crit", IDTokenHeader("crit", []string{"ext"}))
	add(false, "a signature of another key", inAuthority("", func(take func() bool) authority.Hooks {
		return authority.Hooks{TokenAnswer: func(_ string, answer map[string]any) {
			if token, ok := answer["id_token"].(string); ok && take() {
				signature := make([]byte, 64)
				_, _ = rand.Read(signature) // never fails
				answer["id_token"] = token[:strings.LastIndexByte(token, '.')+1] + base64.RawURLEncoding.EncodeToString(signature)
			}
		}}
	}))
	claim(false, "iss another", "iss", "https://other.example")
	claim(false, "no iss", "iss", nil)
	claim(false, "aud another", "aud", "another")
	claim(false, "no aud", "aud", nil)
	claim(false, "azp another", "azp", "another")
	claim(false, "at_hash of another token", "at_hash", base64.RawURLEncoding.EncodeToString(make([]byte, 16)))
	claim(false, "nonce another", "nonce", "another")
	claim(false, "no sub", "sub", nil)
	claim(false, "sub empty", "sub", "")
	claim(false, "sub a number", "sub", 7)
	claim(false, "no exp", "exp", nil)
	date(false, "exp an hour ago", "exp", -time.Hour)
	claim(false, "no iat", "iat", nil)
	date(false, "iat in a year", "iat", year)
	date(false, "iat ten years ago", "iat", -10*year)
	date(false, "nbf in a year", "nbf", year)
	return inList("OddIDTokens", list)
}

// OddRedirects lists authorization responses, of success and of error, with other
// queries than the provider's encoder writes. Those that are not Harmless must not
// sign anybody in.
func OddRedirects() []Odd {
	var list []Odd
	add := func(harmless bool, name string, rewrite func(query string) string) {
		list = append(list, Odd{Name: name, Harmless: harmless, Fault: ResponseQuery(rewrite)})
	}
	description := func(name, value string) {
		add(true, name+" error_description", func(q string) string { return pair(q, "error_description", value) })
	}
	description("a semicolon in", "cancelled;try+again")
	description("a malformed escape in", "100%+sure")
	description("what is no UTF-8 in", "%ff%fe")
	description("a hostile", url.QueryEscape(HostileText))
	description("4 KiB of", strings.Repeat("x", 4<<10))
	add(true, "unknown pairs, malformed", func(q string) string { return "session_state=a;b&x=%zz&=&flag&%=1&" + q })
	add(true, "empty pairs", func(q string) string { return "&" + strings.ReplaceAll(q, "&", "&&") + "&" })
	add(true, "pairs in reverse order", func(q string) string {
		pairs := strings.Split(q, "&")
		slices.Reverse(pairs)
		return strings.Join(pairs, "&")
	})
	add(true, "every character escaped", func(q string) string {
		var out strings.Builder
		for i := range len(q) {
			switch c := q[i]; c {
			case '&', '=', '%':
				out.WriteByte(c)
			case '+':
				out.WriteString("%20")
			default:
				if strings.HasSuffix(q[:i], "%") || i > 1 && q[i-2] == '%' {
					out.WriteByte(c) // of an escape
				} else {
					fmt.Fprintf(&out, "%%%02x", c)
				}
			}
		}
		return out.String()
	})
	add(true, "a fragment behind it", func(q string) string { return q + "#_=_" })

	add(false, "no state", func(q string) string { return pair(q, "state", "") })
	add(false, "another state", func(q string) string { return pair(q, "state", "another") })
	add(false, "a second state", func(q string) string { return q + "&state=another" })
	add(false, "no iss", func(q string) string { return pair(q, "iss", "") })
	add(false, "another iss", func(q string) string { return pair(q, "iss", url.QueryEscape("https://other.example")) })
	add(false, "a second iss", func(q string) string { return q + "&iss=" + url.QueryEscape("https://other.example") })
	add(false, "a second code", func(q string) string { return q + "&code=another" })
	add(false, "an error beside the code", func(q string) string { return pair(q, "error", "access_denied") })
	return inList("OddRedirects", list)
}

// pair returns a query's pair another value, as it is written; "" takes it out.
func pair(query, name, value string) string {
	pairs := slices.DeleteFunc(strings.Split(query, "&"), func(p string) bool { return strings.HasPrefix(p, name+"=") })
	if value != "" {
		pairs = append(pairs, name+"="+value)
	}
	return strings.Join(pairs, "&")
}

// OddDeviceAnswers lists device authorization answers in other forms than RFC 8628
// section 3.2 has them. Those that are not Harmless must not be shown to a person.
// Error answers pass, and do not count for Fault.Times.
func OddDeviceAnswers() []Odd {
	var list []Odd
	add := func(harmless bool, name string, rewrite func(*Reply)) {
		list = append(list, Odd{Name: name, Harmless: harmless, Fault: inReplies("", DeviceAuthorizationEndpoint, func(r *Reply) bool {
			m, ok := readMembers(r.Body)
			return ok && m.get("device_code") != ""
		}, rewrite)})
	}
	add(true, "verification_url in place of verification_uri", inMembers(func(m members) string {
		return m.and("verification_url", m.get("verification_uri")).without("verification_uri").String()
	}))
	add(true, "numbers as strings", inMembers(func(m members) string {
		return m.with("expires_in", `"`+m.get("expires_in")+`"`).with("interval", `"5"`).String()
	}))
	add(true, "numbers with a fraction", inMembers(func(m members) string {
		return m.with("expires_in", m.get("expires_in")+".0").with("interval", "5.0").String()
	}))
	add(true, "interval null", is("interval", "null"))
	add(true, "interval an object", is("interval", "{}"))
	add(true, "interval 0", is("interval", "0"))
	add(true, "no verification_uri_complete", is("verification_uri_complete", ""))
	add(true, "verification_uri_complete null", is("verification_uri_complete", "null"))
	add(true, "error false", is("error", "false"))
	add(true, "unknown members", inMembers(func(m members) string { return m.and("message", `"Open the page."`).and("ext", nested(16)).String() }))
	add(true, "a byte order mark", func(r *Reply) { r.Body = []byte(byteOrderMark + string(r.Body)) })
	add(true, "as text/plain", func(r *Reply) { r.setType("text/plain") })
	add(true, "without a content type", func(r *Reply) { r.setType("") })

	add(false, "no device_code", is("device_code", ""))
	add(false, "no user_code", is("user_code", ""))
	add(false, "user_code with control characters", is("user_code", quoted(HostileText)))
	add(false, "no verification_uri", is("verification_uri", ""))
	add(false, "verification_uri over http", is("verification_uri", `"http://other.example/device"`))
	add(false, "verification_uri with control characters", is("verification_uri", quoted("https://other.example/\u009b2J\u202e")))
	add(false, "cut", func(r *Reply) { r.Body = r.Body[:len(r.Body)/2] })
	add(false, "a page of HTML", signIntoNetwork)
	return inList("OddDeviceAnswers", list)
}
