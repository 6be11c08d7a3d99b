package push

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/hooks"
)

const (
	// suspicious is how many endings in a row, soon after coming up and without a
	// reason, look like a take-over. Two that fight then connect eight times in all.
	suspicious = 4
	patience   = 3 // faults in a row after which attempts become rare
)

// run is one call of Run: one session after the other. Its goroutine waits for as
// long as a connection lives, and a stack that was large once stays so: whatever is
// not waiting is work, done on another one.
type run struct {
	connection *Connection
	handler    delivery.Handler
	done       chan struct{}

	ctx     context.Context // until start, the caller's
	cancel  context.CancelFunc
	unwatch func() bool // ctx has no nudge any more
	line    *line       // nil: not started

	working  atomic.Bool // work is at it; what follows is its own until then
	panicked any         // by a function of the caller's
	exited   bool        // it ended its goroutine

	session *session // connected, or being so
	up      time.Time
	renewal *certificateWatch // nil: not connected
	retryAt time.Time         // not connected: when the next attempt is
	retry   *time.Timer

	shown    *tls.Certificate // to the broker, in the last attempt; nil: there was none
	awaiting *certificateWait // nil: no certificate is waited for
	lacking  *time.Time       // since when; nil: there was one that the broker took
	changed  *changes         // of the certificate; nil: it was not

	route   *route
	backoff *backoff.Backoff
	last    error     // why the connection before ended
	planned time.Time // when we ended it ourselves, and nothing has failed since; else zero
	endings int       // see suspicious
	faults  int       // see patience

	drained bool
	over    bool // Run returns err
	err     error

	expire  bool // end, and the session too; under the connection's lock
	expired bool // the broker has forgotten the session; read after done
}

// begin makes a call of Run the one that is at work; nil: there is another.
func (c *Connection) begin(ctx context.Context, h delivery.Handler) *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != nil {
		return nil
	}
	c.run = &run{connection: c, ctx: ctx, handler: h, done: make(chan struct{})}
	return c.run
}

// start is the first work.
func (r *run) start() {
	c, retry := r.connection, r.connection.settings.Backoff
	c.mu.Lock()
	defer c.mu.Unlock()
	r.ctx, r.cancel = context.WithCancel(r.ctx)
	r.unwatch = context.AfterFunc(r.ctx, c.nudge)
	if r.expire {
		r.cancel()
	}
	r.line = newLine(r.ctx, &c.settings, r.handler, c.discardLate)
	r.route = newRoute(&c.settings)
	r.backoff = backoff.New(backoff.Policy{Initial: retry.Initial, Max: retry.Max, StableAfter: retry.StableAfter})
}

// end is the end of Run, also when a function of the caller's panicked or ended its
// goroutine.
func (r *run) end() {
	c := r.connection
	if r.line != nil {
		r.drain()
		r.unwatch()
		r.cancel()
	}
	c.mu.Lock()
	if !r.over {
		c.state.Phase, c.state.Since, c.state.RetryAt = Stopped, time.Now(), time.Time{}
	}
	c.run = nil
	c.mu.Unlock()
	close(r.done)
}

// work does a step and says so.
func (r *run) work() {
	r.exited = true
	defer func() {
		if p := recover(); p != nil {
			r.panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
		}
		r.working.Store(false)
		r.connection.nudge()
	}()
	if r.line == nil {
		r.start()
	}
	r.step()
	r.exited = false
}

// step does what is to be done now, until there is something to wait for or Run is
// over.
func (r *run) step() {
	for r.ctx.Err() == nil {
		var err error
		came := r.connected()
		switch {
		case came:
			err = r.happened()
		case r.waitsOn():
			return
		default:
			came, err = r.attempt()
		}
		if err == nil {
			return
		}
		soon := false
		r.planned = time.Time{}
		if came {
			r.last = err
			r.connection.woken.Store(false)
			if soon = time.Since(r.up) < r.connection.settings.Backoff.StableAfter; !soon {
				r.faults, r.endings, r.route.hops = 0, 0, 0
			}
		}
		switch {
		case r.ctx.Err() != nil:
		case errors.Is(err, errNewCertificate):
			if !r.session.granted.atMostOnce() {
				r.planned = time.Now()
			}
			r.session = nil
		default:
			r.session = nil
			delay, phase, err := r.judge(err, came, soon)
			if phase == "" {
				r.finish(err)
				return
			}
			r.retryAt = time.Now().Add(delay)
			r.connection.enter(phase, err, r.retryAt)
			r.retry = time.AfterFunc(delay, r.connection.nudge)
			if phase == NeedsCertificate || phase == Denied {
				if r.lacking == nil {
					r.lacking = new(time.Now())
				}
				r.awaiting = r.connection.awaitCertificate(*r.lacking, r.shown, r.changed.tooMany(), err)
			}
			return
		}
	}
	r.finish(nil)
}

// finish ends Run: with nil, or since another has taken over.
func (r *run) finish(err error) {
	r.drain()
	r.connection.update(func(s *State) {
		s.Phase, s.Since, s.Err, s.RetryAt = Stopped, time.Now(), nil, time.Time{}
		if err != nil {
			s.Phase, s.Err = TakenOver, err
		}
	})
	if err != nil {
		r.connection.logOutage(TakenOver, err)
	}
	r.over, r.err = true, err
}

// wait returns when work is through and there is more to do, or Run is over. Run
// waits here nearly always. What ended work ends Run's goroutine too.
func (r *run) wait() {
	for r.working.Load() || !r.toDo() {
		<-r.connection.nudged
	}
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case r.exited:
		runtime.Goexit()
	}
}

