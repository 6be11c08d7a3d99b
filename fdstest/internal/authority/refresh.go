package authority

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// renew answers a refresh request (W10, RFC 6749 section 6). Each refresh token
// serves once. When it comes a second time, either the application or a thief
// holds a copy, and since nobody can tell which, the whole grant ends (RFC 9700
// section 4.14.2). Of several renewals at once with one token, one succeeds and
// its tokens die with the next.
func (s *Server) renew(client Client, form parameters) (map[string]any, *protocolError) {
	given := form.get("refresh_token")
	if given == "" {
		return nil, invalidRequest("refresh_token is missing")
	}
	rotate := s.rotate
	for _, h := range s.hooks.all() {
		if h.KeepRefreshToken != nil && h.KeepRefreshToken() {
			rotate = false
		}
	}
	now := time.Now()
	g, scope, failure := s.spendRefreshToken(client, given, strings.Fields(form.get("scope")), rotate, now)
	if failure != nil {
		return nil, failure
	}
	next := ""
	if rotate {
		next = s.newRefreshToken(g, now)
	}
	return s.issue(GrantRefreshToken, g, strings.Join(scope, " "), "", next, now)
}

func (s *Server) spendRefreshToken(client Client, given string, scope []string, rotate bool, now time.Time) (*grant, []string, *protocolError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	token, known := s.refreshTokens[digestOf(given)]
	if !known || token.grant.clientID != client.ID {
		return nil, nil, invalidGrant("the refresh token is unknown, or another client's")
	}
	g := token.grant
	switch {
	case g.revoked:
		return nil, nil, invalidGrant("the grant was revoked: " + g.revokedBy)
	case token.used:
		g.end("a used refresh token came again")
		return nil, nil, invalidGrant("the refresh token was used before; the grant is revoked")
	case !now.Before(token.expires):
		return nil, nil, invalidGrant("the refresh token has expired")
	}
	if len(scope) == 0 {
		scope = g.scope
	}
	for _, name := range scope {
		if !slices.Contains(g.scope, name) {
			return nil, nil, &protocolError{status: http.StatusBadRequest, code: "invalid_scope", description: "the scope is wider than what was granted"}
		}
	}
	if rotate {
		token.used = true
	} else {
		token.expires = now.Add(s.refreshLifetime)
	}
	return g, scope, nil
}
