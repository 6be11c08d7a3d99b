package authority

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Tokens are the result of a sign-in.
type Tokens struct {
	AccessToken, RefreshToken, IDToken string
	Expiry                             time.Time
	RefreshExpiry                      time.Time
}

// IssueTokens makes a grant with all scopes without asking a person.
func (s *Server) IssueTokens(clientID string, owners []string) (Tokens, error) {
	client, known := s.client(clientID)
	switch {
	case !known:
		return Tokens{}, fmt.Errorf("authority: no client has the ID %.100q", clientID)
	case s.demandsProof(client) || client.CertificateBound:
		return Tokens{}, fmt.Errorf("authority: the tokens of client %.100q are bound to its key or certificate, so only its own request can get them", clientID)
	}
	if len(owners) > maxOwnersOfGrant {
		return Tokens{}, fmt.Errorf("authority: a grant has at most %d owners", maxOwnersOfGrant)
	}
	for _, spelling := range owners {
		if !s.isOwner(spelling) {
			return Tokens{}, fmt.Errorf("authority: no owner is spelt %.100q", spelling)
		}
	}
	now := time.Now()
	g := &grant{clientID: clientID, subject: s.cfg.Subject, scope: scopesSupported, owners: owners, audience: []string{s.audience}, approved: now}
	refresh := s.newRefreshToken(g, binding{}, now)
	answer, failure := s.issue(issuance{grantType: GrantAuthorizationCode, grant: g, scope: strings.Join(g.scope, " "), audience: g.audience, refresh: refresh}, now)
	if failure != nil {
		return Tokens{}, errors.New("authority: " + failure.description)
	}
	if unkept := s.keep(); unkept != nil {
		return Tokens{}, errors.New("authority: " + unkept.description)
	}
	tokens := Tokens{RefreshToken: refresh}
	tokens.AccessToken, _ = answer["access_token"].(string)
	tokens.IDToken, _ = answer["id_token"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.accessTokens[digestOf(tokens.AccessToken)]; ok {
		tokens.Expiry = t.expires
	}
	if t, ok := s.refreshTokens[digestOf(refresh)]; ok {
		tokens.RefreshExpiry = t.expires
	}
	return tokens, nil
}

func (s *Server) isOwner(spelling string) bool {
	id, err := fds.ParseSubscriptionID(spelling)
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && s.spellings[id] == spelling
}
