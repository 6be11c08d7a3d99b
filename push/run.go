package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/hooks"
)

const (
	// endingsInARow is how many endings in a row, soon after coming up and without a
	// reason, look like a take-over. Two that fight then connect eight times in all.
	endingsInARow = 4
	faultsInARow  = 3 // after which attempts become rare
)

// Run connects, keeps the connection up and hands every message to h, until ctx
// ends, which returns nil, or until waiting cannot help (fds.ErrTakenOver). When ctx
// ends, a handler at work may finish within Config.DrainTimeout; its message is
// acknowledged before the disconnect, and the broker keeps the session. Run
// returns when the handler has returned. It may be called again afterwards, one
// call at a time (fds.ErrRunning). A panic in a function of the Config that Run calls
// ends it in the same way, and reaches the caller.
func (c *Connection) Run(ctx context.Context, h delivery.Handler) error {
	var r *run
	var err error
	onFreshStack(func() { r, err = c.newRun(ctx, h) })
	if err != nil {
		return err
	}
	defer r.end()
	for {
		// Wait for a certificate and for the limiter, dial, subscribe: session.open.
		onFreshStack(func() { err = r.connect() })
		if err == nil {
			err = r.serve() // until the end
		}
		var next decision
		onFreshStack(func() { next = r.decide(err) }) // again, slowly, or stop
		if next.stop {
			return next.err
		}
		r.wait(next)
	}
}

// onFreshStack runs f on a goroutine of its own and waits for it. Run's goroutine waits for
// as long as connections live, and a stack that has grown never becomes as small as a new
// one again: the 2 KiB an owner that the handshake of TLS, functions of the Config and
// logging make it grow by are not kept. (Run, serve and wait have small frames for that.)
// A panic of f's, or its runtime.Goexit, becomes the caller's.
func onFreshStack(f func()) {
	var panicked any
	exited := true
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
			}
		}()
		f()
		exited = false
	}()
	<-done
	switch {
	case panicked != nil:
		panic(panicked)
	case exited:
		runtime.Goexit()
	}
}

// run is one call of Run: one session after the other.
type run struct {
	connection *Connection
	ctx        context.Context
	cancel     context.CancelFunc
	line       *line
	session    *session // connected, or being so
	over       bool     // finish was called
	done       chan struct{}

	certificate  shownCertificate // to the broker, in the last attempt
	waitingSince time.Time        // since when no certificate is one that the broker takes; zero: there was one
	route        *route
	backoff      *backoff.Backoff
	last         error     // why the connection before ended
	planned      time.Time // when we ended it ourselves, and nothing has failed since; else zero
	endings      int       // see endingsInARow
	faults       int       // see faultsInARow

	expire  bool // end, and the session too; under the connection's lock
	expired bool // the broker has forgotten the session; read after done
}

// newRun makes a call of Run the one that is at work.
func (c *Connection) newRun(ctx context.Context, h delivery.Handler) (*run, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case h == nil:
		return nil, fmt.Errorf("push: run: %w: Handler is nil", fds.ErrConfig)
	case c.run != nil:
		return nil, fmt.Errorf("push: run: %w", fds.ErrRunning)
	}
	retry := c.settings.Backoff
	r := &run{
		connection: c,
		done:       make(chan struct{}),
		route:      &route{settings: &c.settings},
		backoff:    backoff.New(backoff.Policy{Initial: retry.Initial, Max: retry.Max, StableAfter: retry.StableAfter}),
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.line = newLine(r.ctx, &c.settings, h, c.discardLate)
	c.run = r
	return r, nil
}

// connect makes a connection, on which messages flow when it returns nil.
func (r *run) connect() error {
	c := r.connection
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	c.forgetWake() // this attempt is what it asked for
	s := newSession(c, r.route.next(), r.line)
	r.session = s
	c.mu.Lock()
	c.state.Broker = s.to.address
	c.mu.Unlock()
	c.enter(Connecting, nil, time.Time{})
	began := time.Now()
	err := s.open(r.ctx)
	if r.ctx.Err() == nil {
		hooks.Tell(c.settings.Hooks, func(h HookConnect) { h.OnConnect(c.settings.Owner, time.Since(began), err) })
	}
	r.certificate.show(s.certificate)
	if err != nil {
		return err
	}
	r.backoff.Up()
	r.waitingSince = time.Time{}
	s.since = time.Now()
	c.cameUp(s)
	planned := !r.planned.IsZero() && s.since.Sub(r.planned) <= c.settings.ConnectTimeout && !s.granted.atMostOnce()
	if err := s.startDelivery(r.ctx, Subscribed{SessionPresent: s.present, Planned: planned, Last: r.last}); err != nil {
		return err
	}
	s.watch = c.watchCertificate(s, r.certificate.changesTooOften())
	return nil
}

// serve returns when the connection has ended, with the reason, or when ctx has.
func (r *run) serve() error {
	c, s := r.connection, r.session
	for {
		select {
		case <-r.ctx.Done():
			return r.ctx.Err()
		case <-s.wire.ended:
			onFreshStack(s.wait)
			return s.wire.why()
		case <-c.woken:
			onFreshStack(s.watch.lookNow)
		case event := <-s.events:
			onFreshStack(func() {
				if errors.Is(event, errNewCertificate) {
					s.finish(event, false) // what is unacknowledged comes again on the next connection
					return
				}
				refused, _ := s.granted.refused()
				c.update(func(state *State) { state.Err = cmp.Or(refused, event) })
			})
		}
	}
}

// decision is what follows an attempt, or a connection, that has ended.
type decision struct {
	stop bool  // Run returns err
	err  error // see stop

	at          time.Time        // when the next attempt is due; zero: at once
	certificate *certificateWait // looks for another one, which is tried at once; nil: nobody does
}

