package fdsclient

import (
	"context"
	"testing"
	"time"
)

// LookAgainAfter has a server that refused a grant asked again after d, until the test
// ends. Clients are closed before.
func LookAgainAfter(t *testing.T, d time.Duration) {
	before := secondLook
	secondLook = d
	t.Cleanup(func() { secondLook = before })
}

// Warned returns a context in which a Client asks for certificates: warn is told what it would
// tell HookCertificate.
func Warned(ctx context.Context, warn func(error)) context.Context {
	return context.WithValue(ctx, warningKey{}, warn)
}
