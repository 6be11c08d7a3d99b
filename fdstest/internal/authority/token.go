package authority

import (
	"net/http"
	"strings"
	"time"
)

// Grant types, as requests and hooks name them.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628 section 3.4
)

// serveToken is the token endpoint (RFC 6749 section 3.2).
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	answer, failure := s.token(r)
	if unkept := s.keep(); unkept != nil { // also after a refusal, which may have ended a grant
		failure = unkept
	}
	if s.cfg.DPoPTokenNonce {
		w.Header().Set("DPoP-Nonce", s.proofs.Nonce()) // RFC 9449 section 8.2
	}
	if failure != nil {
		s.log.Info("token request refused", "error", failure.code, "description", failure.description)
		failure.write(w)
		return
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749 section 5.1
	writeJSON(w, http.StatusOK, answer)
}

// tokenRequest is a request to the token endpoint whose client is known.
type tokenRequest struct {
	client Client
	form   parameters
	bound  binding // what the request proves to hold, and the access token shall be bound to
	now    time.Time
}

func (s *Server) token(r *http.Request) (map[string]any, *protocolError) {
	client, form, failure := s.clientRequest(r)
	if failure != nil {
		return nil, failure
	}
	req := tokenRequest{client: client, form: form, now: time.Now()}
	if req.bound, failure = s.bindingOf(r, client); failure != nil {
		return nil, failure
	}
	switch grantType := form.get("grant_type"); {
	case grantType == GrantAuthorizationCode:
		return s.exchangeCode(req)
	case grantType == GrantRefreshToken:
		return s.renew(req)
	case grantType == GrantClientCredentials && s.someClientCredentials():
		return s.issueToClient(req)
	case grantType == GrantDeviceCode && s.cfg.DeviceGrant:
		return s.pollDevice(req)
	case grantType == "":
		return nil, invalidRequest("grant_type is missing")
	}
	return nil, refusal("unsupported_grant_type", "this server knows "+strings.Join(s.grantTypes(), ", "))
}

// grantTypes are those that the server offers as it is configured.
func (s *Server) grantTypes() []string {
	types := []string{GrantAuthorizationCode, GrantRefreshToken}
	if s.someClientCredentials() {
		types = append(types, GrantClientCredentials)
	}
	if s.cfg.DeviceGrant {
		types = append(types, GrantDeviceCode)
	}
	return types
}

// exchangeCode answers an access token request (RFC 6749 section 4.1.3).
func (s *Server) exchangeCode(req tokenRequest) (map[string]any, *protocolError) {
	client, form, now := req.client, req.form, req.now
	for _, name := range []string{"code", "redirect_uri", "code_verifier"} {
		if form.get(name) == "" && (name != "code_verifier" || !s.hooks.any(func(h *Hooks) func() bool { return h.NoChallenge })) {
			return nil, invalidRequest(name + " is missing")
		}
	}
	again := s.hooks.any(func(h *Hooks) func() bool { return h.ReuseCode })
	anyVerifier := s.hooks.any(func(h *Hooks) func() bool { return h.AnyVerifier })
	s.mu.Lock()
	s.sweep(now)
	code, known := s.codes[digestOf(form.get("code"))]
	var audience []string
	var failure *protocolError
	switch {
	case !known || code.grant.clientID != client.ID:
		failure = invalidGrant("the code is unknown, or another client's")
	case code.used && !again:
		code.grant.end("its authorization code was used twice") // RFC 6749 section 4.1.2
		failure = invalidGrant("the code was used before; what it gave is revoked")
	case !now.Before(code.expires):
		failure = invalidGrant("the code has expired")
	case code.grant.revoked:
		failure = invalidGrant("the grant was revoked: " + code.grant.revokedBy)
	case code.redirectURI != form.get("redirect_uri"):
		failure = invalidGrant("redirect_uri differs from that of the authorization request")
	case code.challenge != "" && !anyVerifier && !provesChallenge(form.get("code_verifier"), code.challenge):
		failure = invalidGrant("code_verifier does not match the code_challenge")
	case code.keyDigest != "" && code.keyDigest != req.bound.key:
		failure = invalidGrant("the authorization request named another key in dpop_jkt than that of the DPoP proof")
	default:
		if audience, failure = s.audienceOf(code.grant, form); failure == nil {
			code.used = true
			code.forget = now.Add(s.refreshLifetime)
		}
	}
	s.mu.Unlock()
	if failure != nil {
		return nil, failure
	}
	g := code.grant
	refresh := ""
	if g.has("offline_access") {
		refresh = s.newRefreshToken(g, req.refreshBinding(), now)
	}
	return s.issue(issuance{
		grantType: GrantAuthorizationCode, grant: g, scope: strings.Join(g.scope, " "), nonce: g.nonce,
		audience: audience, bound: req.bound, refresh: refresh,
	}, now)
}

