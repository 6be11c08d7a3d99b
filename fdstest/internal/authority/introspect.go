package authority

import (
	"net/http"
	"strings"
	"time"
)

// serveIntrospection is the introspection endpoint (RFC 7662), for clients that
// authenticate, each for its own tokens and for those of senders of webhooks.
func (s *Server) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	client, form, failure := s.clientRequest(r)
	switch {
	case failure != nil:
	case client.public():
		failure = invalidClient("", "introspection is for clients that authenticate (RFC 7662 section 2.1)")
	case form.get("token") == "":
		failure = invalidRequest("token is missing")
	}
	if failure != nil {
		failure.write(w)
		return
	}
	writeJSON(w, http.StatusOK, s.introspect(client, digestOf(form.get("token")), time.Now()))
}

// introspect says nothing of a token that is not, or no longer, the client's
// (section 2.2).
func (s *Server) introspect(client Client, token digest, now time.Time) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer, known := s.introspectSender(token, now); known {
		return answer
	}
	answer := map[string]any{"active": true, "iss": s.issuer, "client_id": client.ID}
	var g *grant
	var subscription any
	if t, ok := s.accessTokens[token]; ok && !t.revoked && now.Before(t.expires) {
		g, subscription = t.grant, t.grant.standing(t.subscription)
		answer["token_type"] = t.bound.tokenType()
		answer["scope"] = t.scope
		answer["aud"] = oneOrAll(t.audience)
		answer["iat"], answer["exp"] = t.issued.Unix(), wholeSeconds(t.expires)
		if cnf := t.bound.confirmation(); cnf != nil {
			answer["cnf"] = cnf
		}
	} else if t, ok := s.refreshTokens[token]; ok && !t.used && now.Before(t.expires) {
		g, subscription = t.grant, oneOrAll(t.grant.owners)
		answer["scope"] = strings.Join(g.scope, " ")
		answer["iat"], answer["exp"] = t.issued.Unix(), wholeSeconds(t.expires)
	}
	if g == nil || g.revoked || g.clientID != client.ID {
		return map[string]any{"active": false}
	}
	answer["sub"] = g.subject
	if s.cfg.SubscriptionIn&InIntrospection != 0 && subscription != nil {
		answer[s.claim] = subscription
	}
	return answer
}
