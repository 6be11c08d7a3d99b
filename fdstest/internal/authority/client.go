package authority

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

// Client is a registered application (RFC 6749 section 2).
type Client struct {
	ID           string
	Name         string   // for the consent page; default: the ID
	Secret       string   // empty: a public client
	RedirectURIs []string // at least one
}

// AddClient registers c, or replaces the client of the same ID.
func (s *Server) AddClient(c Client) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("authority: add client %.100q: %w", c.ID, err)
	}
	if c.Name == "" {
		c.Name = c.ID
	}
	c.RedirectURIs = slices.Clone(c.RedirectURIs)
	s.secrets.add(c.Secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
	return nil
}

func (c Client) check() error {
	if c.ID == "" {
		return errors.New("it has no ID")
	}
	if len(c.RedirectURIs) == 0 {
		return errors.New("it has no redirect URI")
	}
	for _, uri := range c.RedirectURIs {
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
	}
	return nil
}

func (s *Server) client(id string) (Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	return c, ok
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
