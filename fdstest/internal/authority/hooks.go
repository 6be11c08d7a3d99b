package authority

import (
	"net/url"
	"slices"
	"sync"
	"time"
)

// Hooks let a test change what the server says, from the inside. Every field
// may be nil. They are called from several goroutines, without a lock held unless
// the field says so.
type Hooks struct {
	// Metadata changes the metadata document before it goes out.
	Metadata func(metadata map[string]any)
	// AuthorizationResponse changes the parameters of a redirect to the
	// application, of success and of error.
	AuthorizationResponse func(parameters url.Values)
	// ResponseQuery changes the encoded query of such a redirect, after that.
	ResponseQuery func(query string) string
	// Claims changes what tokens say before they are signed. id is nil when no
	// ID token is issued.
	Claims func(grantType string, access, id map[string]any)
	// IDToken changes an ID token's header and claims before it is signed, as the
	// header then says. accessToken came with it.
	IDToken func(accessToken string, header, claims map[string]any)
	// TokenAnswer changes the members of a successful token answer.
	TokenAnswer func(grantType string, answer map[string]any)
	// RefuseRenewal says that this renewal shall be refused, and how. It costs
	// the refresh token nothing.
	RefuseRenewal func() (code, description string, refuse bool)
	// ReplayRenewal says that a refresh token that was spent so long ago shall get
	// the same answer again. While there is this hook, one renewal follows another.
	// It is called with the server's locks held.
	ReplayRenewal func(ago time.Duration) bool
	// KeepRefreshToken says that this renewal shall not rotate.
	KeepRefreshToken func() bool
	// UnbindRenewal says that the access token of this renewal, which came with a
	// DPoP proof, shall be a bearer token.
	UnbindRenewal func() bool
	// RefuseAccessToken says that the Web API shall not know an access token of
	// that age, which is good.
	RefuseAccessToken func(age time.Duration) bool

	// What follows are weaknesses: each leaves out what a server must check.

	// AnyCredentials says that a known client is taken for itself whatever it
	// brings.
	AnyCredentials func() bool
	// NoChallenge says that an authorization request needs no code_challenge.
	NoChallenge func() bool
	// AnyVerifier says that a code is taken with whatever code_verifier.
	AnyVerifier func() bool
	// AnyRedirect says that a redirect URI is taken that is not registered.
	AnyRedirect func() bool
	// ReuseCode says that a code serves that was used before.
	ReuseCode func() bool
	// ReuseRefreshToken says that a refresh token serves that was used before.
	ReuseRefreshToken func() bool
}

// any reports whether one of the hooks that pick returns says yes.
func (l *hookList) any(pick func(*Hooks) func() bool) bool {
	for _, h := range l.all() {
		if says := pick(h); says != nil && says() {
			return true
		}
	}
	return false
}

type hookList struct {
	mu    sync.Mutex
	hooks []*Hooks
}

// Hook adds h after those that are there; remove takes it out again.
func (s *Server) Hook(h Hooks) (remove func()) {
	entry := &h
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	s.hooks.hooks = append(s.hooks.hooks, entry)
	return func() {
		s.hooks.mu.Lock()
		defer s.hooks.mu.Unlock()
		s.hooks.hooks = slices.DeleteFunc(s.hooks.hooks, func(other *Hooks) bool { return other == entry })
	}
}

func (l *hookList) all() []*Hooks {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hooks)
}
