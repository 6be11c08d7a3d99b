package webhook_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/webhook"
)

func TestAttackATokenThatTheIssuerHasNotSignedIsRefused(t *testing.T) {
	const (
		unsigned  = "none of the issuer's keys has signed it"
		algorithm = "none of the algorithms"
		shape     = "no signed JWT"
		alphabet  = "holds what no token does"
	)
	spelt := func(change func(token string) string) func(s *site) func(*http.Request) {
		return func(s *site) func(*http.Request) { return bearing(change(s.token(s.claims(nil), nil))) }
	}
	parts := func(change func(header, payload, signature string) string) func(s *site) func(*http.Request) {
		return spelt(func(token string) string {
			p := strings.Split(token, ".")
			return change(p[0], p[1], p[2])
		})
	}
	symmetric := func(secret func(der []byte, key *ecdsa.PublicKey) []byte) func(s *site) func(*http.Request) {
		return func(s *site) func(*http.Request) {
			der, err := x509.MarshalPKIXPublicKey(s.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			return bearing(mac(secret(der, &s.key.PublicKey), `{"alg":"HS256","typ":"at+jwt","kid":"one"}`, s.payload(nil)))
		}
	}
	inPEM := func(der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	refused(t, nil, nil, []attack{
		{name: "alg none", status: 401, why: algorithm, change: func(s *site) func(*http.Request) {
			return bearing(encoded(`{"alg":"none","typ":"at+jwt"}`) + "." + encoded(s.payload(nil)) + ".")
		}},
		{name: "alg None with the signature left", status: 401, why: algorithm, change: headed(`{"alg":"None","typ":"at+jwt","kid":"one"}`)},
		{name: "no alg", status: 401, why: algorithm, change: headed(`{"typ":"at+jwt","kid":"one"}`)},
		{name: "alg in small letters", status: 401, why: algorithm, change: headed(`{"alg":"es256","typ":"at+jwt","kid":"one"}`)},
		{name: "alg an array", status: 401, why: algorithm, change: headed(`{"alg":["ES256"],"typ":"at+jwt","kid":"one"}`)},
		{name: "HS256 with the public key in DER", status: 401, why: algorithm, change: symmetric(func(der []byte, _ *ecdsa.PublicKey) []byte { return der })},
		{name: "HS256 with the public key in PEM", status: 401, why: algorithm, change: symmetric(func(der []byte, _ *ecdsa.PublicKey) []byte { return inPEM(der) })},
		{name: "HS256 with the public key in PEM without its last newline", status: 401, why: algorithm, change: symmetric(func(der []byte, _ *ecdsa.PublicKey) []byte {
			return []byte(strings.TrimSpace(string(inPEM(der))))
		})},
		{name: "HS256 with the public key as JWK", status: 401, why: algorithm, change: symmetric(func(_ []byte, key *ecdsa.PublicKey) []byte {
			text, _ := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "one", Use: "sig"})
			return text
		})},
		{name: "HS256 with nothing", status: 401, why: algorithm, change: symmetric(func([]byte, *ecdsa.PublicKey) []byte { return nil })},
		{name: "RS256 in the header of an EC key's signature", status: 401, why: unsigned, change: headed(`{"alg":"RS256","typ":"at+jwt","kid":"one"}`)},
		{name: "ES384 in the header of a P-256 key's signature", status: 401, why: unsigned, change: headed(`{"alg":"ES384","typ":"at+jwt","kid":"one"}`)},
		{name: "EdDSA in the header of an EC key's signature", status: 401, why: unsigned, change: headed(`{"alg":"EdDSA","typ":"at+jwt","kid":"one"}`)},
		{name: "signed by another key of that ID", status: 401, why: unsigned, change: func(s *site) func(*http.Request) {
			return bearing(by256(t, newKey(t), goodHeader, s.payload(nil)))
		}},
		{name: "signed by another key, without an ID", status: 401, why: unsigned, change: func(s *site) func(*http.Request) {
			return bearing(by256(t, newKey(t), `{"alg":"ES256","typ":"at+jwt"}`, s.payload(nil)))
		}},
		{name: "other claims under the signature", status: 401, why: unsigned, change: func(s *site) func(*http.Request) {
			return bearing(strings.Join([]string{encoded(goodHeader), encoded(s.payload(map[string]any{"jti": "2"})), strings.Split(s.compact(goodHeader, s.payload(nil)), ".")[2]}, "."))
		}},
		{name: "the signature gone", status: 401, why: unsigned, change: parts(func(h, p, _ string) string { return h + "." + p + "." })},
		{name: "the signature and its point gone", status: 401, why: shape, change: parts(func(h, p, _ string) string { return h + "." + p })},
		{name: "the signature cut", status: 401, why: unsigned, change: parts(func(h, p, s string) string { return h + "." + p + "." + s[:64] })},
		{name: "the signature of zeros", status: 401, why: unsigned, change: parts(func(h, p, _ string) string { return h + "." + p + "." + strings.Repeat("A", 86) })},
		{name: "the signature in DER", status: 401, why: unsigned, change: func(s *site) func(*http.Request) {
			input := encoded(goodHeader) + "." + encoded(s.payload(nil))
			hash := crypto.SHA256.New()
			hash.Write([]byte(input))
			der, err := ecdsa.SignASN1(rand.Reader, s.key, hash.Sum(nil))
			if err != nil {
				t.Fatal(err)
			}
			return bearing(input + "." + encoded(string(der)))
		}},
		{name: "the signature's last bits not zero", status: 401, why: "base64url", change: parts(func(h, p, s string) string {
			return h + "." + p + "." + s[:len(s)-1] + next(s[len(s)-1])
		})},
		{name: "the claims' last bits not zero", status: 401, why: "base64url", change: func(s *site) func(*http.Request) {
			p := s.payload(nil)
			p += strings.Repeat(" ", (4-len(p)%3)%3) // one byte over: four bits are for nothing
			token := strings.Split(s.compact(goodHeader, p), ".")
			return bearing(token[0] + "." + token[1][:len(token[1])-1] + next(token[1][len(token[1])-1]) + "." + token[2])
		}},
		{name: "padding", status: 401, why: "base64url", change: spelt(func(token string) string { return token + "==" })},
		{name: "standard base64", status: 401, why: "base64url", change: spelt(func(token string) string { return token[:len(token)-4] + "+/+/" })},
		{name: "a space inside", status: 401, why: alphabet, change: spelt(func(token string) string { return token[:20] + " " + token[20:] })},
		{name: "a tab behind", status: 401, why: alphabet, change: spelt(func(token string) string { return token + "\t" })},
		{name: "a comma and another token", status: 401, why: alphabet, change: spelt(func(token string) string { return token + ",Bearer x" })},
		{name: "a fourth part", status: 401, why: shape, change: spelt(func(token string) string { return token + ".e30" })},
		{name: "an encrypted token", status: 401, why: shape, change: spelt(func(string) string {
			return strings.Join([]string{encoded(`{"alg":"RSA-OAEP-256","enc":"A256GCM","typ":"at+jwt","kid":"one"}`), "a2V5", "aXY", "dGV4dA", "dGFn"}, ".")
		})},
		{name: "five parts, as an encrypted one has", status: 401, why: shape, change: spelt(func(token string) string { return token + ".e30.e30" })},
		{name: "a JWS in JSON", status: 401, why: alphabet, change: parts(func(h, p, s string) string {
			return `{"payload":"` + p + `","signatures":[{"protected":"` + h + `","signature":"` + s + `"}]}`
		})},
		{name: "a token in a token", status: 401, why: "its claims", change: func(s *site) func(*http.Request) {
			return bearing(s.compact(goodHeader, s.token(s.claims(nil), nil)))
		}},
		{name: "larger than a token is", status: 401, why: "too long", change: claiming(map[string]any{"pad": strings.Repeat("x", 16<<10)})},
		{name: "empty", status: 401, why: "it is empty", change: spelt(func(string) string { return "" })},
		{name: "points alone", status: 401, why: "its header", change: spelt(func(string) string { return ".." })},
		{name: "claims that are no object", status: 401, why: "its claims", change: func(s *site) func(*http.Request) {
			return bearing(s.compact(goodHeader, "["+s.payload(nil)+"]"))
		}},
		{name: "claims that are null", status: 401, why: "its claims", change: func(s *site) func(*http.Request) { return bearing(s.compact(goodHeader, "null")) }},
		{name: "two objects of claims", status: 401, why: "its claims", change: func(s *site) func(*http.Request) {
			return bearing(s.compact(goodHeader, s.payload(nil)+s.payload(nil)))
		}},
		{name: "claims that are not UTF-8", status: 401, why: "its claims", change: func(s *site) func(*http.Request) {
			return bearing(s.compact(goodHeader, strings.Replace(s.payload(nil), `"jti":"1"`, "\"jti\":\"\xff\"", 1)))
		}},
	})
}

