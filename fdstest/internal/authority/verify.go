package authority

import (
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const maxBearer = 16 << 10

// Verify checks an access token as the Web API must (RFC 9068 section 4):
// signature, type, issuer, audience, expiry without leeway, and that neither it
// nor its grant is revoked. It gives the subscription IDs that the token carries
// (W7) and the client it was issued to. A token whose claim holds no
// well-formed subscription ID is no access token for FDS (W6).
func (s *Server) Verify(bearer string) (ids []fds.SubscriptionID, clientID string, ok bool) {
	if len(bearer) > maxBearer {
		return nil, "", false
	}
	token, err := jwt.ParseSigned(bearer, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(token.Headers) != 1 || token.Headers[0].ExtraHeaders[jose.HeaderType] != accessTokenType {
		return nil, "", false
	}
	var registered jwt.Claims
	var open map[string]any
	if token.Claims(s.key.private.Public(), &registered, &open) != nil {
		return nil, "", false
	}
	now := time.Now()
	if registered.ValidateWithLeeway(jwt.Expected{Issuer: s.issuer, AnyAudience: jwt.Audience{s.audience}, Time: now}, 0) != nil {
		return nil, "", false
	}
	s.mu.Lock()
	issued, known := s.accessTokens[digestOf(bearer)]
	valid := known && !issued.revoked && !issued.grant.revoked && now.Before(issued.expires)
	s.mu.Unlock()
	if !valid {
		return nil, "", false
	}
	ids, ok = subscriptionIDs(open[s.claim])
	return ids, issued.grant.clientID, ok
}

func subscriptionIDs(claim any) ([]fds.SubscriptionID, bool) {
	var spellings []any
	switch v := claim.(type) {
	case string:
		spellings = []any{v}
	case []any:
		spellings = v
	}
	var ids []fds.SubscriptionID
	for _, spelling := range spellings {
		text, _ := spelling.(string)
		id, err := fds.ParseSubscriptionID(text)
		if err != nil {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, len(ids) > 0
}
