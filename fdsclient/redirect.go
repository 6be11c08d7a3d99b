package fdsclient

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/fds-sdk/fds-go/fds"
)

// redirectClaim is an open Client's claim to its own redirect URL. One that nobody released
// and whose Client nobody has any more counts no longer.
type redirectClaim struct{ key, issuer string }

var redirectClaims claims

type claims struct {
	mu   sync.Mutex
	open []weak.Pointer[redirectClaim]
}

// prune takes out a claim, and those that count no longer. all.mu is held.
func (all *claims) prune(claim *redirectClaim) {
	all.open = slices.DeleteFunc(all.open, func(w weak.Pointer[redirectClaim]) bool { return w.Value() == nil || w.Value() == claim })
}

// claimRedirectURL refuses a redirect URL that an open Client of another provider
// has: which of the two a redirect comes from could not be told.
func claimRedirectURL(own, issuer string) (*redirectClaim, error) {
	claim := &redirectClaim{redirectURLKey(own), issuer}
	if own == "" {
		return claim, nil
	}
	all := &redirectClaims
	all.mu.Lock()
	defer all.mu.Unlock()
	all.prune(nil)
	for _, w := range all.open {
		if other := w.Value(); other != nil && other.key == claim.key && other.issuer != issuer {
			return nil, fmt.Errorf("fdsclient: %w: Application.RedirectURL %q is that of an open Client of another provider, %q: "+
				"register one for each provider, or one could have the other's codes sent here as its own (RFC 9700 section 4.4.2)", fds.ErrConfig, own, other.issuer)
		}
	}
	all.open = append(all.open, weak.Make(claim))
	return claim, nil
}

// release lets another provider's Client have it.
func (c *redirectClaim) release() {
	redirectClaims.mu.Lock()
	defer redirectClaims.mu.Unlock()
	redirectClaims.prune(c)
}

// redirectURLKey spells a URL in one of its spellings (RFC 3986 section 6.2.3).
func redirectURLKey(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":443")
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return host + path + "?" + u.RawQuery
}

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
