package push

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// Start has the connection made and kept up, and every message handed to h, until stop is called
// or ctx ends, or until waiting cannot help (fds.ErrTakenOver, fds.ErrFenced). Then ended is
// called, once, on a goroutine of its own: with nil, or with why waiting cannot help. A handler at
// work may finish within Config.DrainTimeout before; its message is acknowledged before the
// disconnect, and the broker keeps the session. When ended is called the handler has returned, and
// Start may be called again; meanwhile it fails (fds.ErrRunning). A connection at rest has one
// goroutine, which reads. A panic in a function of the Config ends the process, as it does in any
// goroutine; one that ends its goroutine instead is an error. ended must not be nil.
func (c *Connection) Start(ctx context.Context, h delivery.Handler, ended func(error)) (stop func(), err error) {
	if h == nil {
		return nil, fmt.Errorf("push: run: %w: Handler is nil", fds.ErrConfig)
	}
	return c.startWith(ctx, c.settings.handoff(h), ended)
}

// startWith is Start and StartBatches.
func (c *Connection) startWith(ctx context.Context, calling *handoff.Settings, ended func(error)) (stop func(), err error) {
	if ended == nil {
		return nil, fmt.Errorf("push: start: %w: ended is nil", fds.ErrConfig)
	}
	r, err := c.begin(ctx, calling, func(e ending) {
		switch {
		case e.panicked != nil:
			panic(e.panicked)
		case e.exited:
			e.err = errExited
		}
		ended(e.err)
	})
	if err != nil {
		return nil, err
	}
	return r.stop, nil
}

// Run is Start that returns when the connection has ended: ctx has, which is nil, or waiting cannot
// help. A panic in a function of the Config, or its runtime.Goexit, becomes Run's own.
func (c *Connection) Run(ctx context.Context, h delivery.Handler) error {
	if h == nil {
		return fmt.Errorf("push: run: %w: Handler is nil", fds.ErrConfig)
	}
	return c.runWith(ctx, c.settings.handoff(h))
}

// runWith is Run and RunBatches.
func (c *Connection) runWith(ctx context.Context, calling *handoff.Settings) error {
	var e ending
	done := make(chan struct{})
	_, err := c.begin(ctx, calling, func(how ending) {
		e = how
		close(done)
	})
	if err != nil {
		return err
	}
	<-done
	switch {
	case e.panicked != nil:
		panic(e.panicked)
	case e.exited:
		runtime.Goexit()
	}
	return e.err
}

var errExited = errors.New("push: a function of the application ended the goroutine that it was called on")

// ending is how a run has ended.
type ending struct {
	err      error
	panicked any  // by a function of the caller's; nil: by none
	exited   bool // such a function ended its goroutine
}

// signal is what a run is to look at.
type signal uint8

const (
	signalDue         signal = 1 << iota // the next attempt
	signalTurn                           // of the limit of connects
	signalStop                           // stop was called, or the context has ended
	signalEnded                          // a connection
	signalWoken                          // by Wake
	signalForeign                        // the first message of a connection that is not the owner's
	signalRenewed                        // there is another client certificate to connect with
	signalCertificate                    // certificateNews
)

// begin makes a call of Start or Run the one that is at work.
func (c *Connection) begin(ctx context.Context, calling *handoff.Settings, ended func(ending)) (*run, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != nil {
		return nil, fmt.Errorf("push: run: %w", fds.ErrRunning)
	}
	retry := c.settings.Backoff
	r := &run{
		connection: c,
		ctx:        ctx,
		ended:      ended,
		route:      &route{settings: &c.settings},
		backoff:    backoff.New(backoff.Policy{Initial: retry.Initial, Max: retry.Max, StableAfter: retry.StableAfter}),
		wait:       new(wait),
	}
	r.line = newLine(ctx, &c.settings, calling, c.discardLate, r.stop)
	c.run = r
	if ctx.Done() != nil {
		r.forget = context.AfterFunc(ctx, r.stop)
	}
	r.signal(signalDue)
	return r, nil
}

// stop ends the run.
func (r *run) stop() {
	r.mu.Lock()
	r.stopped = true
	if r.attempt != nil {
		r.attempt()
	}
	r.mu.Unlock()
	r.signal(signalStop)
}

func (r *run) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped || r.ctx.Err() != nil
}

// signal has the run look at something. It does not wait.
func (r *run) signal(s signal) {
	r.mu.Lock()
	r.signals |= s
	begin := !r.working
	r.working = true
	r.mu.Unlock()
	if begin {
		go r.work()
	}
}

// forgetWake takes back what Wake asked for.
func (r *run) forgetWake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signals &^= signalWoken
}

// work does what there is to do, and returns.
func (r *run) work() {
	returned := false
	defer func() {
		if returned {
			return
		}
		e := ending{panicked: recover()}
		if e.panicked != nil {
			e.panicked = fmt.Sprintf("%v\n\n%s", e.panicked, debug.Stack())
		}
		e.exited = e.panicked == nil
		go r.abort(e)
	}()
	for r.step() {
	}
	returned = true
}

// abort ends what is left of a run, for which a function of the caller's panicked or ended its
// goroutine; which another one may do now.
func (r *run) abort(e ending) {
	defer func() {
		if p := recover(); p != nil && e.panicked == nil {
			e = ending{panicked: fmt.Sprintf("%v\n\n%s", p, debug.Stack())}
		}
		r.end(e)
	}()
	if !r.over {
		r.drain()
	}
}

// step does the next thing, and reports whether there may be another.
func (r *run) step() bool {
	r.mu.Lock()
	s := r.signals
	r.signals = 0
	r.working = s != 0
	r.mu.Unlock()
	switch {
	case s == 0:
		return false
	case r.over: // whatever comes now comes too late
		return true
	case r.isStopped():
		r.next(r.finish(Stopped, r.line.fencedOff()))
		return true
	case r.cancelTurn != nil:
		r.woken = r.woken || s&signalWoken != 0
		if s&signalTurn == 0 {
			break
		}
		r.cancelTurn = nil
		if err := r.connect(); err != nil {
			r.next(r.decide(err))
		} else {
			r.signal(signalEnded) // it may have, and that was not seen
			if r.woken {          // the certificate may be older than that
				r.signal(signalWoken)
			}
		}
	case r.wait == nil:
		r.look(s)
	case s&signalCertificate != 0 && r.wait.certificate != nil && !r.stillNone(), s&(signalDue|signalWoken) != 0:
		r.wait.end()
		r.wait = nil
		if err := r.prepare(); err != nil {
			r.next(r.decide(err))
		}
	}
	return true
}

// end lets there be another run, and tells how this one has ended.
func (r *run) end(e ending) {
	c := r.connection
	if r.forget != nil {
		r.forget()
	}
	c.mu.Lock()
	if !r.over { // a function of the caller's has ended it
		c.state.Phase, c.state.Since, c.state.RetryAt = Stopped, time.Now(), time.Time{}
	}
	c.run = nil
	if r.done != nil {
		close(r.done)
	}
	c.mu.Unlock()
	go r.ended(e)
}
