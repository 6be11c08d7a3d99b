package fdstest

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Tokens are what an application has after a sign-in. They print without the
// tokens.
type Tokens struct {
	AccessToken, RefreshToken, IDToken string
	Expiry                             time.Time // of the access token
	RefreshExpiry                      time.Time
}

// Format keeps the tokens out of every verb of package fmt.
func (t Tokens) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Tokens(until %s)", t.Expiry.UTC()) }

// LogValue keeps the tokens out of logs.
func (t Tokens) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// IssueTokens issues to an application what a sign-in with the scopes openid and
// offline_access for these owners brings, without a person and a browser: for
// tests that begin with thousands of owners signed in.
func (p *Provider) IssueTokens(clientID string, owners ...Owner) (Tokens, error) {
	if len(owners) == 0 {
		return Tokens{}, errors.New("fdstest: issue tokens: name at least one owner")
	}
	spellings := make([]string, 0, len(owners))
	for _, o := range owners {
		spellings = append(spellings, o.Spelling)
	}
	issued, err := p.authority.IssueTokens(clientID, spellings)
	if err != nil {
		return Tokens{}, fmt.Errorf("fdstest: issue tokens: %w", err)
	}
	return Tokens(issued), nil
}
