package authority

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// requestURIPrefix is that of RFC 9126 section 2.2.
const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// pushedRequest is an authorization request that its client has sent ahead. It
// is filed under the digest of its request_uri.
type pushedRequest struct {
	request authorizationRequest
	pushed  time.Time
	expires time.Time
	used    bool
}

// demandsPush reports whether a client's authorization requests must be pushed.
func (s *Server) demandsPush(c Client) bool { return c.Pushed || s.cfg.PushedRequests == Required }

// servePushedRequest is the pushed authorization request endpoint (RFC 9126
// section 2).
func (s *Server) servePushedRequest(w http.ResponseWriter, r *http.Request) {
	answer, failure := s.push(r)
	if failure != nil {
		s.log.Info("pushed authorization request refused", "error", failure.code, "description", failure.description)
		failure.write(w)
		return
	}
	writeJSON(w, http.StatusCreated, answer)
}

func (s *Server) push(r *http.Request) (map[string]any, *protocolError) {
	client, form, failure := s.clientRequest(r)
	if failure != nil {
		return nil, failure
	}
	if form.get("request_uri") != "" {
		return nil, invalidRequest("request_uri cannot be pushed (RFC 9126 section 2.1)")
	}
	req, problem := s.redirectTarget(form) // authenticate has seen to it that client_id is the client's
	if problem != "" {
		return nil, invalidRequest(problem)
	}
	if failure := s.readRequest(&req, form); failure != nil {
		return nil, failure
	}
	key, failure := s.provenKey(r, false)
	switch {
	case failure != nil:
		return nil, failure
	case key == "":
	case req.keyDigest != "" && req.keyDigest != key:
		return nil, invalidRequest("dpop_jkt is not the thumbprint of the DPoP proof's key (RFC 9449 section 10.1)")
	default:
		req.keyDigest = key
	}
	uri, now := requestURIPrefix+newSecret(), time.Now()
	s.secrets.add(uri)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	makeRoom(s.pushed, func(p *pushedRequest) time.Time { return p.pushed })
	s.pushed[digestOf(uri)] = &pushedRequest{request: req, pushed: now, expires: now.Add(s.cfg.PushedRequestLifetime)}
	s.log.Info("authorization request pushed", "client", client.ID)
	return map[string]any{"request_uri": uri, "expires_in": wholeSecondsOf(s.cfg.PushedRequestLifetime)}, nil
}

// takePushed finds the request that an authorization request refers to, once.
// The other parameters, which may come along, are ignored (RFC 9126 section 4).
func (s *Server) takePushed(p parameters) (authorizationRequest, string) {
	uri := p.get("request_uri")
	s.secrets.add(uri)
	switch {
	case slices.Contains(p.repeated, "client_id") || slices.Contains(p.repeated, "request_uri"):
		return authorizationRequest{}, "The application sent client_id or request_uri more than once."
	case p.get("client_id") == "":
		return authorizationRequest{}, "The application did not send client_id beside request_uri."
	case !strings.HasPrefix(uri, requestURIPrefix):
		return authorizationRequest{}, "The request_uri that was sent is not one of this server's."
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pushed, known := s.pushed[digestOf(uri)]
	switch {
	case !known || !time.Now().Before(pushed.expires):
		return authorizationRequest{}, "The request_uri that was sent is unknown or has expired."
	case pushed.request.client.ID != p.get("client_id"):
		return authorizationRequest{}, "The request_uri that was sent is another application's."
	case pushed.used:
		return authorizationRequest{}, "The request_uri that was sent was used before."
	}
	pushed.used = true
	return pushed.request, ""
}