// toDo reports whether there is work.
func (r *run) toDo() bool {
	switch {
	case r.over, r.exited, r.panicked != nil, r.ctx.Err() != nil:
		return true
	case !r.connected():
		return r.isDue() || r.awaiting != nil && r.awaiting.hasNews()
	}
	return r.session.wire.hasEnded() || r.renewal.isDue() || r.connection.woken.Load() || r.connection.untold(r.session)
}

// untold reports whether there is a foreign topic to tell of.
func (c *Connection) untold(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.foreign != nil && !s.told
}

func (r *run) connected() bool { return r.renewal != nil }

// isDue reports whether it is time for the next attempt.
func (r *run) isDue() bool { return r.connection.woken.Load() || !time.Now().Before(r.retryAt) }

// waitsOn tells what is new about a certificate that cannot be used, and reports
// whether it is still waited for.
func (r *run) waitsOn() bool {
	if r.awaiting == nil || r.isDue() {
		return false
	}
	news := r.awaiting.takeNews()
	if news == nil {
		return false
	}
	if soonest := time.Now().Add(r.slowly(news)); soonest.Before(r.retryAt) {
		r.retryAt = soonest
		r.retry.Reset(time.Until(soonest))
	}
	r.connection.enter(NeedsCertificate, news, r.retryAt)
	return true
}

// stopAwaiting ends the wait for a certificate, if there is one.
func (r *run) stopAwaiting() {
	if r.awaiting != nil {
		r.awaiting.stop()
		r.awaiting = nil
	}
}

// attempt connects; came reports whether the broker let it, whatever came after.
func (r *run) attempt() (came bool, err error) {
	c := r.connection
	if r.retry != nil {
		r.retry.Stop()
	}
	r.stopAwaiting()
	c.woken.Store(false) // this attempt is what it asked for
	to := r.route.next()
	c.mu.Lock()
	c.state.Broker = to.address
	c.mu.Unlock()
	c.enter(Connecting, nil, time.Time{})
	began := time.Now()
	s, err := c.open(r.ctx, to, r.line, r)
	if r.ctx.Err() == nil {
		hooks.Tell(c.settings.Hooks, func(h HookConnect) { h.OnConnect(c.settings.Owner, time.Since(began), err) })
	}
	if now := r.session.certificate; now != nil && r.shown != nil && !sameChain(now, r.shown) {
		if r.changed == nil {
			r.changed = new(changes)
		}
		r.changed.add()
	}
	r.shown = r.session.certificate
	if err != nil {
		r.session = nil
		return false, err
	}
	r.backoff.Up()
	r.lacking = nil
	r.up = time.Now()
	c.cameUp(s)
	planned := !r.planned.IsZero() && r.up.Sub(r.planned) <= c.settings.ConnectTimeout && !s.granted.atMostOnce()
	if err := s.begin(r.ctx, Subscribed{SessionPresent: s.present, Planned: planned, Last: r.last}); err != nil {
		return true, err
	}
	r.renewal = c.watchCertificate(s, r.changed.tooMany())
	return true, nil
}

// happened sees to what wait noticed about the connection; an error: it is no more.
func (r *run) happened() error {
	s := r.session
	var err error
	switch {
	case s.wire.hasEnded():
		s.wait()
		err = s.wire.why()
	case r.renewal.isDue():
		s.finish(false) // what is unacknowledged comes again on the next connection
		err = errNewCertificate
	case r.connection.woken.Swap(false):
		r.renewal.lookNow()
		return nil
	default: // a foreign topic
		refused, _ := s.granted.refused()
		r.connection.update(func(state *State) { state.Err, s.told = cmp.Or(refused, s.foreign), true })
		return nil
	}
	r.renewal.stop()
	r.renewal = nil
	return err
}

// judge says how long to wait after an attempt, or soon after it a connection that
// came up, has ended with err, and what the owner's phase is meanwhile; "": do not
// try again.
func (r *run) judge(err error, came, soon bool) (delay time.Duration, phase Phase, why error) {
	settings := &r.connection.settings
	next, slow := r.backoff.Next(), r.slowly(err)
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
	case what == stop, r.endings >= suspicious:
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
		if r.faults++; r.faults <= patience {
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

// slowly returns how long to wait while only a person can help, or the clock.
func (r *run) slowly(err error) time.Duration {
	var unusable *CertificateError
	if errors.As(err, &unusable) {
		if left := time.Until(unusable.NotBefore); left > 0 { // the dates are precise to the second
			return left + time.Millisecond
		}
	}
	return jittered(r.connection.settings.Backoff.Slow)
}

// drain lets the handler finish, sees its acknowledgement out and disconnects, if
// there is a connection.
func (r *run) drain() {
	if r.drained {
		return
	}
	r.drained = true
	if r.renewal != nil {
		r.renewal.stop()
	}
	if r.retry != nil {
		r.retry.Stop()
	}
	r.stopAwaiting()
	c, l, s := r.connection, r.line, r.session
	defer func() { // also when a hook panics that is told what was not handed over
		l.cancel()
		if s != nil && s.wire != nil {
			c.mu.Lock()
			expire := r.expire
			c.mu.Unlock()
			r.expired = s.finish(expire) && expire
		}
		<-l.idle
	}()
	l.close()
	timer := time.NewTimer(c.settings.DrainTimeout)
	defer timer.Stop()
	select {
	case <-l.idle: // and its acknowledgement is written
	case <-timer.C:
	}
}
