package authority

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/dpop"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const maxAccessToken = 16 << 10

// Verify checks an access token as the Web API must (RFC 9068 section 4):
// signature, type, issuer, audience, expiry without leeway, and that neither it
// nor its grant is revoked. It returns the subscription IDs that the token stands
// for (W7) and the client it was issued to. A token without a well-formed
// subscription ID is no access token for FDS (W6). Who may send it is for
// VerifyRequest.
func (s *Server) Verify(token string) (ids []fds.SubscriptionID, clientID string, ok bool) {
	ids, issued, ok := s.verify(token)
	if !ok {
		return nil, "", false
	}
	return ids, issued.grant.clientID, true
}

func (s *Server) verify(token string) ([]fds.SubscriptionID, *accessToken, bool) {
	if len(token) > maxAccessToken || !s.cfg.OpaqueTokens && !s.isSigned(token) {
		return nil, nil, false
	}
	now := time.Now()
	s.mu.Lock()
	issued, known := s.accessTokens[digestOf(token)]
	valid := known && !issued.revoked && !issued.grant.revoked && now.Before(issued.expires) && slices.Contains(issued.audience, s.audience)
	var subscription any
	if valid {
		subscription = issued.grant.standing(issued.subscription)
	}
	s.mu.Unlock()
	if !valid {
		return nil, nil, false
	}
	ids, ok := subscriptionIDs(subscription)
	return ids, issued, ok
}

// isSigned checks what can be told of a JWT without a look at the records.
func (s *Server) isSigned(token string) bool {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 || parsed.Headers[0].ExtraHeaders[jose.HeaderType] != accessTokenType {
		return false
	}
	var registered jwt.Claims
	return slices.ContainsFunc(s.keys.listed(), func(k signingKey) bool {
		return k.id == parsed.Headers[0].KeyID && parsed.Claims(k.private.Public(), &registered) == nil
	}) &&
		registered.ValidateWithLeeway(jwt.Expected{Issuer: s.issuer, AnyAudience: jwt.Audience{s.audience}, Time: time.Now()}, 0) == nil
}

// Refusal says why an access token does not open the Web API to a request, in
// the terms of its challenge (RFC 6750 section 3, RFC 9449 section 7.1).
type Refusal struct {
	Scheme      string // of the challenge: Bearer or DPoP
	Code        string
	Description string
}

// VerifyRequest checks the access token that came under an authorization scheme
// and that the request proves to hold what the token is bound to: the key of its
// DPoP proof (RFC 9449 section 7), the certificate of its connection (RFC 8705
// section 3).
func (s *Server) VerifyRequest(r *http.Request, scheme, token string) ([]fds.SubscriptionID, *Refusal) {
	if s.cfg.DPoP != Unsupported {
		s.secrets.add(r.Header.Values("DPoP")...)
	}
	bearer, proven := strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "DPoP") && s.cfg.DPoP != Unsupported
	if !bearer && !proven {
		return nil, &Refusal{"Bearer", "invalid_token", "the authorization scheme is not one of this API's"}
	}
	refuse := func(description string) ([]fds.SubscriptionID, *Refusal) {
		refusal := &Refusal{"Bearer", "invalid_token", description}
		if proven {
			refusal.Scheme = "DPoP"
		}
		return nil, refusal
	}
	ids, issued, ok := s.verify(token)
	switch {
	case !ok:
		return refuse("the access token is unknown, expired, revoked, for another audience, or without a subscription ID")
	case s.refusesAge(time.Since(issued.issued)):
		return refuse("the access token is not known here yet")
	case bearer && issued.bound.key != "":
		return refuse("the access token is bound by DPoP and cannot be used as a bearer token")
	case proven && issued.bound.key == "":
		return refuse("the access token is a bearer token and cannot be used with DPoP")
	case issued.bound.certificate != "" && issued.bound.certificate != thumbprintOf(certificateOf(r)):
		return refuse("the access token is bound to another client certificate than that of the connection, if it has one")
	case bearer:
		return ids, nil
	}
	key, problem := s.apiProofs.Check(r.Header.Values("DPoP"), dpop.Request{
		Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), AccessToken: token, NeedsNonce: s.cfg.DPoPAPINonce,
	})
	switch {
	case problem != nil:
		return nil, &Refusal{"DPoP", problem.Code, problem.Description}
	case key != issued.bound.key:
		return refuse("the access token is bound to another key than that of the DPoP proof")
	}
	return ids, nil
}

func (s *Server) refusesAge(age time.Duration) bool {
	for _, h := range s.hooks.all() {
		if h.RefuseAccessToken != nil && h.RefuseAccessToken(age) {
			return true
		}
	}
	return false
}

// APINonce is the nonce for DPoP proofs at the Web API, "" when none is asked
// for.
func (s *Server) APINonce() string {
	if !s.cfg.DPoPAPINonce {
		return ""
	}
	return s.apiProofs.Nonce()
}

// Schemes are the authorization schemes of the Web API, with the parameters of a
// challenge that asks for a token.
func (s *Server) Schemes() []string {
	if s.cfg.DPoP == Unsupported {
		return []string{"Bearer"}
	}
	return []string{"Bearer", `DPoP algs="` + strings.Join(dpop.Algorithms(), " ") + `"`}
}

func subscriptionIDs(claim any) ([]fds.SubscriptionID, bool) {
	var spellings []string
	switch v := claim.(type) {
	case string:
		spellings = []string{v}
	case []string:
		spellings = v
	case []any:
		for _, one := range v {
			text, _ := one.(string)
			spellings = append(spellings, text)
		}
	}
	var ids []fds.SubscriptionID
	for _, spelling := range spellings {
		id, err := fds.ParseSubscriptionID(spelling)
		if err != nil {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, len(ids) > 0
}
