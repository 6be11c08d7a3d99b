package pull

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Limit bounds the requests to one provider. Share one among the clients of all
// its owners. It is safe for concurrent use; a nil Limit bounds nothing.
type Limit struct {
	places *semaphore.Weighted
	rate   *rate.Limiter
}

// NewLimit allows so many requests at once, from when one is sent until its
// answer is read, and so many new ones a second, in bursts of a second's worth. A
// number that is not positive bounds nothing. An answer that waits for the loop
// over its list takes no place.
func NewLimit(concurrent int, perSecond float64) *Limit {
	l := new(Limit)
	if concurrent > 0 {
		l.places = semaphore.NewWeighted(int64(concurrent))
	}
	if perSecond > 0 {
		l.rate = rate.NewLimiter(rate.Limit(perSecond), max(int(perSecond), 1))
	}
	return l
}

// begin waits until another request may begin.
func (l *Limit) begin(ctx context.Context) error {
	if l == nil || l.rate == nil {
		return ctx.Err()
	}
	if err := l.rate.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the limit of requests leaves no room: %w", context.DeadlineExceeded)
	}
	return nil
}

// enter waits for a place.
func (l *Limit) enter(ctx context.Context) error {
	if l == nil || l.places == nil {
		return ctx.Err()
	}
	return l.places.Acquire(ctx, 1)
}

func (l *Limit) leave() {
	if l != nil && l.places != nil {
		l.places.Release(1)
	}
}
