package authority

import (
	"maps"
	"slices"
	"time"
)

// grant is what a person approved once. Codes and tokens point to it, so that
// ending it ends them all at once. Who its owners are and whether it is revoked is
// under the server's mutex, the rest never changes.
type grant struct {
	clientID  string
	subject   string
	scope     []string // as granted
	owners    []string // spellings of subscription IDs; replaced, never written to
	withdrawn []string // those that were among them
	audience  []string // of its access tokens, unless fewer are asked for
	nonce     string
	approved  time.Time
	revoked   bool
	revokedBy string // for the log and the error text
}

// end revokes g. The caller holds the server's mutex.
func (g *grant) end(why string) {
	if !g.revoked {
		g.revoked, g.revokedBy = true, why
	}
}

func (g *grant) has(scope string) bool { return slices.Contains(g.scope, scope) }

type authorizationCode struct {
	grant       *grant
	redirectURI string
	challenge   string
	keyDigest   string // dpop_jkt (RFC 9449 section 10), or ""
	expires     time.Time
	used        bool
	forget      time.Time // kept after its use, so that a replay is noticed
}

type refreshToken struct {
	grant   *grant
	bound   binding // of a public client's
	issued  time.Time
	expires time.Time
	used    bool
	usedAt  time.Time
	graced  bool           // it was used once more within the grace
	answer  map[string]any // to its use, when it may be given again
}

type accessToken struct {
	grant        *grant
	bound        binding
	scope        string
	audience     []string
	subscription any // what is said where the subscription IDs belong; nil: nothing
	issued       time.Time
	expires      time.Time
	revoked      bool
}

// binding names what a token's sender must prove to hold: a key by its
// thumbprint (RFC 9449 section 6.1), a certificate by its (RFC 8705 section
// 3.1), both or neither.
type binding struct{ key, certificate string }

// confirmation is the cnf claim, nil for a bearer token.
func (b binding) confirmation() map[string]any {
	cnf := make(map[string]any)
	if b.key != "" {
		cnf["jkt"] = b.key
	}
	if b.certificate != "" {
		cnf["x5t#S256"] = b.certificate
	}
	if len(cnf) == 0 {
		return nil
	}
	return cnf
}

// tokenType is the token_type of an access token bound so.
func (b binding) tokenType() string {
	if b.key != "" {
		return "DPoP"
	}
	return "Bearer"
}

// RevokeGrants ends every grant that names the subscription ID, spelt as its
// owner is, and says how many there were. It is what happens when a person
// withdraws consent at the provider.
func (s *Server) RevokeGrants(spelling string) int {
	defer s.keep() // an error is logged
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := 0
	for _, g := range s.liveGrants() {
		if slices.Contains(g.owners, spelling) {
			g.end("withdrawn at the provider")
			ended++
		}
	}
	return ended
}

// Withdraw takes the subscription ID, spelt as its owner is, out of every grant
// that names it, and says how many there were. A grant of no other owner ends.
func (s *Server) Withdraw(spelling string) int {
	defer s.keep() // an error is logged
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := 0
	for _, g := range s.liveGrants() {
		if !slices.Contains(g.owners, spelling) {
			continue
		}
		changed++
		g.withdrawn = append(g.withdrawn, spelling)
		if g.owners = without(g.owners, spelling); len(g.owners) == 0 {
			g.end("withdrawn at the provider")
		}
	}
	return changed
}

// Granted reports whether some client's grant, that lives, names the subscription ID, spelt as its
// owner is.
func (s *Server) Granted(spelling string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.liveGrants(), func(g *grant) bool { return slices.Contains(g.owners, spelling) })
}

func without(owners []string, withdrawn ...string) []string {
	return slices.DeleteFunc(slices.Clone(owners), func(owner string) bool { return slices.Contains(withdrawn, owner) })
}

// standing is what a token that says subscription stands for now: it may be older
// than a withdrawal. The caller holds the mutex.
func (g *grant) standing(subscription any) any {
	switch owners := subscription.(type) {
	case []string:
		return oneOrAll(without(owners, g.withdrawn...))
	case string:
		if slices.Contains(g.withdrawn, owners) {
			return nil
		}
	}
	return subscription
}

// liveGrants returns the grants that a code, device or token still points to and that are
// not revoked. The caller holds the mutex.
func (s *Server) liveGrants() []*grant {
	live := make(map[*grant]struct{})
	for _, c := range s.codes {
		live[c.grant] = struct{}{}
	}
	for _, d := range s.devices {
		if d.grant != nil {
			live[d.grant] = struct{}{}
		}
	}
	for _, t := range s.refreshTokens {
		live[t.grant] = struct{}{}
	}
	for _, t := range s.accessTokens {
		live[t.grant] = struct{}{}
	}
	maps.DeleteFunc(live, func(g *grant, _ struct{}) bool { return g.revoked })
	return slices.Collect(maps.Keys(live))
}

// sweep forgets what has expired, at most once a minute. The caller holds the
// mutex.
func (s *Server) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	maps.DeleteFunc(s.pending, func(_ digest, p *pendingRequest) bool { return !now.Before(p.expires) })
	maps.DeleteFunc(s.pushed, func(_ digest, p *pushedRequest) bool { return !now.Before(p.expires) })
	maps.DeleteFunc(s.devices, func(_ digest, d *deviceCode) bool { return !now.Before(d.forget) })
	maps.DeleteFunc(s.codes, func(_ digest, c *authorizationCode) bool { return !now.Before(c.forget) })
	maps.DeleteFunc(s.refreshTokens, func(_ digest, t *refreshToken) bool { return !now.Before(t.expires) })
	maps.DeleteFunc(s.accessTokens, func(_ digest, t *accessToken) bool { return !now.Before(t.expires) })
	maps.DeleteFunc(s.senderTokens, func(_ digest, t senderToken) bool { return !now.Before(t.expires) })
}
