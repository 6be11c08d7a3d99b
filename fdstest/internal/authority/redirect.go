package authority

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

func checkRedirectURI(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "":
		return fmt.Errorf("redirect URI %.200q is not an absolute URL", uri)
	case u.Fragment != "":
		return fmt.Errorf("redirect URI %.200q has a fragment (RFC 6749 section 3.1.2)", uri)
	case u.Scheme == "http" && !isLoopback(uri):
		return fmt.Errorf("redirect URI %.200q is http; only http://127.0.0.1 and http://[::1] may be", uri)
	case u.Scheme == "javascript" || u.Scheme == "data":
		return fmt.Errorf("redirect URI %.200q has a scheme that no application owns", uri)
	}
	return nil
}

// loopbackURI takes a loopback redirect URI apart: address, port, and all that
// follows. Names such as localhost are left out, as RFC 8252 section 8.3 advises.
var loopbackURI = regexp.MustCompile(`^http://(127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?([/?].*)?$`)

func isLoopback(uri string) bool { return loopbackURI.MatchString(uri) }

// allowsRedirect compares by simple string comparison (RFC 9700 section 2.1),
// except that a loopback URI matches with any port (RFC 8252 section 7.3).
func (c Client) allowsRedirect(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	got := loopbackURI.FindStringSubmatch(uri)
	if got == nil {
		return false
	}
	if port, err := strconv.Atoi(got[2]); got[2] != "" && (err != nil || port < 1 || port > 65535) {
		return false
	}
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		want := loopbackURI.FindStringSubmatch(registered)
		return want != nil && want[1] == got[1] && want[3] == got[3]
	})
}
