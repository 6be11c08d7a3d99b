package loopback

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
)

// maxConnections is more than a browser opens to one server. Any program of this
// machine can open many, and fill a header each.
const maxConnections = 32

// connections are those of a server. When there are too many, the oldest gives
// way to the newest: whoever only holds them open keeps no browser out.
type connections struct {
	mu     sync.Mutex
	open   []net.Conn        // oldest first
	busy   map[net.Conn]bool // with a request that is not answered yet
	judged map[net.Conn]bool // with a redirect that has the cookie; they give way to none
	fewer  chan struct{}     // sent to when one was answered
}

func newConnections() *connections {
	return &connections{busy: make(map[net.Conn]bool), judged: make(map[net.Conn]bool), fewer: make(chan struct{}, 1)}
}

// changed is the server's ConnState.
func (s *connections) changed(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open = append(s.open, c)
		if len(s.open) <= maxConnections {
			return
		}
		if i := slices.IndexFunc(s.open, func(c net.Conn) bool { return !s.judged[c] }); i >= 0 {
			_ = s.open[i].Close()
			s.forget(s.open[i])
		}
	case http.StateActive:
		s.busy[c] = true
	default:
		s.forget(c)
	}
}

// forget counts a connection no longer.
func (s *connections) forget(c net.Conn) {
	s.open = slices.DeleteFunc(s.open, func(other net.Conn) bool { return other == c })
	delete(s.busy, c)
	delete(s.judged, c)
	select {
	case s.fewer <- struct{}{}:
	default:
	}
}

// keep has a request's connection give way to no other.
func (s *connections) keep(request context.Context) {
	c, ok := request.Value(connectionKey{}).(net.Conn)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judged[c] = true
}

// wait waits until all requests are answered, or ctx ends. Shutdown would wait for
// idle connections too, which browsers open ahead and never use.
func (s *connections) wait(ctx context.Context) {
	for {
		s.mu.Lock()
		left := len(s.busy)
		s.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-s.fewer:
		case <-ctx.Done():
			return
		}
	}
}
