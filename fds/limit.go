package fds

import (
	"container/list"
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

	mu     sync.Mutex
	asked  list.List // of func(), in the order they came
	nobody func()    // ends the wait of the goroutine that is at them; nil: none is
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

// Ask has turn called once another one may begin, by PerSecond and Concurrent: first come, first
// served, and nobody who waits costs a goroutine. turn must not block; Release frees its place. A
// nil Limit calls it at once. cancel takes the question back, and reports whether turn will not
// be called; false: it was, or is being.
func (l *Limit) Ask(turn func()) (cancel func() bool) {
	if l != nil {
		l.begin()
	}
	if l == nil || l.places == nil && l.rate == nil {
		turn()
		return func() bool { return false }
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	place := l.asked.PushBack(turn)
	if l.nobody == nil {
		l.nobody = func() {}
		go l.serve()
	}
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		waits := place.Value != nil
		if waits {
			l.asked.Remove(place)
			place.Value = nil
			if l.asked.Len() == 0 {
				l.nobody()
			}
		}
		return waits
	}
}

// serve calls those who have asked, until there is none.
func (l *Limit) serve() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		if !l.somebody(cancel) {
			cancel()
			return
		}
		err := l.Wait(ctx)
		if err == nil {
			err = l.Acquire(ctx)
		}
		cancel()
		if err == nil {
			l.next()()
		}
	}
}

// somebody reports whether one who has asked waits, whose taking it back is to call nobody; else the
// serving ends.
func (l *Limit) somebody(nobody func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked.Len() == 0 {
		l.nobody = nil
		return false
	}
	l.nobody = nobody
	return true
}

// next takes out the turn of who has asked first; when that was taken back, what frees the place.
func (l *Limit) next() (turn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.asked.Front()
	if first == nil {
		return l.Release
	}
	turn = l.asked.Remove(first).(func())
	first.Value = nil
	return turn
}
