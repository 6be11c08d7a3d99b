package push

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

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

// run is one call of Start: one session after the other. Its work is done by one goroutine, which
// is there only while there is something to do: an attempt to connect, or what a signal says.
type run struct {
	connection *Connection
	ctx        context.Context // the caller's
	forget     func() bool     // ends the watch over ctx; nil: it has no end
	ended      func(ending)
	line       *line

	// Of the work:

	session      *session         // connected, or being so
	began        time.Time        // of the attempt
	cancelTurn   func() bool      // takes back the question for a turn; nil: none is waited for
	woken        bool             // Wake was called during the attempt
	wait         *wait            // for the next attempt; nil: none is waited for
	over         bool             // finish was called
	certificate  shownCertificate // to the broker, in the last attempt
	waitingSince time.Time        // since when no certificate is one that the broker takes; zero: there was one
	route        *route
	backoff      *backoff.Backoff
	last         error     // why the connection before ended
	planned      time.Time // when we ended it ourselves, and nothing has failed since; else zero
	endings      int       // see endingsInARow
	faults       int       // see faultsInARow

	mu              sync.Mutex // guards what follows
	signals         signal
	working         bool               // the goroutine is there
	stopped         bool               // see signalStop
	attempt         context.CancelFunc // ends the attempt at work; nil: none is
	foreign         error              // see signalForeign
	certificateNews error              // nil: there is a certificate to connect with; or why there still is none

	// Under the connection's lock:

	expire  bool          // end, and the session too
	done    chan struct{} // closed at the end, for who waits for it; nil: nobody does
	expired bool          // the broker has forgotten the session; read after done
}

// look sees to a connection that is up.
func (r *run) look(s signal) {
	c, up := r.connection, r.session
	switch {
	case up.wire.hasEnded():
		up.wait()
		r.next(r.decide(up.wire.why()))
	case s&signalRenewed != 0:
		up.finish(errNewCertificate, false) // what is unacknowledged comes again on the next connection
		r.next(r.decide(up.wire.why()))
	case s&signalWoken != 0:
		up.watch.lookNow()
	}
	if s&signalForeign != 0 && r.session == up && !r.over {
		refused, _ := up.granted.refused()
		if foreign := r.takeForeign(); foreign != nil {
			c.update(func(state *State) { state.Err = cmp.Or(refused, foreign) })
		}
	}
}

// next does what decide has decided.
func (r *run) next(d decision) {
	if d.stop {
		r.end(ending{err: d.err})
		return
	}
	r.wait = &wait{certificate: d.certificate, at: d.at}
	if r.woken {
		r.signal(signalWoken)
	}
	if delay := time.Until(d.at); d.at.IsZero() || delay <= 0 {
		r.signal(signalDue)
	} else {
		r.wait.timer = time.AfterFunc(delay, func() { r.signal(signalDue) })
	}
}

// wait is what the next attempt waits for besides signals.
type wait struct {
	at          time.Time
	timer       *time.Timer      // when it is due; nil: at once
	certificate *certificateWait // looks for another one, which is tried at once; nil: nobody does
}

func (w *wait) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.certificate != nil {
		w.certificate.stop()
	}
}

// stillNone takes the news about the certificate that is waited for: there is still none, for
// another reason.
func (r *run) stillNone() bool {
	r.mu.Lock()
	err := r.certificateNews
	r.mu.Unlock()
	if err == nil {
		return false
	}
	w := r.wait
	if soonest := time.Now().Add(r.slowDelay(err)); soonest.Before(w.at) && w.timer != nil {
		w.at = soonest
		w.timer.Reset(time.Until(soonest))
	}
	r.connection.enter(NeedsCertificate, err, w.at)
	return true
}

// certificateIs is told what came of looking for a certificate; nil: there is one.
func (r *run) certificateIs(news error) {
	r.mu.Lock()
	r.certificateNews = news
	r.mu.Unlock()
	r.signal(signalCertificate)
}

