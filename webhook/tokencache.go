package webhook

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	cached         = 1 << 14          // tokens, and as many that were known before them
	introspected   = time.Minute      // how long an answer of the issuer counts at most
	introspections = 16               // at once
	introspectTime = 10 * time.Second // for one
)

// tokenHash names a token in memory.
type tokenHash [sha256.Size]byte

// tokens are those that were found good. What was refused is not remembered: there is no end to it.
type tokens struct {
	mu     sync.Mutex
	recent map[tokenHash]*claims
	before map[tokenHash]*claims

	asking singleflight.Group
	places chan struct{} // of introspections
	again  chan struct{} // of those about tokens that were good before
}

func newTokens() *tokens {
	return &tokens{recent: make(map[tokenHash]*claims), places: make(chan struct{}, introspections), again: make(chan struct{}, introspections)}
}

// get returns what is known of a token; nil: nothing.
func (t *tokens) get(hash tokenHash) *claims {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.recent[hash]; c != nil {
		return c
	}
	c := t.before[hash]
	if c != nil {
		t.put(hash, c)
	}
	return c
}

// put remembers a token, and forgets the half that was known longest when there are too many. t.mu
// is held.
func (t *tokens) put(hash tokenHash, c *claims) {
	if len(t.recent) >= cached {
		t.before, t.recent = t.recent, make(map[tokenHash]*claims)
	}
	t.recent[hash] = c
}

func (t *tokens) add(hash tokenHash, c *claims) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(hash, c)
}

// trusted returns the claims of a token that is good at this moment. What is known of one is looked
// at each time: whether it has expired meanwhile, and whether its issuer still has the key.
func (r *Receiver) trusted(ctx context.Context, token string) (*claims, error) {
	hash := tokenHash(sha256.Sum256([]byte(token)))
	places := r.tokens.places
	if c := r.tokens.get(hash); c != nil {
		places = r.tokens.again // nobody who makes tokens up takes these
		now := time.Now()
		if why := c.untimely(now, r.cfg.ClockSkew); why != "" {
			return nil, untrusted(why)
		}
		if c.keys == r.keys.now() && (c.until.IsZero() || now.Before(c.until)) {
			return c, nil
		}
	}
	if r.cfg.Introspection {
		return r.introspect(ctx, token, hash, places)
	}
	c, err := r.verify(ctx, token)
	if err == nil {
		r.tokens.add(hash, c)
	}
	return c, err
}

// introspect asks the issuer about a token (RFC 7662), once for all who come with it at the same
// time. The question does not end with the one who caused it.
func (r *Receiver) introspect(ctx context.Context, token string, hash tokenHash, places chan struct{}) (*claims, error) {
	answered := r.tokens.asking.DoChan(string(hash[:]), func() (any, error) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			return nil, unknown("too many tokens are being asked about")
		}
		within, cancel := context.WithTimeout(r.ctx, introspectTime)
		defer cancel()
		c, err := r.ask(within, token)
		if err == nil && !c.until.IsZero() {
			r.tokens.add(hash, c)
		}
		return c, err
	})
	select {
	case a := <-answered:
		if a.Err != nil {
			return nil, a.Err
		}
		return a.Val.(*claims), nil
	case <-ctx.Done():
		return nil, unknown("the sender left before its token was known")
	}
}

// ask asks the issuer about a token. What it answers counts for a while, and shorter than the token
// lives; not at all where the answer does not say how long that is.
func (r *Receiver) ask(ctx context.Context, token string) (c *claims, err error) {
	defer func() { // the application's function, on a goroutine of nobody's
		if p := recover(); p != nil {
			c, err = nil, unknown(fmt.Sprintf("Introspect panicked: %.200q", fmt.Sprint(p)))
		}
	}()
	answer, err := r.cfg.Introspect(ctx, fds.NewSecret(token))
	if err != nil {
		return nil, &refusal{status: 503, why: "the issuer could not be asked about the token", class: fds.ErrUnavailable, cause: tlspolicy.Shown(tlspolicy.Without(err, []string{token}))}
	}
	read, err := object(answer)
	if err != nil {
		return nil, unknown("the issuer's answer about the token: " + err.Error())
	}
	if string(read["active"]) != "true" {
		return nil, untrusted("its issuer calls it inactive (RFC 7662)")
	}
	if issuer, ok := read.text("iss"); read["iss"] != nil && (!ok || issuer != r.cfg.Issuer) {
		return nil, untrusted("its issuer (iss) is another one")
	}
	if c, err = r.judge(read); err != nil {
		return nil, err
	}
	if now := time.Now(); c.ends.After(now) {
		c.until = now.Add(min(introspected, c.ends.Sub(now)/2))
	}
	return c, nil
}
