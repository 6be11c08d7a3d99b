// Package handoff calls an application's handler, the same for every way by which a message
// comes: a panic harms one owner alone, the end of the goroutine is no success, a call that
// takes long is told of, and what the handler fails on too often goes to the dead letters.
package handoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
)

// ErrExited: the handler called runtime.Goexit, as a test does that fails.
var ErrExited = errors.New("the handler ended its goroutine")

// ErrClosing: delivery ended before the handler was done with the message.
var ErrClosing = errors.New("delivery is being stopped")

// FencedError is why a message was not handed over: this process may not go on with its owner.
type FencedError struct{ Err error }

// Error begins with the class.
func (e *FencedError) Error() string { return fmt.Sprintf("%v: %v", fds.ErrFenced, e.Err) }

// Unwrap returns the class, and what the fence said.
func (e *FencedError) Unwrap() []error { return []error{fds.ErrFenced, e.Err} }

// Fenced reports whether a fence is why a message was not handed over.
func Fenced(err error) bool {
	var fenced *FencedError
	return errors.As(err, &fenced)
}

// Ask asks a fence, which may be nil. That it panics is an error.
func Ask(fence func(fds.OwnerKey) error, owner fds.OwnerKey) (err error) {
	if fence == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the fence panicked: %q", shortened(fmt.Sprint(p)))
		}
		if err != nil && !Fenced(err) {
			err = &FencedError{err}
		}
	}()
	return sound(fence(owner))
}

// Settings are what the hands of many owners share. Handler or Batch is required.
type Settings struct {
	Handler delivery.Handler   // of Once and Until
	Batch   *delivery.Batching // of Batch, with its defaults; see Gather
	// MaxAttempts is how often Handler is called for a message before DeadLetter gets it;
	// 0: without end. The verdict Terminal has it get it at once; nil: there are no dead letters.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, m delivery.Message, err error) error
	// Fence is asked before each call, for the owner of the message: after an error, which may have
	// been a panic, there is none, and Once, Until and the items of Batch have a *FencedError. It may
	// be nil.
	Fence     func(fds.OwnerKey) error
	Backoff   backoff.Policy // between the calls of Until
	SlowAfter time.Duration  // what a call may take until it is told of
	Watch     *Watch         // of calls that take SlowAfter; nil: each hand has its own
	Logger    *slog.Logger

	Handled func(m delivery.Message, took time.Duration, err error) // told of each call; may be nil
	Slow    func(m delivery.Message, took time.Duration)            // told of a call that has taken SlowAfter; may be nil
}

// failing is one more failure; it is not changed.
type failing struct {
	delivery.Failing
	known   uint64 // what the message is known by
	handler error  // what the handler itself last failed with on it
	never   bool   // it is for the dead letters, however often it has failed
}

// Hand hands one owner's messages over, one at a time.
type Hand struct {
	settings *Settings
	watch    *Watch
	failing  atomic.Pointer[failing] // nil: nothing fails
	several  *several                // of Batch; nil: it was not called

	mu      sync.Mutex
	began   time.Time         // of the call at work
	message *delivery.Message // nil: none is at work
	release func()            // see OnRelease
}

// New returns the hand of an owner.
func New(s *Settings) *Hand {
	h := &Hand{settings: s, watch: s.Watch}
	if h.watch == nil {
		h.watch = new(Watch)
	}
	return h
}

// Resume returns the hand of an owner on whose message, known by that number, the handler has
// failed before.
func Resume(s *Settings, known uint64, before delivery.Failing) *Hand {
	h := New(s)
	verdict, _ := Judge(before.Err)
	h.failing.Store(&failing{Failing: before, known: known, handler: before.Err, never: verdict == delivery.Terminal})
	return h
}

// Failing returns what the handler fails on at this moment; false: on nothing, as with a nil
// Hand.
func (h *Hand) Failing() (delivery.Failing, bool) {
	if h == nil {
		return delivery.Failing{}, false
	}
	if f := h.failing.Load(); f != nil {
		return f.Failing, true
	}
	return delivery.Failing{}, false
}

