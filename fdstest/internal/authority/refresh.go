package authority

import (
	"slices"
	"strings"
)

// renew answers a refresh request (W10, RFC 6749 section 6). Each refresh token
// serves once. When it comes a second time, either the application or a thief
// holds a copy, and since nobody can tell which, the whole grant ends (RFC 9700
// section 4.14.2). Of several renewals at once with one token, one succeeds and
// its tokens die with the next. With a grace, a second use soon after the first
// is taken for that of an application that never got the answer.
func (s *Server) renew(req tokenRequest) (map[string]any, *protocolError) {
	if req.form.get("refresh_token") == "" {
		return nil, invalidRequest("refresh_token is missing")
	}
	rotate := !s.cfg.NoRotation
	for _, h := range s.hooks.all() {
		if h.KeepRefreshToken != nil && h.KeepRefreshToken() {
			rotate = false
		}
	}
	i, failure := s.spendRefreshToken(req, rotate)
	if failure != nil {
		return nil, failure
	}
	if rotate {
		i.refresh = s.newRefreshToken(i.grant, req.refreshBinding(), req.now)
	}
	return s.issue(i, req.now)
}

// spendRefreshToken checks everything before it marks the token used, so that a
// refused request costs the application nothing.
func (s *Server) spendRefreshToken(req tokenRequest, rotate bool) (issuance, *protocolError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(req.now)
	token, known := s.refreshTokens[digestOf(req.form.get("refresh_token"))]
	if !known || token.grant.clientID != req.client.ID {
		return issuance{}, invalidGrant("the refresh token is unknown, or another client's")
	}
	g := token.grant
	again := token.used && !token.graced && s.cfg.RefreshGrace > 0 && req.now.Sub(token.usedAt) < s.cfg.RefreshGrace
	switch {
	case g.revoked:
		return issuance{}, invalidGrant("the grant was revoked: " + g.revokedBy)
	case token.bound.key != "" && token.bound.key != req.bound.key:
		return issuance{}, invalidGrant("the refresh token is bound to a key, and the request has no DPoP proof of that key")
	case token.bound.certificate != "" && token.bound.certificate != req.bound.certificate:
		return issuance{}, invalidGrant("the refresh token is bound to another certificate")
	case token.used && !again:
		g.end("a used refresh token came again")
		return issuance{}, invalidGrant("the refresh token was used before; the grant is revoked")
	case !req.now.Before(token.expires):
		return issuance{}, invalidGrant("the refresh token has expired")
	}
	scope := strings.Fields(req.form.get("scope"))
	if len(scope) == 0 {
		scope = g.scope
	}
	for _, name := range scope {
		if !slices.Contains(g.scope, name) {
			return issuance{}, refusal("invalid_scope", "the scope is wider than what was granted")
		}
	}
	audience, failure := s.audienceOf(g, req.form)
	if failure != nil {
		return issuance{}, failure
	}
	switch {
	case again:
		token.graced = true
	case rotate:
		token.used, token.usedAt = true, req.now
	default:
		token.expires = req.now.Add(s.refreshLifetime)
	}
	return issuance{grantType: GrantRefreshToken, grant: g, scope: strings.Join(scope, " "), audience: audience, bound: req.bound}, nil
}
