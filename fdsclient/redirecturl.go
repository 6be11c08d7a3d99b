package fdsclient

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/fds-sdk/fds-go/fds"
)

// redirectURLs are the open Clients of this process by their own redirect URL. A
// Client that nobody closed and nobody has any more is open no longer.
var redirectURLs = struct {
	mu   sync.Mutex
	open map[string][]weak.Pointer[Client]
}{open: make(map[string][]weak.Pointer[Client])}

// claimRedirectURL refuses a redirect URL that an open Client of another provider
// has: which of the two a redirect comes from could not be told.
func (c *Client) claimRedirectURL() error {
	own := c.cfg.Application.RedirectURL
	if own == "" {
		return nil
	}
	redirectURLs.mu.Lock()
	defer redirectURLs.mu.Unlock()
	key := redirectURLKey(own)
	others := slices.DeleteFunc(redirectURLs.open[key], func(w weak.Pointer[Client]) bool { return w.Value() == nil })
	redirectURLs.open[key] = others
	for _, w := range others {
		if other := w.Value(); other != nil && other.cfg.Provider.Issuer != c.cfg.Provider.Issuer {
			return fmt.Errorf("fdsclient: %w: Application.RedirectURL %q is that of an open Client of another provider, %q: "+
				"register one for each provider, or one could have the other's codes sent here as its own (RFC 9700 section 4.4.2)", fds.ErrConfig, own, other.cfg.Provider.Issuer)
		}
	}
	redirectURLs.open[key] = append(others, weak.Make(c))
	return nil
}

// releaseRedirectURL lets another provider's Client have it.
func (c *Client) releaseRedirectURL() {
	redirectURLs.mu.Lock()
	defer redirectURLs.mu.Unlock()
	key := redirectURLKey(c.cfg.Application.RedirectURL)
	left := slices.DeleteFunc(redirectURLs.open[key], func(w weak.Pointer[Client]) bool { return w.Value() == nil || w.Value() == c })
	if len(left) == 0 {
		delete(redirectURLs.open, key)
		return
	}
	redirectURLs.open[key] = left
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
