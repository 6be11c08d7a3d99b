package authority

import "net/http"

// serveRevocation is the revocation endpoint (RFC 7009). A refresh token ends its
// whole grant, an access token only itself. An unknown token, or another
// client's, is answered with 200 like the rest (section 2.2).
func (s *Server) serveRevocation(w http.ResponseWriter, r *http.Request) {
	client, form, failure := s.clientRequest(r)
	if failure != nil {
		failure.write(w)
		return
	}
	given := form.get("token")
	if given == "" {
		invalidRequest("token is missing").write(w)
		return
	}
	// token_type_hint only speeds a search up (section 2.1), and this one needs
	// no help.
	s.revoke(client, digestOf(given))
	if failure := s.keep(); failure != nil {
		failure.write(w)
		return
	}
	s.log.Info("token revoked", "client", client.ID)
	w.WriteHeader(http.StatusOK)
}

func (s *Server) revoke(client Client, token digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.refreshTokens[token]; ok && t.grant.clientID == client.ID {
		t.grant.end("revoked by the application")
		return
	}
	if t, ok := s.accessTokens[token]; ok && t.grant.clientID == client.ID {
		t.revoked = true
	}
}
