package fdsclient

import (
	"context"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
)

// LookAgainAfter has a server that refused a grant asked again after d, until the test
// ends. Clients are closed before.
func LookAgainAfter(t *testing.T, d time.Duration) {
	before := grants.SecondLook
	grants.SecondLook = d
	t.Cleanup(func() { grants.SecondLook = before })
}

// Warned returns a context in which a Client asks for certificates: warn is told what it would
// tell HookCertificate.
func Warned(ctx context.Context, warn func(error)) context.Context {
	return context.WithValue(ctx, warningKey{}, warn)
}

// RenewAgainAfter has a token renewed ahead of its expiry d after the renewal before, until
// the test ends. Clients are closed before.
func RenewAgainAfter(t *testing.T, d time.Duration) {
	before := grants.LeastRest
	grants.LeastRest = d
	t.Cleanup(func() { grants.LeastRest = before })
}

// LookAtAll does what an endpoint does now and then: it looks at all grants there are.
func (c *Client) LookAtAll() error {
	_, err := (&roster{client: c}).read()
	return err
}

// HasLapsed reports whether an endpoint refuses what comes for the owner.
func (o *Owner) HasLapsed() bool { return o.grant.Load().State().Phase == grants.Lapsed }
