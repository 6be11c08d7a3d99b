package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"time"
)

// senderToken is an access token of a sender of webhooks, as introspection tells it.
type senderToken struct {
	claims  map[string]any
	expires time.Time
}

// SenderClaims are those of an access token by which a sender of webhooks is known to the
// application's endpoint, the audience (RFC 9068 section 2.2). The certificate, which may be nil,
// is what the token is bound to.
func (s *Server) SenderClaims(clientID, audience string, owners []string, certificate *x509.Certificate) (claims map[string]any, expires time.Time) {
	s.mu.Lock()
	lifetime := s.accessLifetime
	s.mu.Unlock()
	now := time.Now()
	expires = now.Add(lifetime)
	claims = map[string]any{
		"iss": s.issuer, "sub": clientID, "aud": audience, "client_id": clientID,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": wholeSeconds(expires), "jti": rand.Text(),
		s.claim: oneOrAll(owners),
	}
	if cnf := (binding{certificate: thumbprintOf(certificate)}).confirmation(); cnf != nil {
		claims["cnf"] = cnf
	}
	return claims, expires
}

// SignForSender makes an access token of the claims. Members of header are set in its JOSE header,
// those that are nil taken out of it. It is signed as the header then says, by key or by secret
// where these are given, else by the server's own key, of which the secret for HS256 and its kin
// is the public half in PEM.
func (s *Server) SignForSender(header, claims map[string]any, key crypto.Signer, secret []byte) (string, error) {
	own := s.keys.signing()
	all := map[string]any{"alg": signatureAlgorithm, "typ": accessTokenType, "kid": own.id}
	for name, value := range header {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	sound := key == nil && secret == nil && header == nil
	if key == nil {
		key = own.private
	}
	if secret == nil {
		der, err := x509.MarshalPKIXPublicKey(own.private.Public())
		if err != nil {
			return "", err
		}
		secret = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	token, err := signAs(all, claims, key, secret)
	if err != nil {
		return "", err
	}
	s.secrets.add(token)
	if sound && s.cfg.Introspection {
		s.knowSender(token, claims)
	}
	return token, nil
}

// OpaqueForSender makes an access token that is no JWT. Introspection answers with the claims.
func (s *Server) OpaqueForSender(claims map[string]any) string {
	token := newSecret()
	s.secrets.add(token)
	s.knowSender(token, claims)
	return token
}

func (s *Server) knowSender(token string, claims map[string]any) {
	t := senderToken{claims: maps.Clone(claims)}
	switch exp := claims["exp"].(type) {
	case int64:
		t.expires = time.Unix(exp, 0)
	case int:
		t.expires = time.Unix(int64(exp), 0)
	default: // a test's own
		t.expires = time.Now().Add(s.cfg.AccessTokenLifetime)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(time.Now())
	s.senderTokens[digestOf(token)] = t
}

// introspectSender tells a sender's token to any application that authenticates: each may have an
// endpoint. The caller holds the mutex.
func (s *Server) introspectSender(token digest, now time.Time) (map[string]any, bool) {
	t, known := s.senderTokens[token]
	if !known || !now.Before(t.expires) {
		return nil, false
	}
	answer := maps.Clone(t.claims)
	answer["active"], answer["token_type"] = true, "Bearer"
	return answer, true
}

// AddSecrets adds to what Secrets returns.
func (s *Server) AddSecrets(secrets ...string) { s.secrets.add(secrets...) }

// Introspects reports whether the server offers introspection.
func (s *Server) Introspects() bool { return s.cfg.Introspection }