// Once calls the handler once, or in its place the dead-letter function when it has failed
// too often on the message that is known by that number. It reports whether the message
// went to the dead letters. An error means that it must come again, and what the handler
// has of others meanwhile changes nothing in how often it has failed. The message is not
// changed, and must not be while the handler is at work.
func (h *Hand) Once(ctx context.Context, m *delivery.Message, known uint64) (dead bool, err error) {
	before := h.failing.Load()
	if before != nil && before.known != known {
		before = nil
	}
	if before != nil && !m.Duplicate { // fetched again
		again := *m
		again.Duplicate = true
		m = &again
	}
	dead = h.givenUp(before, 0)
	var as *kept // the handler may change the payload that the dead letters get
	intact := m
	switch {
	case dead || h.settings.DeadLetter == nil:
	case h.givenUp(before, 1):
		spare := *m
		spare.Payload = bytes.Clone(m.Payload)
		intact = &spare
	default: // only should it be Terminal
		as = keep(m.Payload)
		defer as.drop()
	}
	returned := false
	defer func() {
		if !returned { // the handler ended its goroutine
			h.failing.Store(before.next(m, known, ErrExited, dead))
		}
	}()
	for {
		if err := Ask(h.settings.Fence, m.Owner); err != nil {
			returned = true
			return false, err
		}
		handler := h.settings.Handler
		if dead {
			last := before.handler
			handler = func(ctx context.Context, m delivery.Message) error { return h.settings.DeadLetter(ctx, m, last) }
		}
		err := h.call(ctx, handler, m)
		returned = true
		if err == nil {
			if failing := h.failing.Load(); failing != nil && failing.known == known {
				h.failing.Store(nil)
			}
			return dead, nil
		}
		if ctx.Err() != nil || Fenced(err) {
			return false, err
		}
		toldNever := before != nil && before.never
		before = before.next(m, known, err, dead)
		h.failing.Store(before)
		switch {
		case before.never && h.settings.DeadLetter == nil:
			if !toldNever {
				h.noDeadLetters(ctx, m, err)
			}
			return false, err
		case dead || !h.givenUp(before, 0):
			return false, err
		case as != nil:
			payload, changed := as.again(m.Payload)
			if changed != nil { // it goes there when it comes again
				return false, err
			}
			spare := *m
			spare.Payload = payload
			intact = &spare
		}
		why := "the handler failed too often, the message goes to the dead letters"
		if before.never {
			why = "the handler says that it will never take the message, which goes to the dead letters"
		}
		dead, returned, m = true, false, intact
		h.settings.Logger.LogAttrs(ctx, slog.LevelError, why, slog.Any("message", *m), slog.Any("error", err), slog.Int("attempts", before.Attempts))
	}
}

// givenUp reports whether a message is for the dead letters after that many failures more.
func (h *Hand) givenUp(f *failing, more int) bool {
	if f != nil {
		more += f.Attempts
	}
	never := f != nil && f.never && h.settings.DeadLetter != nil
	return never || h.settings.MaxAttempts > 0 && more >= h.settings.MaxAttempts
}

// next returns what is known after one more failure. One that is not the message's fault does not
// count.
func (f *failing) next(m *delivery.Message, known uint64, err error, dead bool) *failing {
	if f == nil {
		f = &failing{Failing: delivery.Failing{Message: *m, Since: time.Now()}, known: known}
	}
	now := *f
	verdict, _ := Judge(err)
	if verdict != delivery.Unavailable {
		now.Attempts++
	}
	switch now.Err = err; {
	case !dead:
		now.handler, now.never = err, verdict == delivery.Terminal
	case now.never: // also when it is resumed
		now.Err = delivery.Terminate(err)
	}
	return &now
}

// Forget forgets what the handler failed on: it is no longer to be handed over.
func (h *Hand) Forget() {
	if h == nil {
		return
	}
	if h.several != nil {
		clear(h.several.failing)
	}
	if h.failing.Load() != nil {
		h.failing.Store(nil)
	}
}

// Until calls the handler until the message is done with, which nil says. ErrClosing:
// closing was closed before; ErrChanged: it cannot be handed over again; a *FencedError: the fence
// forbids it. When it comes again
// after that, or after the handler has ended the goroutine, and none between, its failures
// are counted on. Between two calls the goroutine is released.
func (h *Hand) Until(ctx context.Context, m *delivery.Message, closing <-chan struct{}) error {
	known := h.known(m)
	if before := h.failing.Load(); before != nil && (known == 0 || before.known != known) {
		h.Forget()
	}
	as := keep(m.Payload)
	defer as.drop()
	var b *backoff.Backoff // made when it is needed
	for {
		_, err := h.Once(ctx, m, known)
		if err == nil || Fenced(err) {
			return err
		}
		payload, changed := as.again(m.Payload)
		if changed != nil {
			return changed
		}
		_, delay := Judge(err)
		if delay == 0 {
			if b == nil {
				b = backoff.New(h.settings.Backoff)
			}
			delay = b.Next()
		}
		h.settings.Logger.LogAttrs(ctx, slog.LevelWarn, "the handler failed, the message stays unacknowledged", slog.Any("message", *m), slog.Any("error", err), slog.Duration("retry_in", delay))
		h.Release()
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			again := *m
			again.Duplicate, again.Payload = true, payload
			m = &again
		case <-closing:
			timer.Stop()
			return ErrClosing
		}
	}
}

// known returns what a message is known by to Until; 0: by nothing, where failures are not
// counted.
func (h *Hand) known(m *delivery.Message) uint64 {
	if h.settings.DeadLetter == nil {
		return 0
	}
	return maphash.String(seed, m.Topic) ^ maphash.Bytes(seed, m.Payload) | 1
}

// call calls the handler, or what stands in for it, once.
func (h *Hand) call(ctx context.Context, handler delivery.Handler, m *delivery.Message) (err error) {
	err = ErrExited // unless it returns
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler panicked: %q", shortened(fmt.Sprint(p)))
			h.settings.Logger.LogAttrs(ctx, slog.LevelError, "the handler panicked", slog.Any("message", *m), slog.Any("error", err), slog.String("stack", string(debug.Stack())))
		}
		if h.settings.Handled != nil {
			h.settings.Handled(*m, time.Since(began), err)
		}
	}()
	h.works(began, m)
	defer h.works(time.Time{}, nil)
	return sound(handler(ctx, *m))
}

const maxShown = 256 // bytes of a panic's value

func shortened(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "")
	}
	return s
}
