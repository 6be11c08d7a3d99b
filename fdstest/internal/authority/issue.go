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
	if _, known := s.client(clientID); !known {
		return Tokens{}, fmt.Errorf("authority: no client has the ID %.100q", clientID)
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
	g := &grant{clientID: clientID, scope: scopesSupported, owners: owners, approved: now}
	refresh := s.newRefreshToken(g, now)
	answer, failure := s.issue(GrantAuthorizationCode, g, strings.Join(g.scope, " "), "", refresh, now)
	if failure != nil {
		return Tokens{}, errors.New("authority: " + failure.description)
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