// decide says, and has told, what follows the attempt, or the connection, that ended with err.
func (r *run) decide(err error) decision {
	c, s := r.connection, r.session
	if r.ctx.Err() != nil {
		return r.finish(Stopped, nil)
	}
	r.session, r.planned = nil, time.Time{}
	came, soon := !s.since.IsZero(), false
	if came { // whatever came after
		r.last = err
		c.forgetWake()
		if soon = time.Since(s.since) < c.settings.Backoff.StableAfter; !soon {
			r.faults, r.endings, r.route.hops = 0, 0, 0
		}
	}
	if errors.Is(err, errNewCertificate) {
		if !s.granted.atMostOnce() {
			r.planned = time.Now()
		}
		return decision{}
	}
	delay, phase, err := r.classify(err, came, soon)
	if phase == "" {
		return r.finish(TakenOver, err)
	}
	next := decision{at: time.Now().Add(delay)}
	c.enter(phase, err, next.at)
	if phase == NeedsCertificate || phase == Denied {
		if r.waitingSince.IsZero() {
			r.waitingSince = time.Now()
		}
		next.certificate = c.awaitCertificate(r.waitingSince, &r.certificate, err)
	}
	return next
}

// classify says how long to wait after an attempt, or soon after it a connection that
// came up, has ended with err, and what the owner's phase is meanwhile; "": do not
// try again.
func (r *run) classify(err error, came, soon bool) (delay time.Duration, phase Phase, why error) {
	settings := &r.connection.settings
	next, slow := r.backoff.Next(), r.slowDelay(err)
	r.route.ended(err)
	switch {
	case soon && isBare(err):
		r.endings++
	case !came && isBare(err) && r.endings > 0: // closed between CONNACK and SUBACK, which alone means nothing
		r.endings++
	default:
		r.endings = 0
	}

	switch what := actionOf(err); {
	case r.route.referred:
		delay = next
	case what == stop, r.endings >= endingsInARow:
		taken := &TakenOverError{Owner: settings.Owner, Suspected: what != stop, Endings: r.endings}
		switch {
		case settings.TakenOverRetry > 0:
			delay = settings.TakenOverRetry + rand.N(settings.TakenOverRetry/2)
		case taken.Suspected: // a broker in trouble looks the same, and nobody may be there to start again
			delay = slow
		default:
			return 0, "", taken
		}
		err = taken
	case what == fault:
		if r.faults++; r.faults <= faultsInARow {
			delay = next
			break
		}
		fallthrough
	case what == slowly:
		delay = slow
	default:
		delay = next
	}
	phase = BackingOff
	switch {
	case errors.Is(err, fds.ErrCertificate) && !isPassing(err):
		phase = NeedsCertificate
	case errors.Is(err, fds.ErrTakenOver):
		phase = TakenOver
	case errors.Is(err, fds.ErrBrokerDenied) && !r.route.referred:
		phase = Denied
	}
	return delay, phase, err
}

// slowDelay returns how long to wait while only a person can help, or the clock.
func (r *run) slowDelay(err error) time.Duration {
	var unusable *CertificateError
	if errors.As(err, &unusable) {
		if left := time.Until(unusable.NotBefore); left > 0 { // the dates are precise to the second
			return left + time.Millisecond
		}
	}
	return jittered(r.connection.settings.Backoff.Slow)
}

// wait returns when the next attempt is due: its time has come, or another certificate, or
// Wake asks for it, or ctx has ended.
func (r *run) wait(next decision) {
	due := time.NewTimer(time.Until(next.at))
	defer due.Stop()
	var certificates <-chan error
	if next.certificate != nil {
		defer next.certificate.stop()
		certificates = next.certificate.news
	}
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-due.C:
			return
		case <-r.connection.woken:
			return
		case err := <-certificates:
			if err == nil {
				return
			}
			onFreshStack(func() { // there is still none, for another reason
				if soonest := time.Now().Add(r.slowDelay(err)); soonest.Before(next.at) {
					next.at = soonest
					due.Reset(time.Until(soonest))
				}
				r.connection.enter(NeedsCertificate, err, next.at)
			})
		}
	}
}

// finish ends Run: as Stopped, or TakenOver by another with err.
func (r *run) finish(phase Phase, err error) decision {
	r.over = true
	defer r.connection.enter(phase, err, time.Time{}) // also when a hook panics
	r.drain()
	return decision{stop: true, err: err}
}

// drain lets the handler finish, sees its acknowledgement out and disconnects, if
// there is a connection.
func (r *run) drain() {
	c, l, s := r.connection, r.line, r.session
	if s != nil && s.watch != nil {
		s.watch.stop()
	}
	defer func() { // also when a hook panics that is told what was not handed over
		l.cancel()
		if s != nil && s.wire != nil {
			c.mu.Lock()
			expire := r.expire
			c.mu.Unlock()
			r.expired = s.finish(errFinished, expire) && expire
		}
		<-l.closed
	}()
	l.close()
	timer := time.NewTimer(c.settings.DrainTimeout)
	defer timer.Stop()
	select {
	case <-l.closed: // and its acknowledgement is written
	case <-timer.C:
	}
}

// end lets there be another Run. When a function of the caller's panicked or ended its
// goroutine, it ends first what is left of this one.
func (r *run) end() {
	c := r.connection
	if !r.over {
		r.drain()
	}
	r.cancel()
	c.mu.Lock()
	if !r.over {
		c.state.Phase, c.state.Since, c.state.RetryAt = Stopped, time.Now(), time.Time{}
	}
	c.run = nil
	c.mu.Unlock()
	close(r.done)
}
