package authserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/keyset"
)

const (
	// notBefore is how far ahead of this machine's clock an ID token may begin.
	notBefore = 5 * time.Minute
	// issuedWithin is how far from this machine's clock an ID token may have been made. It is
	// meant for the token alone: a clock that is an hour off is no reason to refuse one.
	issuedWithin = 24 * time.Hour
	// MinSymmetricSecret is the length of a client secret, in bytes, with which ID tokens can
	// be verified (RFC 7518 section 3.2).
	MinSymmetricSecret = 32
)

// idTokenAlgorithms are those by which a key may sign an ID token: of the public ones
// those that the server lists, or all where it lists none.
func (m *Metadata) idTokenAlgorithms() []jose.SignatureAlgorithm {
	kept := slices.DeleteFunc(slices.Clone(keyset.Algorithms), func(a jose.SignatureAlgorithm) bool {
		return !slices.Contains(m.IDTokenAlgorithms, string(a))
	})
	if len(kept) == 0 {
		return keyset.Algorithms
	}
	return kept
}

// verifyIDToken checks the ID token of an answer by OpenID Connect Core section 3.1.3.7
// and RFC 8725 sections 3.1 and 3.11, and returns its subscription claim.
func (s *Server) verifyIDToken(ctx context.Context, m *Metadata, a Answer, nonce fds.Secret) (claims object, err error) {
	fail := func(format string, args ...any) (object, error) {
		return object{}, fmt.Errorf("fdsclient: sign-in: the ID token is refused: "+format, args...)
	}
	if a.ID.IsZero() {
		return fail("there is none, although openid was asked for and the provider does not say that it was not granted; ask it, or leave openid out of Application.Scopes")
	}
	names := []string{"iss", "sub", "aud", "exp", "nbf", "iat", "azp", "nonce", "at_hash", s.settings.SubscriptionClaim}
	header, claims, ok := readJWT(a.ID, names...)
	if !ok {
		return fail("it is no signed JWT (RFC 7519)")
	}
	if twice := claims.twice(names...); twice != "" {
		return fail("it has %s more than once", twice)
	}
	algorithm := header.text("alg")
	if typ := header.members["typ"]; typ != nil && !slices.Contains([]string{"jwt", "application/jwt"}, strings.ToLower(header.text("typ"))) {
		return fail("its type is %q, so it is a token of another kind", Describe(string(typ.raw)))
	}
	if err := s.verifySignature(ctx, m, a.ID, algorithm, header.text("kid")); err != nil {
		var refused refusedSignature
		if errors.As(err, &refused) {
			return fail("%s", refused)
		}
		return object{}, err
	}
	if why := s.claimsFault(m, a, &claims, algorithm, nonce); why != "" {
		return fail("%s", why)
	}
	return claims, nil
}

// claimsFault says why the claims are not those of this sign-in, or "".
func (s *Server) claimsFault(m *Metadata, a Answer, claims *object, algorithm string, nonce fds.Secret) string {
	now, clientID := time.Now(), s.settings.ClientID
	expires, made := claims.date("exp"), claims.date("iat")
	audience := audienceOf(claims)
	switch {
	case claims.text("iss") != m.Issuer:
		return fmt.Sprintf("it is of %q, not of %q", Describe(claims.text("iss")), m.Issuer)
	case !slices.Contains(audience, clientID):
		return "it is for another application"
	case claims.members["azp"] == nil && len(audience) > 1:
		return "it is for several applications and does not say for which it was made (azp)"
	case claims.members["azp"] != nil && claims.text("azp") != clientID:
		return "it was made for another application (azp)"
	case claims.text("sub") == "":
		return "it does not say of whom it is (sub)"
	case expires.IsZero():
		return "it does not say when it expires (exp)"
	case now.After(expires):
		return "it expired at " + expires.UTC().Format(time.RFC3339) + "; check this machine's clock"
	case claims.date("nbf").After(now.Add(notBefore)):
		return "it begins at " + claims.date("nbf").UTC().Format(time.RFC3339) + "; check this machine's clock"
	case made.IsZero():
		return "it does not say when it was made (iat)"
	case now.Sub(made).Abs() > issuedWithin:
		return "it was made at " + made.UTC().Format(time.RFC3339) + ", more than a day from now; check this machine's clock"
	case !fds.NewSecret(claims.text("nonce")).Equal(nonce):
		return "its nonce is not that of this sign-in, so it was made for another one"
	case claims.members["at_hash"] != nil && !isHashOf(claims.text("at_hash"), a.Access, algorithm):
		return "it came with another access token (at_hash)"
	}
	return ""
}

