package authority

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxEchoed bounds state and nonce, in bytes.
const maxEchoed = 2048

// authorizationRequest is a checked request of RFC 6749 section 4.1.1.
type authorizationRequest struct {
	client      Client
	redirectURI string
	state       string
	nonce       string
	scope       []string
	challenge   string
	keyDigest   string   // dpop_jkt (RFC 9449 section 10), or ""
	resources   []string // RFC 8707
}

// serveAuthorization is the authorization endpoint. It answers GET and POST
// (OpenID Connect Core 1.0 section 3.1.2.1).
func (s *Server) serveAuthorization(w http.ResponseWriter, r *http.Request) {
	raw := r.URL.RawQuery
	if r.Method == http.MethodPost {
		var failure *protocolError
		if raw, failure = readFormBody(r); failure != nil {
			s.pageError(w, failure.status, failure.description)
			return
		}
	}
	p, err := parseParameters(raw)
	if err != nil {
		s.pageError(w, http.StatusBadRequest, "The request is not well-formed.")
		return
	}
	if s.cfg.PushedRequests != Unsupported && p.get("request_uri") != "" {
		req, problem := s.takePushed(p)
		if problem != "" {
			s.pageError(w, http.StatusBadRequest, problem)
			return
		}
		s.askPerson(w, r, pendingRequest{request: req})
		return
	}
	req, problem := s.redirectTarget(p)
	if problem != "" {
		s.pageError(w, http.StatusBadRequest, problem)
		return
	}
	failure := s.readRequest(&req, p)
	if s.demandsPush(req.client) {
		failure = invalidRequest("authorization requests must be pushed first, to the pushed_authorization_request_endpoint (RFC 9126)")
	}
	if failure != nil {
		s.respondError(w, r, req, failure)
		return
	}
	s.askPerson(w, r, pendingRequest{request: req})
}

// redirectTarget finds the application and where to send the person back. As
// long as one of the two is in doubt no redirect is safe, so the person is told
// instead (RFC 6749 section 4.1.2.1).
func (s *Server) redirectTarget(p parameters) (authorizationRequest, string) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		switch {
		case slices.Contains(p.repeated, name):
			return authorizationRequest{}, "The application sent " + name + " more than once."
		case p.get(name) == "":
			return authorizationRequest{}, "The application did not send " + name + "."
		}
	}
	client, known := s.client(p.get("client_id"))
	if !known {
		return authorizationRequest{}, "No application is registered under the client_id that was sent."
	}
	if !client.allowsRedirect(p.get("redirect_uri")) && !s.hooks.any(func(h *Hooks) func() bool { return h.AnyRedirect }) {
		return authorizationRequest{}, "The redirect_uri that was sent is not registered for " + client.Name + "."
	}
	return authorizationRequest{client: client, redirectURI: p.get("redirect_uri")}, ""
}

// readRequest checks the rest of the request; its errors go back to the
// application.
func (s *Server) readRequest(req *authorizationRequest, p parameters) *protocolError {
	if state := p.get("state"); !slices.Contains(p.repeated, "state") && len(state) <= maxEchoed {
		req.state = state
	}
	prompt := strings.Fields(p.get("prompt"))
	switch {
	case len(p.repeated) > 0:
		return invalidRequest("a parameter came more than once")
	case p.get("request") != "":
		return refusal("request_not_supported", "request objects are not supported")
	case p.get("request_uri") != "":
		return refusal("request_uri_not_supported", "request_uri is not supported")
	case p.get("response_type") == "":
		return invalidRequest("response_type is missing")
	case p.get("response_type") != "code":
		return refusal("unsupported_response_type", "this server knows response_type=code")
	case p.get("response_mode") != "" && p.get("response_mode") != "query":
		return invalidRequest("this server knows response_mode=query")
	case len(p.get("state")) > maxEchoed:
		return invalidRequest("state is longer than 2048 bytes")
	case len(p.get("nonce")) > maxEchoed:
		return invalidRequest("nonce is longer than 2048 bytes")
	case slices.Contains(prompt, "none") && len(prompt) > 1:
		return invalidRequest("prompt=none stands alone")
	}
	if failure := checkChallenge(p); failure != nil && (p.get("code_challenge") != "" || !s.hooks.any(func(h *Hooks) func() bool { return h.NoChallenge })) {
		return failure
	}
	if slices.Contains(prompt, "none") {
		return refusal("consent_required", "a person must approve every request here")
	}
	if s.cfg.DPoP != Unsupported {
		req.keyDigest = p.get("dpop_jkt")
		if req.keyDigest != "" && !challengeSyntax.MatchString(req.keyDigest) {
			return invalidRequest("dpop_jkt is not the base64url form of a SHA-256 digest")
		}
	}
	var failure *protocolError
	if req.resources, failure = s.requestedResources(p); failure != nil {
		return failure
	}
	req.nonce = p.get("nonce")
	req.challenge = p.get("code_challenge")
	// Without prompt=consent, offline_access is ignored (OpenID Connect Core 1.0
	// section 11).
	req.scope = knownScopes(p, slices.Contains(prompt, "consent"))
	return nil
}

// approve makes the code for the owners that the person chose, and sends the
// person back with it.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, req authorizationRequest, owners []string) {
	now := time.Now()
	code := newSecret()
	s.secrets.add(code)
	g := s.newGrant(req, owners, now)
	s.mu.Lock()
	s.codes[digestOf(code)] = &authorizationCode{
		grant: g, redirectURI: req.redirectURI, challenge: req.challenge, keyDigest: req.keyDigest,
		expires: now.Add(codeLifetime), forget: now.Add(codeLifetime),
	}
	s.mu.Unlock()
	if failure := s.keep(); failure != nil {
		s.respondError(w, r, req, failure)
		return
	}
	s.log.Info("consent given", "client", req.client.ID, "subscriptions", owners)
	s.respond(w, r, req, url.Values{"code": {code}})
}

func (s *Server) newGrant(req authorizationRequest, owners []string, now time.Time) *grant {
	return &grant{
		clientID: req.client.ID, subject: s.cfg.Subject, scope: req.scope, owners: owners,
		audience: s.granted(req.resources), nonce: req.nonce, approved: now,
	}
}

func (s *Server) respondError(w http.ResponseWriter, r *http.Request, req authorizationRequest, failure *protocolError) {
	s.log.Info("authorization refused", "client", req.client.ID, "error", failure.code, "description", failure.description)
	s.respond(w, r, req, url.Values{"error": {failure.code}, "error_description": {failure.description}})
}

// respond redirects to the application with state and iss added (RFC 6749
// section 4.1.2, RFC 9207 section 2). The status is 303, so that a browser
// never sends the form of the consent page along (RFC 9700 section 4.12).
func (s *Server) respond(w http.ResponseWriter, r *http.Request, req authorizationRequest, response url.Values) {
	if req.state != "" {
		response.Set("state", req.state)
	}
	response.Set("iss", s.issuer)
	hooks := s.hooks.all()
	for _, h := range hooks {
		if h.AuthorizationResponse != nil {
			h.AuthorizationResponse(response)
		}
	}
	query := response.Encode()
	for _, h := range hooks {
		if h.ResponseQuery != nil {
			query = h.ResponseQuery(query)
		}
	}
	separator := "?"
	if strings.Contains(req.redirectURI, "?") {
		separator = "&"
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", req.redirectURI+separator+query)
	w.WriteHeader(http.StatusSeeOther)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, "You are being sent back to the application.\n")
	}
}
