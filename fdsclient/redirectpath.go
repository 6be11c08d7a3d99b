package fdsclient

import (
	"crypto/sha256"
	"encoding/hex"
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
