package authority

import (
	"slices"
	"sync"
)

const (
	maxSecrets      = 1 << 16 // the newest are kept
	minSecretLength = 8       // a shorter one occurs in texts by chance
	maxSecretLength = 8 << 10
)

// secretLog remembers what must not leak, so that a test can search for it.
type secretLog struct {
	mu    sync.Mutex
	known map[string]struct{}
	order []string
}

func (l *secretLog) add(secrets ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = make(map[string]struct{})
	}
	for _, secret := range secrets {
		if len(secret) < minSecretLength || len(secret) > maxSecretLength {
			continue
		}
		if _, ok := l.known[secret]; ok {
			continue
		}
		if len(l.order) >= 2*maxSecrets {
			for _, old := range l.order[:maxSecrets] {
				delete(l.known, old)
			}
			l.order = slices.Clone(l.order[maxSecrets:])
		}
		l.known[secret] = struct{}{}
		l.order = append(l.order, secret)
	}
}

// secretParameters are those of a client's request that must not leak.
var secretParameters = []string{
	"code", "code_verifier", "refresh_token", "client_secret", "client_assertion", "device_code", "token",
}

// Secrets lists what the server has issued or been sent and must not leak:
// access, refresh and ID tokens, codes, code verifiers, client secrets and Basic
// credentials, client assertions, DPoP proofs, device and user codes, request
// URIs, form tokens. At least the newest 65,536 are kept.
func (s *Server) Secrets() []string {
	s.secrets.mu.Lock()
	defer s.secrets.mu.Unlock()
	return slices.Clone(s.secrets.order)
}
