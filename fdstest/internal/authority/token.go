package authority

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// Grant types, as requests and hooks name them.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
)

// serveToken is the token endpoint (RFC 6749 section 3.2).
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	answer, failure := s.token(r)
	if failure != nil {
		s.log.Info("token request refused", "error", failure.code, "description", failure.description)
		failure.write(w)
		return
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749 section 5.1
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) token(r *http.Request) (map[string]any, *protocolError) {
	form, failure := readForm(r)
	if failure != nil {
		return nil, failure
	}
	s.secrets.add(form.get("code"), form.get("code_verifier"), form.get("refresh_token"), form.get("client_secret"))
	if len(form.repeated) > 0 {
		return nil, invalidRequest("a parameter came more than once")
	}
	client, failure := s.authenticate(r, form)
	if failure != nil {
		return nil, failure
	}
	switch grantType := form.get("grant_type"); grantType {
	case GrantAuthorizationCode:
		return s.exchangeCode(client, form)
	case GrantRefreshToken:
		return s.renew(client, form)
	case "":
		return nil, invalidRequest("grant_type is missing")
	default:
		return nil, &protocolError{status: http.StatusBadRequest, code: "unsupported_grant_type", description: "this server knows authorization_code and refresh_token"}
	}
}

// exchangeCode answers an access token request (RFC 6749 section 4.1.3).
func (s *Server) exchangeCode(client Client, form parameters) (map[string]any, *protocolError) {
	for _, name := range []string{"code", "redirect_uri", "code_verifier"} {
		if form.get(name) == "" {
			return nil, invalidRequest(name + " is missing")
		}
	}
	now := time.Now()
	s.mu.Lock()
	s.sweep(now)
	code, known := s.codes[digestOf(form.get("code"))]
	var failure *protocolError
	switch {
	case !known || code.grant.clientID != client.ID:
		failure = invalidGrant("the code is unknown, or another client's")
	case code.used:
		code.grant.end("its authorization code was used twice") // RFC 6749 section 4.1.2
		failure = invalidGrant("the code was used before; what it gave is revoked")
	case !now.Before(code.expires):
		failure = invalidGrant("the code has expired")
	case code.grant.revoked:
		failure = invalidGrant("the grant was revoked: " + code.grant.revokedBy)
	case code.redirectURI != form.get("redirect_uri"):
		failure = invalidGrant("redirect_uri differs from that of the authorization request")
	case !provesChallenge(form.get("code_verifier"), code.challenge):
		failure = invalidGrant("code_verifier does not match the code_challenge")
	default:
		code.used = true
		code.forget = now.Add(s.refreshLifetime)
	}
	s.mu.Unlock()
	if failure != nil {
		return nil, failure
	}
	g := code.grant
	refresh := ""
	if g.has("offline_access") {
		refresh = s.newRefreshToken(g, now)
	}
	return s.issue(GrantAuthorizationCode, g, strings.Join(g.scope, " "), g.nonce, refresh, now)
}

func (s *Server) newRefreshToken(g *grant, now time.Time) string {
	token := newSecret()
	s.secrets.add(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshTokens[digestOf(token)] = &refreshToken{grant: g, expires: now.Add(s.refreshLifetime)}
	return token
}

// issue makes the answer of RFC 6749 section 5.1, with an ID token when openid
// was granted. refresh is left out when empty. Its lifetime goes into
// refresh_expires_in, which no standard has but several servers send.
func (s *Server) issue(grantType string, g *grant, scope, nonce, refresh string, now time.Time) (map[string]any, *protocolError) {
	s.mu.Lock()
	accessLifetime, refreshLifetime := s.accessLifetime, s.refreshLifetime
	s.mu.Unlock()
	expires := now.Add(accessLifetime)
	accessClaims := s.accessClaims(g, scope, now, expires)
	var idClaims map[string]any
	if g.has("openid") {
		idClaims = s.idClaims(g, nonce, now, expires)
	}
	hooks := s.hooks.all()
	for _, h := range hooks {
		if h.Claims != nil {
			h.Claims(grantType, accessClaims, idClaims)
		}
	}
	serverError := &protocolError{status: http.StatusInternalServerError, code: "server_error", description: "the token could not be signed"}
	access, err := s.key.sign(accessTokenType, accessClaims)
	if err != nil {
		return nil, serverError
	}
	s.secrets.add(access)
	answer := map[string]any{
		"access_token": access,
		"token_type":   "Bearer",
		"expires_in":   int64(math.Ceil(accessLifetime.Seconds())),
		"scope":        scope,
	}
	if refresh != "" {
		answer["refresh_token"] = refresh
		answer["refresh_expires_in"] = int64(math.Ceil(refreshLifetime.Seconds()))
	}
	if idClaims != nil {
		idToken, err := s.key.sign("JWT", idClaims)
		if err != nil {
			return nil, serverError
		}
		s.secrets.add(idToken)
		answer["id_token"] = idToken
	}
	s.mu.Lock()
	s.accessTokens[digestOf(access)] = &accessToken{grant: g, expires: expires}
	s.mu.Unlock()
	for _, h := range hooks {
		if h.TokenAnswer != nil {
			h.TokenAnswer(grantType, answer)
		}
	}
	s.log.Info("tokens issued", "grant_type", grantType, "client", g.clientID, "subscriptions", g.owners, "expires_in", accessLifetime)
	return answer, nil
}
