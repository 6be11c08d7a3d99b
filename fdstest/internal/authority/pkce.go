package authority

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"regexp"
)

var (
	verifierSyntax  = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) // RFC 7636 section 4.1
	challengeSyntax = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)       // 32 bytes, section 4.2
)

// checkChallenge demands a code challenge of the method S256 (RFC 9700 section
// 2.1.1). Without a method a challenge would be plain, so that is refused too.
func checkChallenge(p parameters) *protocolError {
	switch challenge, method := p.get("code_challenge"), p.get("code_challenge_method"); {
	case challenge == "":
		return invalidRequest("PKCE is required: code_challenge is missing")
	case method != "S256":
		return invalidRequest("PKCE is required with code_challenge_method=S256")
	case !challengeSyntax.MatchString(challenge):
		return invalidRequest("code_challenge is not the base64url form of a SHA-256 digest")
	}
	return nil
}

// provesChallenge reports whether verifier is what challenge was made from (RFC
// 7636 section 4.6).
func provesChallenge(verifier, challenge string) bool {
	if !verifierSyntax.MatchString(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}
