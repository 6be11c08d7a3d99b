package dpop

import (
	"crypto/rand"
	"crypto/subtle"
	"sync"
	"time"
)

// nonces are one server's: the current one and the one before it serve.
type nonces struct {
	lifetime time.Duration

	mu                sync.Mutex
	current, previous string
	since             time.Time
}

// Nonce returns the current nonce.
func (c *Checker) Nonce() string {
	c.nonces.mu.Lock()
	defer c.nonces.mu.Unlock()
	c.nonces.turn(time.Now())
	return c.nonces.current
}

// Rotate replaces the nonce, and lets no earlier one serve.
func (c *Checker) Rotate() {
	c.nonces.mu.Lock()
	defer c.nonces.mu.Unlock()
	c.nonces.current, c.nonces.previous, c.nonces.since = rand.Text(), "", time.Now()
}

func (n *nonces) turn(now time.Time) {
	since := now.Sub(n.since)
	if n.current != "" && since < n.lifetime {
		return
	}
	n.previous = n.current
	if since >= 2*n.lifetime {
		n.previous = ""
	}
	n.current, n.since = rand.Text(), now
}

func (n *nonces) valid(given string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.turn(now)
	is := func(want string) bool {
		return want != "" && subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
	}
	return is(n.current) || is(n.previous)
}
