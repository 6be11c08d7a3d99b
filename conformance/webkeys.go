package conformance

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// mostKeys bounds the keys of the authorization server that are tried for a secret.
const mostKeys = 4

// confusedKeyTokens are signed by HMAC with what everybody knows: a server that lets the token say
// how it is verified takes the key of RS256 or ES256 for the secret of HS256 (RFC 8725 section
// 2.1).
func confusedKeyTokens(r *run, ctx context.Context, p *jwtParts) ([]forgery, string, error) {
	if p.opaque != "" {
		return nil, opaqueTokens, nil
	}
	header := copied(p.header)
	header["alg"] = "HS256"
	encoded, err := json.Marshal(header)
	if err != nil {
		return nil, "", err
	}
	content := base64.RawURLEncoding.EncodeToString(encoded) + "." + strings.TrimPrefix(p.rawAll, p.rawHeader+".")
	by := func(secret []byte) string {
		code := hmac.New(sha256.New, secret)
		code.Write([]byte(content)) // it never fails
		return content + "." + base64.RawURLEncoding.EncodeToString(code.Sum(nil))
	}
	forgeries := []forgery{{"with the token's claims under an HMAC without a secret", by(nil)}}
	for _, der := range r.publicKeys(ctx, p) {
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		forgeries = append(forgeries,
			forgery{"with the token's claims under an HMAC by the authorization server's public key in PEM", by(text)},
			forgery{"with the token's claims under an HMAC by the authorization server's public key in PEM, without the last line break", by([]byte(strings.TrimSpace(string(text))))},
			forgery{"with the token's claims under an HMAC by the authorization server's public key in DER", by(der)})
	}
	return forgeries, "", nil
}

// publicKeys returns the authorization server's key that a token names, or else all, in DER.
func (r *run) publicKeys(ctx context.Context, p *jwtParts) (encoded [][]byte) {
	address := r.endpoint("jwks_uri")
	if address == "" {
		return nil
	}
	way, err := r.transport(ctx)
	if err != nil {
		return nil
	}
	a := r.ask(ctx, way, http.MethodGet, address, nil, nil)
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if a.status != http.StatusOK || json.Unmarshal(a.body, &set) != nil {
		return nil
	}
	id, _ := p.header["kid"].(string)
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil || !key.IsPublic() || id != "" && key.KeyID != id {
			continue
		}
		if der, err := x509.MarshalPKIXPublicKey(key.Key); err == nil && len(encoded) < mostKeys {
			encoded = append(encoded, der)
		}
	}
	return encoded
}
