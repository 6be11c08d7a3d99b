package authority

import (
	"slices"
	"strings"
)

// someClientCredentials reports whether any client may use the client credentials
// grant.
func (s *Server) someClientCredentials() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		if len(c.Credentials) > 0 {
			return true
		}
	}
	return false
}

// issueToClient answers a request of the client credentials grant (RFC 6749
// section 4.4). There is no person, so there is no ID token, and the client can
// come again, so there is no refresh token.
func (s *Server) issueToClient(req tokenRequest) (map[string]any, *protocolError) {
	if len(req.client.Credentials) == 0 {
		return nil, refusal("unauthorized_client", "the client is not registered for the client credentials grant")
	}
	for _, name := range strings.Fields(req.form.get("scope")) {
		if slices.Contains(scopesSupported, name) {
			return nil, refusal("invalid_scope", name+" needs a person, whom this grant does not have")
		}
	}
	resources, failure := s.requestedResources(req.form)
	if failure != nil {
		return nil, failure
	}
	g := &grant{
		clientID: req.client.ID, subject: req.client.ID, owners: req.client.Credentials,
		audience: s.granted(resources), approved: req.now,
	}
	return s.issue(issuance{grantType: GrantClientCredentials, grant: g, audience: g.audience, bound: req.bound}, req.now)
}