// audienceOf returns the applications that a token is for: one, or several.
func audienceOf(claims *object) (audience []string) {
	if one := claims.text("aud"); one != "" {
		return []string{one}
	}
	if json.Unmarshal(claims.raw("aud"), &audience) != nil {
		return nil
	}
	return audience
}

// isHashOf reports whether hash is that of a token by the hash of a signature algorithm
// (OpenID Connect Core section 3.1.3.6).
func isHashOf(hash string, token fds.Secret, algorithm string) bool {
	var by crypto.Hash
	switch {
	case strings.HasSuffix(algorithm, "256"):
		by = crypto.SHA256
	case strings.HasSuffix(algorithm, "384"):
		by = crypto.SHA384
	case strings.HasSuffix(algorithm, "512"), algorithm == string(jose.EdDSA):
		by = crypto.SHA512
	default:
		return false
	}
	h := by.New()
	h.Write([]byte(token.Reveal()))
	sum := h.Sum(nil)
	return subtle.ConstantTimeCompare([]byte(hash), []byte(base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]))) == 1
}

// refusedSignature says why a signature does not count. Other errors say that it could
// not be checked.
type refusedSignature string

func (e refusedSignature) Error() string { return string(e) }

// verifySignature checks an ID token's signature.
func (s *Server) verifySignature(ctx context.Context, m *Metadata, token fds.Secret, algorithm, keyID string) error {
	allowed := m.idTokenAlgorithms()
	symmetric := algorithm == string(jose.HS256) && s.settings.SymmetricIDTokens
	switch {
	case algorithm == "" || strings.EqualFold(algorithm, "none"):
		return refusedSignature("nobody has signed it")
	case symmetric: // and no key is needed
		allowed = []jose.SignatureAlgorithm{jose.HS256}
	case m.JWKSURI == "" && m.configured:
		// Endpoints given by hand, without keys: section 3.1.3.7 point 6 lets the TLS
		// connection to the token endpoint stand in for the signature.
		return nil
	case strings.HasPrefix(algorithm, "HS"):
		return refusedSignature("it is signed by " + Describe(algorithm) + ", with a secret in the place of a key; have the provider sign with a key, or turn Application.SymmetricIDTokens on if HS256 with the client secret will do")
	case m.JWKSURI == "":
		return refusedSignature("the provider's metadata name no jwks_uri, so that nobody can check who has signed it; ask the provider for the address of its keys and give it as Provider.Endpoints.JWKS")
	}
	signed, err := jose.ParseSignedCompact(token.Reveal(), allowed)
	if err != nil {
		return refusedSignature(Describe(err.Error(), token))
	}
	fits := func(key any) bool {
		payload, err := signed.Verify(key)
		return err == nil && bytes.Equal(payload, signed.UnsafePayloadWithoutVerification())
	}
	if symmetric {
		if secret := s.settings.ClientSecret.Reveal(); len(secret) < MinSymmetricSecret || !fits([]byte(secret)) {
			return refusedSignature("it is not signed with the client secret")
		}
		return nil
	}
	keys, err := s.keys(ctx, m, algorithm, keyID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(keys, fits) {
		return refusedSignature("none of the provider's keys has signed it")
	}
	return nil
}
