package loopback

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
)

// start is the start page. Its address stands in the arguments of the browser's
// process, which on many systems every user can read: it works once.
type start struct {
	path     string // with 130 random bits, as the cookie's name and value
	redirect string // the other path that needs the cookie
	name     string // cookies do not tell ports apart: a fixed one could be replaced by another program
	value    string

	mu     sync.Mutex
	opened bool
}

func newStart(redirectPath string) *start {
	return &start{path: "/start/" + rand.Text(), redirect: cookiePath(redirectPath), name: "fds_" + rand.Text(), value: rand.Text()}
}

// setCookie returns the browser the cookie for so many seconds, or takes it away
// with -1. It is sent to the two paths that need it and to no other of this
// machine's servers.
func (s *start) setCookie(w http.ResponseWriter, seconds int) {
	for _, path := range []string{s.redirect, s.path} {
		http.SetCookie(w, &http.Cookie{
			Name: s.name, Value: s.value, Path: path, MaxAge: seconds, HttpOnly: true,
			SameSite: http.SameSiteLaxMode, // the redirect comes from the provider's site
		})
	}
}

// cookiePath is the path as browsers compare it, where the attribute can hold it
// (RFC 6265 section 4.1.1).
func cookiePath(path string) string {
	escaped := (&url.URL{Path: path}).EscapedPath()
	if strings.ContainsAny(escaped, `;,"`) {
		return "/"
	}
	return escaped
}

func (s *start) isAt(path string) bool {
	return subtle.ConstantTimeCompare([]byte(path), []byte(s.path)) == 1
}

// open reports whether a request is the first and gets the cookie, or why it must
// not go on. The same browser may come again: reloaded, or restored after its end.
func (s *start) open(r *http.Request) (first bool, why error) {
	if s.brought(r.Header) {
		return false, nil
	}
	if byOtherUser(r) {
		return false, ErrOtherUser
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened {
		return false, ErrOpenedTwice
	}
	s.opened = true
	return true, nil
}

// brought reports whether a request carries the cookie, among whatever other
// programs of this machine have set: net/http gives up on more than a few
// thousand.
func (s *start) brought(h http.Header) bool {
	found := 0
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if value, ours := strings.CutPrefix(strings.TrimSpace(pair), s.name+"="); ours {
				found |= subtle.ConstantTimeCompare([]byte(value), []byte(s.value))
			}
		}
	}
	return found == 1
}

// byOtherUser reports whether a request certainly comes from another user of this
// machine, who has read the address in the browser's arguments and is faster.
func byOtherUser(r *http.Request) bool {
	server, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	to, err := netip.ParseAddrPort(server.String())
	if err != nil {
		return false
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && otherUsers(from, to)
}

// connectionKey is the key of a request's connection in its context.
type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}
