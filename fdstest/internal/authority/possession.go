package authority

import (
	"net/http"

	"github.com/fds-sdk/fds-go/fdstest/internal/dpop"
)

// demandsProof reports whether a client's token requests need a DPoP proof.
func (s *Server) demandsProof(c Client) bool { return c.DPoP || s.cfg.DPoP == Required }

// bindingOf finds what the sender of a token request proves to hold, as far as
// its tokens shall be bound to it.
func (s *Server) bindingOf(r *http.Request, client Client) (binding, *protocolError) {
	var bound binding
	if client.CertificateBound {
		bound.certificate = thumbprintOf(certificateOf(r))
		if bound.certificate == "" {
			return binding{}, invalidRequest("the client's tokens are bound to its certificate, and the request has none: send it to the token endpoint of mtls_endpoint_aliases")
		}
	}
	var failure *protocolError
	if bound.key, failure = s.provenKey(r, s.cfg.DPoPTokenNonce); failure != nil {
		return binding{}, failure
	}
	if bound.key == "" && s.demandsProof(client) {
		return binding{}, refusal(dpop.InvalidProof, "the client's tokens are bound by DPoP, and the request has no DPoP header")
	}
	return bound, nil
}

// provenKey returns the thumbprint of the key that a request to this server
// proves, "" when it does not try to. A server without DPoP ignores the header,
// as it would any other.
func (s *Server) provenKey(r *http.Request, needsNonce bool) (string, *protocolError) {
	header := r.Header.Values("DPoP")
	if s.cfg.DPoP == Unsupported || len(header) == 0 {
		return "", nil
	}
	key, problem := s.proofs.Check(header, dpop.Request{Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), NeedsNonce: needsNonce})
	if problem != nil {
		return "", refusal(problem.Code, problem.Description)
	}
	return key, nil
}

// RotateNonces replaces the DPoP nonces of this server and of the Web API, and
// lets no earlier one serve.
func (s *Server) RotateNonces() {
	s.proofs.Rotate()
	s.apiProofs.Rotate()
}
