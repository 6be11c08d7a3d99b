package authority

import (
	"crypto/rand"
	"math"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	signatureAlgorithm = string(jose.ES256)
	accessTokenType    = "at+jwt" // RFC 9068 section 2.1
)

// reservedNames are taken in tokens, token answers or introspection answers, so
// none of them can hold the subscription IDs.
var reservedNames = []string{
	"iss", "sub", "aud", "exp", "iat", "jti", "nonce", "auth_time", "client_id", "scope", "cnf",
	"access_token", "refresh_token", "id_token", "token_type", "expires_in", "refresh_expires_in", "active",
}

func (k signingKey) sign(typ string, claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// oneOrAll is a string for one value and an array for several, as subscription IDs
// (W7) and audiences are.
func oneOrAll(values []string) any {
	if len(values) == 1 {
		return values[0]
	}
	return values
}

// accessClaims are those of an access token (RFC 9068 section 2.2).
func (s *Server) accessClaims(i issuance, owners []string, now, expires time.Time) map[string]any {
	claims := map[string]any{
		"iss": s.issuer, "sub": i.grant.subject, "aud": oneOrAll(i.audience),
		"iat": now.Unix(), "exp": wholeSeconds(expires), "jti": rand.Text(),
		"auth_time": i.grant.approved.Unix(), "client_id": i.grant.clientID, "scope": i.scope,
		s.claim: oneOrAll(owners),
	}
	if cnf := i.bound.confirmation(); cnf != nil {
		claims["cnf"] = cnf
	}
	return claims
}

// idClaims are those of an ID token (OpenID Connect Core 1.0 section 2). One
// that comes with a renewal has no nonce (section 12.2).
func (s *Server) idClaims(g *grant, owners []string, nonce string, now, expires time.Time) map[string]any {
	claims := map[string]any{
		"iss": s.issuer, "sub": g.subject, "aud": g.clientID,
		"iat": now.Unix(), "exp": wholeSeconds(expires),
		"auth_time": g.approved.Unix(),
		s.claim:     oneOrAll(owners),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	return claims
}

// wholeSeconds rounds up, so that a lifetime below one second does not end
// before it began; the server itself keeps the exact time.
func wholeSeconds(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// wholeSecondsOf rounds a lifetime up for expires_in.
func wholeSecondsOf(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
