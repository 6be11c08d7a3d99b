package authserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/fds-sdk/fds-go/fds"
)

// Presented asks the server about a token that somebody presents (RFC 7662), and returns those
// members of its answer that have one of the names, as a JSON object. An answer that has one of them
// twice is an error.
func (s *Server) Presented(ctx context.Context, token fds.Secret, names ...string) ([]byte, error) {
	const what = "introspection"
	m, err := s.discovery.get(ctx)
	if err != nil {
		return nil, err
	}
	if m.IntrospectionEndpoint == "" {
		return nil, fmt.Errorf("fdsclient: %s: %w: the provider's metadata name no introspection_endpoint; set Provider.Endpoints.Introspection", what, fds.ErrConfig)
	}
	r, err := s.send(ctx, m, &call{
		what: what, endpoint: what, name: "introspection_endpoint", address: m.IntrospectionEndpoint,
		form: url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}, names: names,
	})
	if err != nil {
		return nil, err
	}
	if !r.ok() {
		return nil, s.refusal(&r)
	}
	if twice := r.twice(names...); r.fault != nil || twice != "" || r.raw("active") == nil {
		return nil, s.unfit(&r, twice, "RFC 7662 section 2.2")
	}
	members := make(map[string]json.RawMessage)
	for _, name := range names {
		if raw := r.raw(name); raw != nil {
			members[name] = raw
		}
	}
	return json.Marshal(members)
}
