package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // of crypto.Hash
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// signAs makes a JWT and signs it as the header says, which no library does when that is wrong: by
// HS256 and its kin with secret, by none not at all, by everything else with key, as fits it.
func signAs(header, claims map[string]any, key crypto.Signer, secret []byte) (string, error) {
	var input string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		input += base64.RawURLEncoding.EncodeToString(text) + "."
	}
	algorithm, _ := header["alg"].(string)
	signature, err := signatureOf([]byte(input[:len(input)-1]), algorithm, key, secret)
	if err != nil {
		return "", err
	}
	return input + base64.RawURLEncoding.EncodeToString(signature), nil
}

// signatureOf is that of RFC 7518 section 3 and RFC 8037 section 3.1.
func signatureOf(input []byte, algorithm string, key crypto.Signer, secret []byte) ([]byte, error) {
	hash := crypto.SHA256
	switch {
	case strings.HasSuffix(algorithm, "384"):
		hash = crypto.SHA384
	case strings.HasSuffix(algorithm, "512"):
		hash = crypto.SHA512
	}
	switch {
	case strings.EqualFold(algorithm, "none"):
		return nil, nil
	case strings.HasPrefix(algorithm, "HS"):
		mac := hmac.New(hash.New, secret)
		mac.Write(input)
		return mac.Sum(nil), nil
	}
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			return nil, err
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
	case *rsa.PrivateKey:
		if strings.HasPrefix(algorithm, "PS") {
			return rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, k, hash, digest)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, input), nil
	}
	return nil, fmt.Errorf("a key of type %T signs no token; one of *ecdsa.PrivateKey, *rsa.PrivateKey and ed25519.PrivateKey does", key)
}