// next is another letter of base64url that differs in the last bit alone.
func next(letter byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, letter)^1])
}

func TestAttackAHeaderThatBendsTheVerificationIsRefused(t *testing.T) {
	own := newKey(t)
	der := newAuthority(t).issue(2, x509.ExtKeyUsageAny).Certificate[0]
	x5c := `"x5c":["` + base64.StdEncoding.EncodeToString(der) + `"]`
	jwk, err := json.Marshal(public(own, "own"))
	if err != nil {
		t.Fatal(err)
	}
	bySelf := func(member string) func(s *site) func(*http.Request) {
		return func(s *site) func(*http.Request) {
			return bearing(by256(t, own, `{"alg":"ES256","typ":"at+jwt","kid":"one",`+member+`}`, s.payload(nil)))
		}
	}
	const (
		brings = "it brings its own key"
		twice  = "each name is there once"
		kind   = "a token of another kind (typ)"
		which  = "none of the issuer's keys has the ID"
	)
	refused(t, nil, nil, []attack{
		{name: "jwk", status: 401, why: brings, change: bySelf(`"jwk":` + string(jwk))},
		{name: "jwk of null, by the issuer's key", status: 401, why: brings, change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"one","jwk":null}`)},
		{name: "jku", status: 401, why: brings, change: bySelf(`"jku":"https://evil.example/keys"`)},
		{name: "x5u", status: 401, why: brings, change: bySelf(`"x5u":"https://evil.example/chain.pem"`)},
		{name: "x5c with an own key is not looked at", status: 401, why: "none of the issuer's keys has signed it", change: bySelf(x5c)},
		{name: "crit", status: 401, why: "it demands an extension", change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"one","crit":["exp"],"exp":1}`)},
		{name: "crit that is empty", status: 401, why: "it demands an extension", change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"one","crit":[]}`)},
		{name: "b64 false that is critical", status: 401, why: "it demands an extension", change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"one","b64":false,"crit":["b64"]}`)},
		{name: "b64 false alone", status: 401, why: "(b64)", change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"one","b64":false}`)},
		{name: "two alg", status: 401, why: twice, change: headed(`{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"one"}`)},
		{name: "two kid", status: 401, why: twice, change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"two","kid":"one"}`)},
		{name: "two kid, one of them escaped", status: 401, why: twice, change: headed(`{"alg":"ES256","typ":"at+jwt","\u006bid":"two","kid":"one"}`)},
		{name: "two typ", status: 401, why: twice, change: headed(`{"alg":"ES256","typ":"JWT","typ":"at+jwt","kid":"one"}`)},
		{name: "a header that is no object", status: 401, why: twice, change: headed(`["ES256"]`)},
		{name: "something behind the header", status: 401, why: twice, change: headed(goodHeader + `{}`)},
		{name: "kid of no key", status: 401, why: which, change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"two"}`)},
		{name: "kid in another case", status: 401, why: which, change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"ONE"}`)},
		{name: "kid a path", status: 401, why: which, change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"../../../../dev/null"}`)},
		{name: "kid of SQL", status: 401, why: which, change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"x' UNION SELECT 'key"}`)},
		{name: "kid with control characters", status: 401, why: which, change: headed(`{"alg":"ES256","typ":"at+jwt","kid":"one\u0000\r\nx"}`)},
		{name: "kid a number", status: 401, why: "(kid) is no text", change: headed(`{"alg":"ES256","typ":"at+jwt","kid":1}`)},
		{name: "kid an array", status: 401, why: "(kid) is no text", change: headed(`{"alg":"ES256","typ":"at+jwt","kid":["one"]}`)},
		{name: "kid null", status: 401, why: "(kid) is no text", change: headed(`{"alg":"ES256","typ":"at+jwt","kid":null}`)},
		{name: "no typ", status: 401, why: kind, change: headed(`{"alg":"ES256","kid":"one"}`)},
		{name: "an ID token, or any JWT", status: 401, why: kind, change: headed(`{"alg":"ES256","typ":"JWT","kid":"one"}`)},
		{name: "a logout token", status: 401, why: kind, change: headed(`{"alg":"ES256","typ":"logout+jwt","kid":"one"}`)},
		{name: "a proof of DPoP", status: 401, why: kind, change: headed(`{"alg":"ES256","typ":"dpop+jwt","kid":"one"}`)},
		{name: "typ of another tree", status: 401, why: kind, change: headed(`{"alg":"ES256","typ":"text/at+jwt","kid":"one"}`)},
		{name: "typ with application/ twice", status: 401, why: kind, change: headed(`{"alg":"ES256","typ":"application/application/at+jwt","kid":"one"}`)},
		{name: "typ with a space", status: 401, why: kind, change: headed(`{"alg":"ES256","typ":"at+jwt ","kid":"one"}`)},
		{name: "typ an array", status: 401, why: kind, change: headed(`{"alg":"ES256","typ":["at+jwt"],"kid":"one"}`)},
	})
	t.Run("what RFC 7515 lets stand in a header is taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t)
			for _, header := range []string{
				`{"alg":"ES256","typ":"application/at+jwt","kid":"one"}`, `{"alg":"ES256","typ":"AT+JWT","kid":"one"}`, `{"alg":"ES256","typ":"at+jwt"}`,
				`{"alg":"ES256","typ":"at+jwt","kid":"one","zip":"DEF","cty":"json",` + x5c + `}`,
			} {
				if w := s.answer(`{}`, headed(header)(s)); w.Code != http.StatusOK {
					t.Error(header, w.Code, s.why())
				}
			}
		})
	})
}

