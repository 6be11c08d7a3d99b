package authority

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// newIDToken signs an ID token, which hooks may change before. accessToken comes
// with it.
func (s *Server) newIDToken(clientID, accessToken string, claims map[string]any, hooks []*Hooks) (string, error) {
	changed := false
	header := map[string]any{"alg": signatureAlgorithm, "typ": "JWT", "kid": s.key.id}
	for _, h := range hooks {
		if h.IDToken != nil {
			h.IDToken(accessToken, header, claims)
			changed = true
		}
	}
	if !changed {
		return s.key.sign("JWT", claims)
	}
	client, _ := s.client(clientID)
	return s.key.signAs(header, claims, client.Secret)
}

// signAs signs as the header says, which no library does when that is wrong: HS256
// with the client's secret, or a random one where it has none, none not at all,
// everything else with the server's own key.
func (k signingKey) signAs(header, claims map[string]any, secret string) (string, error) {
	var input string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		input += base64.RawURLEncoding.EncodeToString(text) + "."
	}
	signed := input[:len(input)-1]
	var signature []byte
	switch header["alg"] {
	case "none":
	case "HS256":
		if secret == "" {
			secret = rand.Text()
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	default:
		digest := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, k.private, digest[:])
		if err != nil {
			return "", err
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...) // RFC 7518 section 3.4
	}
	return input + base64.RawURLEncoding.EncodeToString(signature), nil
}
