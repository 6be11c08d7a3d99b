package fds

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Limit bounds what is asked of one provider: the requests of its Web API (pull.Settings), or
// the connects to its broker (push.Settings). Share one among all its owners. A number that is
// not positive bounds nothing, nor does a nil Limit. It is safe for concurrent use; do not
// copy it, nor change the numbers once it is in use.
type Limit struct {
	Concurrent int     // at once
	PerSecond  float64 // new ones in a second
	Burst      int     // of these at once after a pause; default a second's worth

	once   sync.Once
	places *semaphore.Weighted
	rate   *rate.Limiter
}

func (l *Limit) begin() {
	l.once.Do(func() {
		if l.Concurrent > 0 {
			l.places = semaphore.NewWeighted(int64(l.Concurrent))
		}
		if l.PerSecond > 0 {
			burst := l.Burst
			if burst <= 0 {
				burst = int(l.PerSecond)
			}
			l.rate = rate.NewLimiter(rate.Limit(l.PerSecond), max(burst, 1))
		}
	})
}

// Wait waits until another one may begin, by PerSecond. It returns ctx's error, or one that
// matches context.DeadlineExceeded when that would end before.
func (l *Limit) Wait(ctx context.Context) error {
	if l != nil {
		l.begin()
	}
	if l == nil || l.rate == nil {
		return ctx.Err()
	}
	if err := l.rate.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the limit leaves no room: %w", context.DeadlineExceeded)
	}
	return nil
}

// Acquire waits for one of the Concurrent places, for Release to free, or returns ctx's error.
func (l *Limit) Acquire(ctx context.Context) error {
	if l != nil {
		l.begin()
	}
	if l == nil || l.places == nil {
		return ctx.Err()
	}
	return l.places.Acquire(ctx, 1)
}

// Release frees the place of an Acquire that returned nil.
func (l *Limit) Release() {
	if l != nil && l.places != nil {
		l.places.Release(1)
	}
}