// rsaKey is of 2048 bits; weakKey of 1024.
var (
	rsaKey  = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	edKey   = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", 32))) })
	p384Key = sync.OnceValues(func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) })
)

func TestAttackAKeyVerifiesNothingThatItIsNotFor(t *testing.T) {
	r, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	e, err := p384Key()
	if err != nil {
		t.Fatal(err)
	}
	const unsigned = "none of the issuer's keys has signed it"
	signers := map[jose.SignatureAlgorithm]crypto.Signer{jose.RS256: r, jose.PS256: r, jose.ES384: e, jose.EdDSA: edKey()}
	for name, a := range map[string]struct {
		by      jose.SignatureAlgorithm
		changed map[string]any // members of the key
		why     string
	}{
		"a key for encryption":                  {jose.RS256, map[string]any{"use": "enc"}, unsigned},
		"a key of another algorithm":            {jose.RS256, map[string]any{"alg": "PS256"}, unsigned},
		"a key of another algorithm, its rival": {jose.PS256, map[string]any{"alg": "RS256"}, unsigned},
		"a key that may only sign":              {jose.RS256, map[string]any{"key_ops": []string{"sign"}}, unsigned},
		"a key that may encrypt":                {jose.EdDSA, map[string]any{"key_ops": []string{"encrypt", "wrapKey"}}, unsigned},
		"a key that may nothing":                {jose.ES384, map[string]any{"key_ops": []string{}}, unsigned},
		"a key of an algorithm of encryption":   {jose.RS256, map[string]any{"alg": "RSA-OAEP-256"}, unsigned},
		"another key has that ID":               {jose.RS256, map[string]any{"kid": "three"}, "none of the issuer's keys has the ID"},
		"the set calls it a symmetric key":      {jose.RS256, map[string]any{"kty": "oct", "k": "AAAA"}, "none of the issuer's keys has the ID"},
		"the set calls its curve another":       {jose.ES384, map[string]any{"crv": "P-256"}, "none of the issuer's keys has the ID"},
		"the set calls its kind another":        {jose.RS256, map[string]any{"kty": "EC"}, "none of the issuer's keys has the ID"},
		"a point that is on no curve":           {jose.ES384, map[string]any{"x": encoded(strings.Repeat("x", 48))}, "none of the issuer's keys has the ID"},
		"a modulus of 1,024 bits":               {jose.RS256, map[string]any{"n": encoded("\xff" + strings.Repeat("x", 127))}, "none of the issuer's keys has the ID"},
		"a modulus of 32,768 bits":              {jose.RS256, map[string]any{"n": encoded("\xff" + strings.Repeat("x", 4095))}, "none of the issuer's keys has the ID"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, changed := range []map[string]any{nil, a.changed} {
					s := inMemory(t, func(c *webhook.Config) {
						there := c.Keys
						c.Keys = func(ctx context.Context) ([]byte, error) {
							raw, err := there(ctx)
							return adding(t, raw, public(signers[a.by], "two"), changed), err
						}
					})
					w := s.answer(`{}`, bearing(signed(t, signers[a.by], a.by, s.claims(nil), map[string]any{"kid": "two"})))
					if changed != nil {
						s.refuses(w.Code, w.Header(), w.Body.String(), attack{status: 401, why: a.why})
					} else if w.Code != http.StatusOK {
						t.Fatal("the key as it is:", w.Code, s.why())
					}
				}
			})
		})
	}
}

// adding adds a key to a set, of which some members are others.
func adding(t *testing.T, set []byte, key jose.JSONWebKey, changed map[string]any) []byte {
	var all struct {
		Keys []map[string]any `json:"keys"`
	}
	var one map[string]any
	text, err := json.Marshal(key)
	if err == nil {
		err = errors.Join(json.Unmarshal(text, &one), json.Unmarshal(set, &all))
	}
	if err != nil {
		t.Error(err)
	}
	maps.Copy(one, changed)
	all.Keys = append(all.Keys, one)
	if text, err = json.Marshal(all); err != nil {
		t.Error(err)
	}
	return text
}
