package authority

import (
	"net/url"
	"slices"
	"sync"
)

// Hooks let a test change what the server says, from the inside. Every field
// may be nil. They are called without a lock held, from several goroutines.
type Hooks struct {
	// Metadata changes the metadata document before it goes out.
	Metadata func(metadata map[string]any)
	// AuthorizationResponse changes the parameters of a redirect to the
	// application, of success and of error.
	AuthorizationResponse func(parameters url.Values)
	// Claims changes what tokens say before they are signed. id is nil when no
	// ID token is issued.
	Claims func(grantType string, access, id map[string]any)
	// TokenAnswer changes the members of a successful token answer.
	TokenAnswer func(grantType string, answer map[string]any)
	// KeepRefreshToken says that this renewal shall not rotate.
	KeepRefreshToken func() bool
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