// refreshBinding is that of a refresh token. A confidential client proves itself
// anyway (RFC 9449 section 5, RFC 8705 section 4).
func (r tokenRequest) refreshBinding() binding {
	if r.client.public() {
		return r.bound
	}
	return binding{}
}

func (s *Server) newRefreshToken(g *grant, bound binding, now time.Time) string {
	token := newSecret()
	s.secrets.add(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshTokens[digestOf(token)] = &refreshToken{grant: g, bound: bound, issued: now, expires: now.Add(s.refreshLifetime)}
	return token
}

// issuance is what a token answer is made of.
type issuance struct {
	grantType string
	grant     *grant
	scope     string
	audience  []string // of the access token
	nonce     string   // of the ID token, or ""
	bound     binding
	refresh   string         // the refresh token, or ""
	answer    map[string]any // one that was given before and is given again, or nil
}

// issue makes the answer of RFC 6749 section 5.1, with an ID token when openid
// was granted. The refresh token's lifetime goes into refresh_expires_in, which
// no standard has but several servers send.
func (s *Server) issue(i issuance, now time.Time) (map[string]any, *protocolError) {
	g := i.grant
	s.mu.Lock()
	accessLifetime, refreshLifetime := s.accessLifetime, s.refreshLifetime
	owners := g.owners
	s.mu.Unlock()
	expires := now.Add(accessLifetime)
	accessClaims := s.accessClaims(i, owners, now, expires)
	var idClaims map[string]any
	if g.has("openid") {
		idClaims = s.idClaims(g, owners, i.nonce, now, expires)
	}
	hooks := s.hooks.all()
	for _, h := range hooks {
		if h.Claims != nil {
			h.Claims(i.grantType, accessClaims, idClaims)
		}
	}
	subscription := accessClaims[s.claim]
	if s.cfg.SubscriptionIn&InAccessToken == 0 {
		delete(accessClaims, s.claim)
	}
	if s.cfg.SubscriptionIn&InIDToken == 0 && idClaims != nil {
		delete(idClaims, s.claim)
	}
	access, err := s.newAccessToken(accessClaims)
	if err != nil {
		return nil, notSigned()
	}
	s.secrets.add(access)
	answer := map[string]any{
		"access_token": access,
		"token_type":   i.bound.tokenType(),
		"expires_in":   wholeSecondsOf(accessLifetime),
		"scope":        i.scope,
	}
	if i.refresh != "" {
		answer["refresh_token"] = i.refresh
		answer["refresh_expires_in"] = wholeSecondsOf(refreshLifetime)
	}
	if idClaims != nil {
		idToken, err := s.newIDToken(g.clientID, access, idClaims, hooks)
		if err != nil {
			return nil, notSigned()
		}
		s.secrets.add(idToken)
		answer["id_token"] = idToken
	}
	if s.cfg.SubscriptionIn&InTokenAnswer != 0 && subscription != nil {
		answer[s.claim] = subscription
	}
	s.mu.Lock()
	s.accessTokens[digestOf(access)] = &accessToken{
		grant: g, bound: i.bound, scope: i.scope, audience: i.audience, subscription: subscription, issued: now, expires: expires,
	}
	s.mu.Unlock()
	for _, h := range hooks {
		if h.TokenAnswer != nil {
			h.TokenAnswer(i.grantType, answer)
		}
	}
	s.log.Info("tokens issued", "grant_type", i.grantType, "client", g.clientID, "subscriptions", owners, "expires_in", accessLifetime)
	return answer, nil
}

func notSigned() *protocolError {
	return &protocolError{status: http.StatusInternalServerError, code: "server_error", description: "the token could not be signed"}
}

func (s *Server) newAccessToken(claims map[string]any) (string, error) {
	if s.cfg.OpaqueTokens {
		return newSecret(), nil
	}
	return s.keys.signing().sign(accessTokenType, claims)
}
