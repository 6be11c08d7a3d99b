package authority

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// State is what outlives a server: its signing key, its grants, and their codes and
// tokens, each by its digest, so that no token can be read from it. Its fields are for
// package encoding/json. Open pages, pushed requests, device codes and what DPoP proofs
// and assertions have been seen are not in it.
type State struct {
	Key           []byte // PKCS #8
	KeyID         string
	EarlierKeys   []StateKey `json:",omitempty"`
	Grants        []StateGrant
	Codes         map[string]StateCode `json:",omitempty"` // by digest
	RefreshTokens map[string]StateToken
	AccessTokens  map[string]StateToken
}

// StateKey is a key that signs no more and is listed still.
type StateKey struct {
	Key   []byte // PKCS #8
	KeyID string
	Until time.Time
}

// StateGrant is a grant.
type StateGrant struct {
	ClientID, Subject string
	Scope, Owners     []string
	Withdrawn         []string `json:",omitempty"`
	Audience          []string
	Nonce             string `json:",omitempty"`
	Approved          time.Time
	Revoked           bool   `json:",omitempty"`
	RevokedBy         string `json:",omitempty"`
}

// StateCode is an authorization code.
type StateCode struct {
	Grant                  int // in State.Grants
	RedirectURI, Challenge string
	KeyDigest              string `json:",omitempty"`
	Expires, Forget        time.Time
	Used                   bool `json:",omitempty"`
}

// StateToken is an access or a refresh token.
type StateToken struct {
	Grant            int    // in State.Grants
	Key, Certificate string `json:",omitempty"` // that it is bound to
	Issued, Expires  time.Time

	// Of refresh tokens.
	Used   bool      `json:",omitempty"`
	UsedAt time.Time `json:",omitzero"`
	Graced bool      `json:",omitempty"`

	// Of access tokens.
	Scope        string   `json:",omitempty"`
	Audience     []string `json:",omitempty"`
	Subscription any      `json:",omitempty"`
	Revoked      bool     `json:",omitempty"`
}

// State returns what there is to be kept.
func (s *Server) State() (State, error) {
	keys, err := s.keys.state()
	if err != nil {
		return State{}, fmt.Errorf("authority: state: %w", err)
	}
	st := State{Key: keys[0].Key, KeyID: keys[0].KeyID, EarlierKeys: keys[1:], Codes: map[string]StateCode{}, RefreshTokens: map[string]StateToken{}, AccessTokens: map[string]StateToken{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers := make(map[*grant]int)
	number := func(g *grant) int {
		n, known := numbers[g]
		if !known {
			n = len(st.Grants)
			numbers[g] = n
			st.Grants = append(st.Grants, StateGrant{
				ClientID: g.clientID, Subject: g.subject, Scope: g.scope, Owners: g.owners, Withdrawn: g.withdrawn, Audience: g.audience,
				Nonce: g.nonce, Approved: g.approved, Revoked: g.revoked, RevokedBy: g.revokedBy,
			})
		}
		return n
	}
	for d, c := range s.codes {
		st.Codes[hex.EncodeToString(d[:])] = StateCode{
			Grant: number(c.grant), RedirectURI: c.redirectURI, Challenge: c.challenge, KeyDigest: c.keyDigest, Expires: c.expires, Forget: c.forget, Used: c.used,
		}
	}
	for d, t := range s.refreshTokens {
		st.RefreshTokens[hex.EncodeToString(d[:])] = StateToken{
			Grant: number(t.grant), Key: t.bound.key, Certificate: t.bound.certificate, Issued: t.issued, Expires: t.expires,
			Used: t.used, UsedAt: t.usedAt, Graced: t.graced,
		}
	}
	for d, t := range s.accessTokens {
		st.AccessTokens[hex.EncodeToString(d[:])] = StateToken{
			Grant: number(t.grant), Key: t.bound.key, Certificate: t.bound.certificate, Issued: t.issued, Expires: t.expires,
			Scope: t.scope, Audience: t.audience, Subscription: t.subscription, Revoked: t.revoked,
		}
	}
	return st, nil
}

// Restore takes up where another server ended. It comes before the first request.
func (s *Server) Restore(st State) error {
	fail := func(err error) error { return fmt.Errorf("authority: restore: %w", err) }
	if err := s.keys.restore(st); err != nil {
		return fail(err)
	}
	grants := make([]*grant, len(st.Grants))
	for i, g := range st.Grants {
		grants[i] = &grant{
			clientID: g.ClientID, subject: g.Subject, scope: g.Scope, owners: g.Owners, withdrawn: g.Withdrawn, audience: g.Audience,
			nonce: g.Nonce, approved: g.Approved, revoked: g.Revoked, revokedBy: g.RevokedBy,
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	place := func(d string, number int) (key digest, g *grant, err error) {
		raw, err := hex.DecodeString(d)
		if err != nil || len(raw) != len(key) || number < 0 || number >= len(grants) {
			return key, nil, fail(errors.New("a token in it has no grant or no digest"))
		}
		copy(key[:], raw)
		return key, grants[number], nil
	}
	for d, c := range st.Codes {
		key, g, err := place(d, c.Grant)
		if err != nil {
			return err
		}
		s.codes[key] = &authorizationCode{
			grant: g, redirectURI: c.RedirectURI, challenge: c.Challenge, keyDigest: c.KeyDigest, expires: c.Expires, forget: c.Forget, used: c.Used,
		}
	}
	for d, t := range st.RefreshTokens {
		key, g, err := place(d, t.Grant)
		if err != nil {
			return err
		}
		s.refreshTokens[key] = &refreshToken{
			grant: g, bound: binding{t.Key, t.Certificate}, issued: t.Issued, expires: t.Expires, used: t.Used, usedAt: t.UsedAt, graced: t.Graced,
		}
	}
	for d, t := range st.AccessTokens {
		key, g, err := place(d, t.Grant)
		if err != nil {
			return err
		}
		s.accessTokens[key] = &accessToken{
			grant: g, bound: binding{t.Key, t.Certificate}, scope: t.Scope, audience: t.Audience, subscription: asIssued(t.Subscription),
			issued: t.Issued, expires: t.Expires, revoked: t.Revoked,
		}
	}
	return nil
}

// asIssued returns what is said for the subscription IDs the type that it had before it
// was written as JSON.
func asIssued(subscription any) any {
	all, ok := subscription.([]any)
	if !ok {
		return subscription
	}
	owners := make([]string, 0, len(all))
	for _, one := range all {
		owner, ok := one.(string)
		if !ok {
			return subscription
		}
		owners = append(owners, owner)
	}
	return owners
}

// keep has what a request changed kept, before the client learns of it.
func (s *Server) keep() *protocolError {
	if s.cfg.Keep == nil {
		return nil
	}
	if err := s.cfg.Keep(); err != nil {
		s.log.Error("the state is not kept", "error", err)
		return &protocolError{status: 500, code: "server_error", description: "the provider cannot write its state"}
	}
	return nil
}
