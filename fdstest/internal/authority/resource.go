package authority

import "slices"

// requestedResources reads the resource indicators of a request (RFC 8707
// section 2). A server without resources of its own ignores them.
func (s *Server) requestedResources(p parameters) ([]string, *protocolError) {
	if s.cfg.Resources == nil {
		return nil, nil
	}
	var requested []string
	for _, resource := range p.resources {
		if resource != s.audience && !slices.Contains(s.cfg.Resources, resource) {
			return nil, refusal("invalid_target", "this server issues no tokens for one of the resources")
		}
		if !slices.Contains(requested, resource) {
			requested = append(requested, resource)
		}
	}
	return requested, nil
}

// granted is the audience of a grant for which these resources were asked.
func (s *Server) granted(resources []string) []string {
	if len(resources) == 0 {
		return []string{s.audience}
	}
	return resources
}

// audienceOf is the audience of an access token: that of its grant, or the part
// of it that the token request names (RFC 8707 section 2.2).
func (s *Server) audienceOf(g *grant, form parameters) ([]string, *protocolError) {
	requested, failure := s.requestedResources(form)
	if failure != nil || len(requested) == 0 {
		return g.audience, failure
	}
	for _, resource := range requested {
		if !slices.Contains(g.audience, resource) {
			return nil, refusal("invalid_target", "one of the resources is not among those that were approved")
		}
	}
	return requested, nil
}
