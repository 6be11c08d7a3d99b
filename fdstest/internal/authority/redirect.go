package authority

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	case strings.Contains(uri, "*") && !isPattern(uri):
		return fmt.Errorf("redirect URI %.200q has a *, which stands only for the last segment of a loopback URI's path: http://127.0.0.1/callback/*", uri)
	case u.Scheme == "javascript" || u.Scheme == "data":
		return fmt.Errorf("redirect URI %.200q has a scheme that no application owns", uri)
	}
	return nil
}

// loopbackURI takes a loopback redirect URI apart: address, port, and all that
// follows. Names such as localhost are left out, as RFC 8252 section 8.3 advises.
var loopbackURI = regexp.MustCompile(`^http://(127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?([/?].*)?$`)

func isLoopback(uri string) bool { return loopbackURI.MatchString(uri) }

// anySegment at the end of a registered loopback URI stands for one segment.
const anySegment = "/*"

// segment is what anySegment stands for: unreserved characters (RFC 3986 section
// 2.3), so that nothing in it is escaped or read in two ways.
var segment = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)

// isPattern reports whether a registered URI ends in anySegment, has no other *,
// and is one that may.
func isPattern(registered string) bool {
	before, ok := strings.CutSuffix(registered, anySegment)
	return ok && isLoopback(registered) && !strings.ContainsAny(before, "*?")
}

// allowsRedirect compares by simple string comparison (RFC 9700 section 2.1),
// except that a loopback URI matches with any port (RFC 8252 section 7.3), and one
// registered with /* at its end with any last segment. A desktop application that
// has a redirect path for each issuer (RFC 9700 section 4.4.2) registers each at
// its provider; this server cannot tell which of them a test will use.
func (c Client) allowsRedirect(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) && !isPattern(uri) {
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
		if want == nil || want[1] != got[1] {
			return false
		}
		if !isPattern(registered) {
			return want[3] == got[3]
		}
		last, ok := strings.CutPrefix(got[3], strings.TrimSuffix(want[3], "*"))
		return ok && segment.MatchString(last) && last != "." && last != ".."
	})
}