// sawForeign is told the first message of a connection that is not the owner's.
func (r *run) sawForeign(err error) {
	r.mu.Lock()
	r.foreign = err
	r.mu.Unlock()
	r.signal(signalForeign)
}

// takeForeign returns what sawForeign was told; nil: nothing.
func (r *run) takeForeign() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.foreign
	r.foreign = nil
	return err
}

// prepare begins an attempt: with a certificate, it asks for a turn among those who connect.
func (r *run) prepare() error {
	c := r.connection
	ctx, done := r.attempting()
	defer done()
	r.woken = false // this attempt is what was asked for
	r.takeForeign()
	s := newSession(c, r.route.next(), r.line)
	s.run, r.session = r, s
	c.mu.Lock()
	c.state.Broker = s.to.address
	c.mu.Unlock()
	c.enter(Connecting, nil, time.Time{})
	r.began = time.Now()
	// Who has no certificate takes no turn.
	err := s.findCertificate(ctx)
	if err != nil {
		return r.attempted(ctx, err)
	}
	r.cancelTurn = c.settings.Limit.Ask(func() { r.signal(signalTurn) })
	return nil
}

// connect makes a connection, on which messages flow when it returns nil.
func (r *run) connect() error {
	c, s := r.connection, r.session
	ctx, done := r.attempting()
	defer done()
	if err := r.attempted(ctx, s.open(ctx)); err != nil {
		return err
	}
	r.backoff.Up()
	r.waitingSince = time.Time{}
	s.since = time.Now()
	c.cameUp(s)
	planned := !r.planned.IsZero() && s.since.Sub(r.planned) <= c.settings.ConnectTimeout && !s.granted.atMostOnce()
	if err := s.startDelivery(ctx, Subscribed{SessionPresent: s.present, Planned: planned, Last: r.last}); err != nil {
		return err
	}
	s.watch = c.watchCertificate(s, r.certificate.changesTooOften())
	return nil
}

// attempting returns the context of what stop is to end.
func (r *run) attempting() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	r.mu.Lock()
	r.attempt = cancel
	if r.stopped {
		cancel()
	}
	r.mu.Unlock()
	return ctx, func() {
		r.mu.Lock()
		r.attempt = nil
		r.mu.Unlock()
		cancel()
	}
}

// attempted tells how an attempt went.
func (r *run) attempted(ctx context.Context, err error) error {
	settings := &r.connection.settings
	if ctx.Err() == nil {
		hooks.Tell(settings.Hooks, func(h HookConnect) { h.OnConnect(settings.owner(), time.Since(r.began), err) })
	}
	r.certificate.show(r.session.certificate)
	if err != nil {
		r.session.close(err)
	}
	return err
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
	if r.isStopped() {
		return r.finish(Stopped, r.line.fencedOff())
	}
	r.session, r.planned = nil, time.Time{}
	came, soon := !s.since.IsZero(), false
	if came { // whatever came after
		r.last = err
		r.woken = false
		r.forgetWake()
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
		next.certificate = c.awaitCertificate(r.waitingSince, &r.certificate, err, r.certificateIs)
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
		taken := &TakenOverError{Owner: settings.owner(), Suspected: what != stop, Endings: r.endings}
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

// finish ends the run's connection: as Stopped, or TakenOver by another with err.
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
	if r.wait != nil {
		r.wait.end()
	}
	if r.cancelTurn != nil && !r.cancelTurn() { // it is ours already
		c.settings.Limit.Release()
	}
	if s != nil && s.watch != nil {
		s.watch.stop()
	}
	defer func() { // also when a hook panics that is told what was not handed over
		l.cancelHandler()
		if s != nil && s.wire != nil {
			c.mu.Lock()
			expire := r.expire
			c.mu.Unlock()
			expired := s.finish(errFinished, expire) && expire
			c.mu.Lock()
			r.expired = expired
			c.mu.Unlock()
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
