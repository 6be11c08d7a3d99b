package replay

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// maxEntries bounds each of the two generations.
const maxEntries = 1 << 18

// Why Use refuses.
var (
	ErrUsed = errors.New("it was used before")
	ErrFull = errors.New("too many are remembered; try later")
)

// Cache remembers identifiers for at least its window. It may be used at once
// from several goroutines.
type Cache struct {
	window time.Duration

	mu         sync.Mutex
	young, old map[[sha256.Size]byte]struct{}
	turned     time.Time
}

// New makes a cache. An identifier that comes again after window must be refused
// for its age.
func New(window time.Duration) *Cache { return &Cache{window: window} }

// Use remembers an identifier of one user, or says why it does not serve.
func (c *Cache) Use(user, id string, now time.Time) error {
	// The length keeps ("a", "bc") and ("ab", "c") apart.
	key := sha256.Sum256(append([]byte{byte(len(user) >> 8), byte(len(user))}, user+id...))
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := now.Sub(c.turned); since >= c.window {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]struct{})
		if since >= 2*c.window {
			c.old = nil
		}
		c.turned = now
	}
	_, inYoung := c.young[key]
	_, inOld := c.old[key]
	switch {
	case inYoung || inOld:
		return ErrUsed
	case len(c.young) >= maxEntries:
		return ErrFull
	}
	c.young[key] = struct{}{}
	return nil
}
