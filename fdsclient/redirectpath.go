package fdsclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// RedirectPath returns the path of the redirect URI that SignIn uses at an issuer
// where Application.RedirectPath does not say another one: "/callback/" and the
// first 20 hexadecimal digits of the SHA-256 of the issuer as Provider.Issuer
// spells it. Register http://127.0.0.1 and http://[::1] with that path at the
// provider; the port is chosen anew each time (RFC 8252 section 7.3), unless
// Application.RedirectPorts says which.
//
// A path for each issuer keeps a provider from having the code of another one sent
// here as if it were its own (RFC 9700 section 4.4.2).
func RedirectPath(issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return "/callback/" + hex.EncodeToString(sum[:10])
}

// warnOfSharedPath tells once of a redirect path that other providers' redirects
// may have too, where this one's do not say whose they are.
func (c *Client) warnOfSharedPath(ctx context.Context) {
	own, issuer := c.cfg.Application.RedirectPath, c.cfg.Provider.Issuer
	if own == RedirectPath(issuer) {
		return
	}
	m, err := c.auth.Metadata(ctx)
	if err != nil || m.IssInResponse {
		return
	}
	c.sharedPath.Do(func() {
		c.log.Warn("the redirects of this provider cannot be told from another's", "error",
			fmt.Errorf("it does not promise to name itself in them (RFC 9207), and Application.RedirectPath is %q; register %q in its place and leave it out", own, RedirectPath(issuer)))
	})
}
