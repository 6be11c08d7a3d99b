package authserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/fds-sdk/fds-go/fds"
)

// How an application authenticates itself (W4), by the names of RFC 7591 section 2.
const (
	authNone              = "none"
	authClientSecretBasic = "client_secret_basic"
	authClientSecretPost  = "client_secret_post"
	authTLS               = "tls_client_auth"
	authPrivateKeyJWT     = "private_key_jwt"
)

// authMethod chooses how the application authenticates (RFC 8414: without a list
// client_secret_basic is meant).
func (s *Server) authMethod(m *Metadata) string {
	switch {
	case s.settings.AuthMethod != "":
		return s.settings.AuthMethod
	case s.settings.Key != nil:
		return authPrivateKeyJWT
	case s.settings.ClientSecret.IsZero() && s.settings.Certificate != nil:
		return authTLS
	case s.settings.ClientSecret.IsZero():
		return authNone
	case slices.Contains(m.AuthMethods, authClientSecretPost) && !slices.Contains(m.AuthMethods, authClientSecretBasic):
		return authClientSecretPost
	}
	return authClientSecretBasic
}

// authenticate adds to a form what proves the application, except for
// client_secret_basic, which a header carries. An assertion is new each time.
func (s *Server) authenticate(m *Metadata, form url.Values) error {
	method := s.authMethod(m)
	if method != authClientSecretBasic {
		form.Set("client_id", s.settings.ClientID)
	}
	switch method {
	case authClientSecretPost:
		form.Set("client_secret", s.settings.ClientSecret.Reveal())
	case authPrivateKeyJWT:
		assertion, err := s.assertion(m)
		if err != nil {
			return err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	return nil
}

// authenticateHeader sets the header of client_secret_basic, both parts
// form-encoded (RFC 6749 section 2.3.1).
func (s *Server) authenticateHeader(m *Metadata, header http.Header) {
	if s.authMethod(m) == authClientSecretBasic {
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(s.settings.ClientID), url.QueryEscape(s.settings.ClientSecret.Reveal()))
	}
}

const assertionLifetime = time.Minute

// assertion makes the JWT of RFC 7523 section 3. It lives a minute, so a server's
// clock may be that far ahead of ours.
func (s *Server) assertion(m *Metadata) (string, error) {
	now := time.Now()
	audience := s.settings.AssertionAudience
	if audience == "" {
		audience = s.settings.Issuer
	}
	claims, err := json.Marshal(map[string]any{
		"iss": s.settings.ClientID,
		"sub": s.settings.ClientID,
		"aud": audience,
		"jti": rand.Text(),
		"iat": now.Unix(),
		"exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("fdsclient: client assertion: %w", err)
	}
	key := jose.SigningKey{Algorithm: s.keyAlgorithm(m), Key: cryptosigner.Opaque(s.settings.Key)}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if s.settings.KeyID != "" {
		options.WithHeader("kid", s.settings.KeyID)
	}
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return "", fmt.Errorf("fdsclient: client assertion: %w: Application.Key: %w", fds.ErrConfig, err)
	}
	signed, err := signer.Sign(claims)
	if err != nil { // the key may live in a device
		return "", fmt.Errorf("fdsclient: client assertion: Application.Key does not sign: %w", err)
	}
	return signed.CompactSerialize()
}

func (s *Server) keyAlgorithm(m *Metadata) jose.SignatureAlgorithm {
	if s.settings.KeyAlgorithm != "" {
		return jose.SignatureAlgorithm(s.settings.KeyAlgorithm)
	}
	fit := KeyAlgorithms(s.settings.Key)
	for _, listed := range m.AuthAlgorithms {
		if slices.Contains(fit, listed) {
			return jose.SignatureAlgorithm(listed)
		}
	}
	return jose.SignatureAlgorithm(fit[0])
}

// KeyAlgorithms returns what a key can sign with, the default first; none when it is of
// a kind or size that is not taken.
func KeyAlgorithms(key crypto.Signer) []string {
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() >= 2048 {
			return []string{"RS256", "PS256"}
		}
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			return []string{"ES256"}
		}
	}
	return nil
}
