package fdstest_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// verified checks an ID token's header and signature with the keys that can be read
// of a key set, and returns its claims.
func verified(keySet, token string) (claims map[string]any, ok bool) {
	members, _, whole := object(keySet)
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || !whole || len(parsed.Headers) != 1 {
		return nil, false
	}
	header := parsed.Headers[0]
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != "" && !strings.EqualFold(typ, "JWT") {
		return nil, false
	}
	keys, _ := members["keys"].([]any)
	for _, one := range keys {
		text, _ := json.Marshal(one)
		var key jose.JSONWebKey
		if key.UnmarshalJSON(text) != nil || header.KeyID != "" && key.KeyID != header.KeyID || key.Use == "enc" {
			continue
		}
		if _, ok := key.Key.(*ecdsa.PublicKey); ok && parsed.Claims(key.Key, &claims) == nil {
			return claims, true
		}
	}
	return nil, false
}

func TestOddKeySetsAreAsOddAsTheySay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c := newRaw(t, p, nil)
	tokens, err := p.IssueTokens("fdsdemo", p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	keys := func() answer {
		ans := c.send(http.MethodGet, p.Issuer()+"/keys", nil)
		if ans.err != nil {
			ans.header = http.Header{}
		}
		return ans
	}
	eachOdd(t, p, "OddKeySets", fdstest.OddKeySets(), keys, func(t *testing.T, odd fdstest.Odd, ans answer) {
		if strings.HasSuffix(odd.Name, " once") {
			if ans.status == http.StatusOK {
				t.Errorf("it answers %s", ans.body)
			}
			ans = keys()
		}
		if _, ok := verified(ans.body, tokens.IDToken); ok != odd.Harmless {
			t.Errorf("verified %v: %d %s", ok, ans.status, ans.body)
		}
	})
}

func TestOddIDTokensAreAsOddAsTheySay(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c, fleet := newRaw(t, p, nil), p.ConfidentialApplication()
	keys := c.send(http.MethodGet, p.Issuer()+"/keys", nil).body
	access, idToken := "", ""
	signIn := func() answer {
		form := approved(t, p, fleet.ID, "nonce", "the-nonce")
		tokens := c.token(clone(form, "client_secret", fleet.Secret)).succeeds(t, "sign-in")
		access, idToken = text(tokens, "access_token"), text(tokens, "id_token")
		parts := strings.Split(idToken, ".")
		for i := range parts[:min(2, len(parts))] {
			content, _ := base64.RawURLEncoding.DecodeString(parts[i])
			parts[i] = string(content)
		}
		// What is compared leaves dates out: how far they are from the approval stands in their
		// place.
		claims, ok := verified(keys, idToken)
		seconds := func(name string) float64 { n, _ := claims[name].(float64); return n }
		iat, exp := seconds("iat")-seconds("auth_time"), seconds("exp")-seconds("auth_time")
		return answer{status: len(parts), header: http.Header{"Content-Type": {fmt.Sprint(ok, iat >= 6, int(iat/60), int(exp/60))}}, body: strings.Join(parts[:min(2, len(parts))], "")}
	}
	year := 365 * 24 * time.Hour
	eachOdd(t, p, "OddIDTokens", fdstest.OddIDTokens(), signIn, func(t *testing.T, odd fdstest.Odd, ans answer) {
		claims, ok := verified(keys, idToken)
		date := func(name string) time.Duration { // from now; far away when it is none
			seconds, isNumber := claims[name].(float64)
			if !isNumber {
				return -100 * year
			}
			return time.Until(time.Unix(int64(seconds), 0))
		}
		sum := sha256.Sum256([]byte(access))
		audience, _ := claims["aud"].(string)
		if several, _ := claims["aud"].([]any); len(several) == 1 {
			audience, _ = several[0].(string)
		}
		sub, _ := claims["sub"].(string)
		valid := ok && claims["iss"] == p.Issuer() && audience == fleet.ID && claims["nonce"] == "the-nonce" && sub != "" &&
			(claims["azp"] == nil || claims["azp"] == fleet.ID) &&
			(claims["at_hash"] == nil || claims["at_hash"] == base64.RawURLEncoding.EncodeToString(sum[:16])) &&
			date("exp") > 0 && date("iat").Abs() < time.Hour && (claims["nbf"] == nil || date("nbf") < time.Hour)
		if valid != odd.Harmless {
			t.Errorf("valid %v: %s", valid, ans.body)
		}
	})
}

func TestAnIDTokenIsSignedAsItsHeaderSays(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	c, fleet := newRaw(t, p, nil), p.ConfidentialApplication()
	signIn := func(clientID, secret string) string {
		form := approved(t, p, clientID)
		if secret != "" {
			form.Set("client_secret", secret)
		}
		return text(c.token(form).succeeds(t, "sign-in"), "id_token")
	}
	defer p.Inject(fdstest.IDTokenHeader("alg", "HS256"))()
	for token, trusted := range map[string]bool{signIn(fleet.ID, fleet.Secret): true, signIn("fdsdemo", ""): false} {
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256})
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.Claims([]byte(fleet.Secret), &map[string]any{}); (err == nil) != trusted {
			t.Errorf("HS256 with the secret: %v", err)
		}
	}
	defer p.Inject(fdstest.IDTokenHeader("alg", "none"))()
	if token := signIn("fdsdemo", ""); strings.Count(token, ".") != 2 || !strings.HasSuffix(token, ".") {
		t.Errorf("alg none: %s", token)
	}
}
