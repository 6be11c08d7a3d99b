package fdsclient

import (
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
