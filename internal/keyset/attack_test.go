package keyset

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const (
	goodEC = `{"kty":"EC","crv":"P-256","kid":"good","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	goodEd = `{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
)

func TestAttackAHostileSetOfKeysHarmsNoGoodKeyInIt(t *testing.T) {
	for name, bad := range map[string]string{
		"a symmetric key":          `{"kty":"oct","kid":"bad","alg":"HS256","k":"AAAA"}`,
		"a private key's number":   `{"kty":"EC","crv":"P-256","kid":"bad","d":"AAAA"}`,
		"a point on no curve":      `{"kty":"EC","crv":"P-256","kid":"bad","x":"AAAA","y":"AAAA"}`,
		"a small modulus":          `{"kty":"RSA","kid":"bad","n":"AQAB","e":"AQAB"}`,
		"a huge modulus":           `{"kty":"RSA","kid":"bad","n":"` + strings.Repeat("_", 100_000) + `","e":"AQAB"}`,
		"a huge exponent":          `{"kty":"RSA","kid":"bad","n":"AQAB","e":"` + strings.Repeat("_", 100_000) + `"}`,
		"an unknown curve":         `{"kty":"EC","crv":"secp256k1","kid":"bad","x":"AAAA","y":"AAAA"}`,
		"a key of agreement":       `{"kty":"OKP","crv":"X25519","kid":"bad","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
		"an unknown kind":          `{"kty":"AKP","kid":"bad","pub":"AAAA"}`,
		"members of another type":  `{"kty":["EC"],"kid":{"a":1},"x":7,"y":null}`,
		"no object":                `"bad"`,
		"null":                     `null`,
		"an array":                 `[[[[]]]]`,
		"certificates that are no": goodlike(`"x5c":["AAAA",7,null],"x5t":1`),
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Parse([]byte(`{"keys":[` + bad + `,` + goodEC + `,` + goodEd + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			if fit, named := set.Fitting("ES256", "good"); len(fit) != 1 || !named {
				t.Error("the good key of P-256:", fit, named)
			}
			if fit, _ := set.Fitting("EdDSA", "ed"); len(fit) != 1 {
				t.Error("the good key of Ed25519:", fit)
			}
			for _, algorithm := range []string{"none", "", "HS256", "dir", "RS256", "ES384", "Ed25519"} {
				if fit, _ := set.Fitting(algorithm, "good"); len(fit) != 0 {
					t.Error(algorithm, fit)
				}
			}
			if set.Names("bad") && name != "certificates that are no" {
				t.Error("the bad key counts")
			}
		})
	}
}

// goodlike is a key that is good, but for what is not looked at.
func goodlike(members string) string {
	return `{"kty":"EC","crv":"P-256","kid":"bad","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",` + members + `}`
}

func TestAttackASetOfKeysIsBounded(t *testing.T) {
	if _, err := Parse(bytes.Repeat([]byte(" "), MaxBytes+1)); err == nil {
		t.Error("a set of more than 1 MiB is read")
	}
	set, err := Parse([]byte(`{"keys":[` + strings.Repeat(goodEd+",", 2000) + goodEC + `]}`))
	if err != nil || set.Len() != maxKeys || set.Names("good") {
		t.Errorf("%d keys, %v", set.Len(), err)
	}
	for _, text := range []string{``, `[]`, `null`, `{}`, `{"keys":null}`, `{"keys":{}}`, `{"keys":"x"}`, `<html>`, strings.Repeat("[", 1<<19)} {
		if _, err := Parse([]byte(text)); err == nil || len(err.Error()) > 100 {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if _, err := Parse([]byte(`{"keys":[` + goodEd)); !errors.Is(err, ErrCut) {
		t.Error("a set that is cut:", err)
	}
}

func FuzzASetOfKeys(f *testing.F) {
	for _, seed := range []string{`{"keys":[` + goodEC + `]}`, `{"keys":[` + goodEd + `,{"kty":"RSA","n":"AQAB","e":"AQAB","key_ops":"verify,sign"}]}`, "\xef\xbb\xbf{\"keys\":[1]}", `{"keys":[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse(data)
		if err != nil {
			return
		}
		if set.Len() > maxKeys {
			t.Error(set.Len())
		}
		for _, algorithm := range []string{"none", "HS256", "RS256", "ES256", "ES384", "ES512", "PS256", "EdDSA"} {
			if fit, _ := set.Fitting(algorithm, ""); len(fit) > 0 && (algorithm == "none" || algorithm == "HS256") {
				t.Error(algorithm)
			}
		}
	})
}
