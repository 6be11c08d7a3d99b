package handoff

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
)

// errApart: messages of several owners failed together, so that each owner's are to be handed over
// without the others'.
var errApart = errors.New("messages of several owners failed together")

// handing is what a call says to what collects over owners, by its context.
type handing struct {
	apart   bool            // no other owner's messages are to go with these
	closing <-chan struct{} // closed: it is not to be begun with any more
	fence   func() error    // asked before they are handed over
}

type handingKey struct{}

// across has one call take messages of several owners: a share of each. Shares wait until there
// are enough, or the first of them has waited long enough, and the call before has returned.
type across struct {
	handler delivery.BatchHandler
	most    int
	wait    time.Duration
	users   int // guarded by gathering.mu

	mu       sync.Mutex
	queue    []*share
	messages int  // of queue
	busy     bool // a call is at work
	timer    *time.Timer
}

// share is what one owner hands over.
type share struct {
	ctx   context.Context
	batch []delivery.Message
	since time.Time
	fence func() error  // nil: there is none
	begun bool          // under the lock
	done  chan struct{} // closed: what follows is set
	lead  bool          // it is the only one: who waits for it calls the handler
	err   error
}

// gathering are those at work, by what users have them by.
var gathering = struct {
	mu  sync.Mutex
	all map[*delivery.Batching]*across
}{all: make(map[*delivery.Batching]*across)}

// Gather returns how an owner's messages are handed over by b, whose copy with defaults whole is,
// until release is called. Where b is Across the handler collects what all owners who have
// b hand it, so that theirs are to be handed over as they come.
func Gather(b, whole *delivery.Batching) (_ *delivery.Batching, release func()) {
	if !whole.Across {
		return whole, func() {}
	}
	g := &gathering
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.all[b]
	if a == nil {
		a = &across{handler: whole.Handler, most: whole.Most, wait: whole.Wait}
		g.all[b] = a
	}
	a.users++
	return &delivery.Batching{Handler: a.call, Most: whole.Most, Wait: time.Nanosecond}, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if a.users--; a.users == 0 {
			delete(g.all, b)
		}
	}
}

// call hands over one owner's messages, together with those of others.
func (a *across) call(ctx context.Context, batch []delivery.Message) error {
	h, _ := ctx.Value(handingKey{}).(handing)
	if h.apart {
		return a.handler(ctx, batch)
	}
	s := &share{ctx: ctx, batch: batch, since: time.Now(), fence: h.fence, done: make(chan struct{})}
	a.mu.Lock()
	a.queue = append(a.queue, s)
	a.messages += len(batch)
	a.begin()
	a.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		if a.withdraw(s) {
			return fmt.Errorf("%w: %w", ErrClosing, ctx.Err())
		}
	case <-h.closing:
		if a.withdraw(s) {
			return ErrClosing
		}
	}
	<-s.done
	if s.lead {
		defer a.end() // also when the handler ends the goroutine
		if err := s.fenced(); err != nil {
			return err
		}
		return a.answer(ctx, batch)
	}
	return s.err
}

// answer calls the handler. Of verdicts it returns a copy, since the next call may use the
// handler's own again.
func (a *across) answer(ctx context.Context, batch []delivery.Message) error {
	err := sound(a.handler(ctx, batch))
	if verdicts, ofEach := VerdictsOf(err); ofEach {
		return slices.Clone(verdicts)
	}
	return err
}

// fenced returns why the share is not to be handed over any more.
func (s *share) fenced() error {
	if s.fence == nil {
		return nil
	}
	return s.fence()
}

// withdraw takes out what was not begun with, and reports whether it was not.
func (a *across) withdraw(s *share) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.begun {
		return false
	}
	a.queue = slices.DeleteFunc(a.queue, func(other *share) bool { return other == s })
	a.messages -= len(s.batch)
	return true
}

// begin begins a call if one is due, or sees to it that it is when it is due. a.mu is held.
func (a *across) begin() {
	if a.busy || len(a.queue) == 0 {
		return
	}
	if left := a.wait - time.Since(a.queue[0].since); left > 0 && a.messages < a.most {
		if a.timer == nil {
			a.timer = time.AfterFunc(left, func() {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.begin()
			})
		} else {
			a.timer.Reset(left)
		}
		return
	}
	n, messages := 0, 0
	for ; n < len(a.queue) && (n == 0 || messages+len(a.queue[n].batch) <= a.most); n++ {
		messages += len(a.queue[n].batch)
		a.queue[n].begun = true
	}
	shares := slices.Clone(a.queue[:n])
	a.queue = slices.Delete(a.queue, 0, n)
	a.messages -= messages
	a.busy = true
	if n == 1 {
		shares[0].lead = true
		close(shares[0].done)
		return
	}
	go a.work(shares, messages)
}

// end lets the next call begin.
func (a *across) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
	a.begin()
}

// work calls the handler for several owners' messages.
func (a *across) work(shares []*share, messages int) {
	defer a.end()
	shares = slices.DeleteFunc(shares, func(s *share) bool {
		if s.err = onOwnGoroutine(s.fenced); s.err != nil {
			messages -= len(s.batch)
			close(s.done)
		}
		return s.err != nil
	})
	if len(shares) == 0 {
		return
	}
	batch := make([]delivery.Message, 0, messages)
	for _, s := range shares {
		batch = append(batch, s.batch...)
	}
	ctx, cancel := whileAny(shares)
	defer cancel()
	err := onOwnGoroutine(func() (err error) {
		defer func() {
			if p := recover(); p != nil { // each owner's part does it again, or does not
				err = fmt.Errorf("the handler panicked: %q", shortened(fmt.Sprint(p)))
			}
		}()
		return none(a.answer(ctx, batch), messages)
	})
	verdicts, ofEach := VerdictsOf(err)
	v, _ := Judge(err)
	for at, of := 0, shares; len(of) > 0; of = of[1:] {
		s := of[0]
		switch {
		case err == nil:
		case ofEach:
			s.err = verdicts[min(at, len(verdicts)):min(at+len(s.batch), len(verdicts))]
		case v == delivery.Unavailable:
			s.err = err
		default:
			s.err = fmt.Errorf("%w: %w", errApart, err)
		}
		at += len(s.batch)
		close(s.done)
	}
}

// whileAny returns a context that ends with the last one of the shares', or with cancel.
func whileAny(shares []*share) (ctx context.Context, cancel func()) {
	ctx, end := context.WithCancel(context.WithoutCancel(shares[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(shares)))
	stops := make([]func() bool, len(shares))
	for i, s := range shares {
		stops[i] = context.AfterFunc(s.ctx, func() {
			if left.Add(-1) == 0 {
				end()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		end()
	}
}
