// Package backoff spaces attempts: exponential, full jitter, capped, and reset
// only after what was attempted has held for a while. A reset at the first
// success would let a peer that accepts and drops at once be stormed. Of thousands
// who fail together, chance has a few fail often within a moment: the time that
// has passed bounds a delay too, so that they are not the last to come back.
package backoff

import (
	"math/rand/v2"
	"time"

	exponential "github.com/cenkalti/backoff/v5"
)

// Policy says how attempts are spaced. Every field must be positive.
type Policy struct {
	Initial     time.Duration // mean of the first delay
	Max         time.Duration // no delay is longer
	StableAfter time.Duration // a success that held this long resets the delay
}

// Backoff counts the failures of one thing. It is not safe for concurrent use.
type Backoff struct {
	policy Policy
	next   *exponential.ExponentialBackOff // nil: nothing has failed yet, or since it held
	up     time.Time                       // when the current success began; zero while there is none
	failed time.Time                       // when the first of the failures was; zero: none
}

// New starts with no failure counted.
func New(policy Policy) *Backoff { return &Backoff{policy: policy} }

// begin makes the delays begin anew.
func (b *Backoff) begin() {
	b.next = exponential.NewExponentialBackOff()
	b.next.InitialInterval = b.policy.Initial
	b.next.MaxInterval = max(b.policy.Initial, b.policy.Max/2) // or half of the delays would be exactly Max, all together again
	b.next.Multiplier = 2
	b.next.RandomizationFactor = 1 // uniform between 0 and twice the interval: full jitter
	b.next.Reset()
	b.failed = time.Time{}
}

// Up records a success. One that follows another, with no failure between, goes on
// with it.
func (b *Backoff) Up() {
	if b.up.IsZero() {
		b.up = time.Now()
	}
}

// Next returns the delay before the next attempt, after a failure or after the end
// of a success. A success that held for Policy.StableAfter starts anew.
func (b *Backoff) Next() time.Duration {
	now := time.Now()
	if b.next == nil || !b.up.IsZero() && now.Sub(b.up) >= b.policy.StableAfter {
		b.begin()
	}
	b.up = time.Time{}
	if b.failed.IsZero() {
		b.failed = now
	}
	delay := min(b.next.NextBackOff(), b.policy.Max)
	if most := 2 * max(b.policy.Initial, now.Sub(b.failed)); delay > most {
		delay = rand.N(most)
	}
	return delay
}
