// Package single has a piece of work that may hang, such as reading a file on a
// network, done once at a time for all who wait for it.
package single

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrLate is returned to those who waited for as long as they were ready to.
var ErrLate = errors.New("it takes too long")

// Flight is work for which any number wait. The zero value is ready.
type Flight[T any] struct {
	mu      sync.Mutex // never held while the work is done
	current *call[T]
}

type call[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// Do returns what work returns, which it calls in a goroutine of its own, unless a
// call is under way: then it returns what that does. It waits until ctx ends, or for
// that long; the work goes on all the same. A panic of the work is an error.
func (f *Flight[T]) Do(ctx context.Context, timeout time.Duration, work func() (T, error)) (value T, err error) {
	f.mu.Lock()
	c := f.current
	if c == nil {
		c = &call[T]{done: make(chan struct{})}
		f.current = c
		go f.run(c, work)
	}
	f.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		return value, context.Cause(ctx)
	case <-timer.C:
		return value, ErrLate
	}
}

func (f *Flight[T]) run(c *call[T], work func() (T, error)) {
	c.err = errors.New("it ended its goroutine") // unless it returns
	defer func() {
		if p := recover(); p != nil {
			c.err = fmt.Errorf("it panicked: %.200q", fmt.Sprint(p))
		}
		f.mu.Lock()
		f.current = nil
		f.mu.Unlock()
		close(c.done)
	}()
	c.value, c.err = work()
}
