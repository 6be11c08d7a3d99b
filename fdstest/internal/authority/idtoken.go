package authority

import "crypto/rand"

// newIDToken signs an ID token, which hooks may change before. accessToken comes
// with it.
func (s *Server) newIDToken(clientID, accessToken string, claims map[string]any, hooks []*Hooks) (string, error) {
	changed := false
	key := s.keys.signing()
	header := map[string]any{"alg": signatureAlgorithm, "typ": "JWT", "kid": key.id}
	for _, h := range hooks {
		if h.IDToken != nil {
			h.IDToken(accessToken, header, claims)
			changed = true
		}
	}
	if !changed {
		return key.sign("JWT", claims)
	}
	client, _ := s.client(clientID)
	secret := []byte(client.Secret)
	if len(secret) == 0 {
		secret = []byte(rand.Text())
	}
	return signAs(header, claims, key.private, secret)
}
