package authority

import (
	"slices"
	"strings"
	"time"
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
	hooks := s.hooks.all()
	rotate, replay := !s.cfg.NoRotation, false
	for _, h := range hooks {
		if h.RefuseRenewal != nil {
			if code, description, refuse := h.RefuseRenewal(); refuse {
				return nil, refusal(code, description)
			}
		}
		if h.KeepRefreshToken != nil && h.KeepRefreshToken() {
			rotate = false
		}
		replay = replay || h.ReplayRenewal != nil
	}
	if replay {
		s.replays <- struct{}{} // so that who comes second finds the answer
		defer func() { <-s.replays }()
	}
	i, token, failure := s.spendRefreshToken(req, rotate, hooks)
	if failure != nil || i.answer != nil {
		return i.answer, failure
	}
	if rotate {
		i.refresh = s.newRefreshToken(i.grant, req.refreshBinding(), req.now)
	}
	for _, h := range hooks {
		if i.bound.key != "" && h.UnbindRenewal != nil && h.UnbindRenewal() {
			i.bound.key = ""
		}
	}
	answer, failure := s.issue(i, req.now)
	if replay && rotate && failure == nil {
		s.mu.Lock()
		token.answer = answer
		s.mu.Unlock()
	}
	return answer, failure
}

// spendRefreshToken checks everything before it marks the token used, so that a
// refused request costs the application nothing.
func (s *Server) spendRefreshToken(req tokenRequest, rotate bool, hooks []*Hooks) (issuance, *refreshToken, *protocolError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(req.now)
	token, known := s.refreshTokens[digestOf(req.form.get("refresh_token"))]
	if !known || token.grant.clientID != req.client.ID {
		return issuance{}, nil, invalidGrant("the refresh token is unknown, or another client's")
	}
	g := token.grant
	again := token.used && !token.graced && s.cfg.RefreshGrace > 0 && req.now.Sub(token.usedAt) < s.cfg.RefreshGrace
	switch {
	case g.revoked:
		return issuance{}, nil, invalidGrant("the grant was revoked: " + g.revokedBy)
	case token.bound.key != "" && token.bound.key != req.bound.key:
		return issuance{}, nil, invalidGrant("the refresh token is bound to a key, and the request has no DPoP proof of that key")
	case token.bound.certificate != "" && token.bound.certificate != req.bound.certificate:
		return issuance{}, nil, invalidGrant("the refresh token is bound to another certificate")
	case token.answer != nil && replays(hooks, req.now.Sub(token.usedAt)):
		return issuance{answer: token.answer}, token, nil
	case token.used && !again && !slices.ContainsFunc(hooks, func(h *Hooks) bool { return h.ReuseRefreshToken != nil && h.ReuseRefreshToken() }):
		g.end("a used refresh token came again")
		return issuance{}, nil, invalidGrant("the refresh token was used before; the grant is revoked")
	case !req.now.Before(token.expires):
		return issuance{}, nil, invalidGrant("the refresh token has expired")
	}
	scope := strings.Fields(req.form.get("scope"))
	if len(scope) == 0 {
		scope = g.scope
	}
	for _, name := range scope {
		if !slices.Contains(g.scope, name) {
			return issuance{}, nil, refusal("invalid_scope", "the scope is wider than what was granted")
		}
	}
	audience, failure := s.audienceOf(g, req.form)
	if failure != nil {
		return issuance{}, nil, failure
	}
	switch {
	case again:
		token.graced = true
	case rotate:
		token.used, token.usedAt = true, req.now
	default:
		token.expires = req.now.Add(s.refreshLifetime)
	}
	return issuance{grantType: GrantRefreshToken, grant: g, scope: strings.Join(scope, " "), audience: audience, bound: req.bound}, token, nil
}

func replays(hooks []*Hooks, ago time.Duration) bool {
	return slices.ContainsFunc(hooks, func(h *Hooks) bool { return h.ReplayRenewal != nil && h.ReplayRenewal(ago) })
}
