package push

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

var errNewCertificate = errors.New("push: the client certificate was replaced")

// firstLook is about how soon a certificate that is waited for is looked for again.
const firstLook = 2 * time.Second

// A source that issues a certificate at each call would have its owner connect anew all
// the time. It is known by that it has another one at changesInARow looks in a row. And of the
// changes that follow one another within changePause, the first swiftChanges are swift.
const (
	changesInARow = 3
	swiftChanges  = 5
	changePause   = 10 * time.Minute
)

// shownCertificate is the certificate that the broker got to see.
type shownCertificate struct {
	last    *tls.Certificate // in the last attempt; nil: none
	changes int              // how often it was another one, of late
	changed time.Time        // the last time
}

// show notes the certificate of an attempt; nil: it had none.
func (s *shownCertificate) show(now *tls.Certificate) {
	if now != nil && s.last != nil && !sameChain(now, s.last) {
		if time.Since(s.changed) > changePause {
			s.changes = 0
		}
		s.changes++
		s.changed = time.Now()
	}
	s.last = now
}

// changesTooOften reports whether the next change is to wait.
func (s *shownCertificate) changesTooOften() bool {
	return s.changes >= swiftChanges && time.Since(s.changed) <= changePause
}

// looks are questions to the source of certificates, one after the other. They cost a
// timer and no goroutine.
type looks struct {
	connection *Connection
	inUse      *tls.Certificate // nil: none is

	mu        sync.Mutex
	timer     *time.Timer
	stopped   bool
	cancel    context.CancelFunc // of the look at work; nil: none is
	lastFault string             // that was told
}

// ask asks the source and calls then, with l.mu held, unless the looks were stopped.
func (l *looks) ask(then func(found *tls.Certificate, err error)) {
	settings := &l.connection.settings
	ctx, cancel := context.WithTimeout(context.Background(), settings.ConnectTimeout)
	defer cancel()
	l.mu.Lock()
	l.cancel = cancel
	stopped := l.stopped
	l.mu.Unlock()
	if stopped {
		return
	}
	var found *tls.Certificate
	err := error(&CertificateError{Owner: settings.owner(), Reason: "its source ended its goroutine", Passing: true})
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cancel = nil
		if !l.stopped {
			then(found, err)
		}
	}()
	found, err = usableUnlessPanic(ctx, settings, l.inUse)
}

// usableUnlessPanic is for a goroutine of our own: there a panic of the source
// would end the process, though the connection is well.
func usableUnlessPanic(ctx context.Context, s *settings, inUse *tls.Certificate) (found *tls.Certificate, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &CertificateError{Owner: s.owner(), Reason: "its source panicked", Passing: true, Err: fmt.Errorf("%q", cut(fmt.Sprint(p)))}
		}
	}()
	return s.usableCertificate(ctx, inUse)
}

// isNews reports whether a fault of the source is not yet told. Those that pass have
// texts of the moment, and are one fault.
func (l *looks) isNews(err error) bool {
	text := err.Error()
	if isPassing(err) {
		text = "passing"
	}
	if text == l.lastFault {
		return false
	}
	l.lastFault = text
	return true
}

// stop ends the looking.
func (l *looks) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.timer.Stop()
	if l.cancel != nil {
		l.cancel()
	}
}

// jittered returns a time between half of pause and pause.
func jittered(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// certificateWatch looks for a new client certificate while a connection is up.
type certificateWatch struct {
	looks
	session *session

	// Under mu:
	seen   *tls.Certificate // a new one, to be taken up soon; nil: none
	others int              // how many there were in a row
	slow   bool             // see changePause
	again  bool             // lookNow was called during a look
}

// watchCertificate begins to look.
func (c *Connection) watchCertificate(s *session, slow bool) *certificateWatch {
	w := &certificateWatch{looks: looks{connection: c, inUse: s.certificate}, session: s, slow: slow}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.planNext()
	return w
}

// planNext plans the next look. w.mu is held.
func (w *certificateWatch) planNext() {
	w.lookIn(jittered(w.inTime(w.connection.settings.CertificateCheck)), false)
}

// inTime shortens a pause when the certificate in use expires soon.
func (w *certificateWatch) inTime(pause time.Duration) time.Duration {
	if left := time.Until(w.session.certificate.Leaf.NotAfter); left > 0 {
		pause = min(pause, max(left/4, time.Millisecond))
	}
	return pause
}

// lookNow looks at once, or once more after a look at work, and takes at once what is new.
func (w *certificateWatch) lookNow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	if w.again = !w.timer.Stop(); !w.again {
		w.seen = nil
		w.lookIn(0, true)
	}
}

// lookIn plans a look; planned: to connect anew. w.mu is held.
func (w *certificateWatch) lookIn(delay time.Duration, planned bool) {
	w.timer = time.AfterFunc(aligned(delay, min(delay/16, longestGrid)), func() {
		w.ask(func(c *tls.Certificate, err error) { w.found(c, err, planned) })
	})
}

func (w *certificateWatch) found(found *tls.Certificate, err error, planned bool) {
	switch {
	case w.again:
		w.again, w.seen = false, nil
		w.lookIn(0, true)
	case err != nil:
		if w.isNews(err) {
			w.connection.log(slog.LevelWarn, "push: the next client certificate cannot be used; the connection goes on with the one before", slog.Any("error", err))
		}
		w.planNext()
	case bytes.Equal(found.Certificate[0], w.session.certificate.Certificate[0]):
		w.lastFault, w.seen, w.others = "", nil, 0
		w.planNext()
	case planned && (w.slow || w.seen == nil || sameChain(found, w.seen)):
		w.session.run.signal(signalRenewed)
	default: // seen within one CertificateCheck, taken up within two
		w.seen = found
		w.others++
		w.slow = w.slow || w.others >= changesInARow
		delay := rand.N(w.inTime(w.connection.settings.CertificateCheck)*3/4 + 1)
		if w.slow {
			delay = jittered(w.inTime(2 * changePause))
		}
		w.connection.log(slog.LevelInfo, "push: a new client certificate is there; connecting anew", slog.Duration("in", delay))
		w.lookIn(delay, true) // once more before the connection is given up
	}
}

// certificateWait looks for a client certificate while there is none that the broker
// takes. It dials nothing.
type certificateWait struct {
	looks
	since   time.Time        // when the waiting began
	refused *tls.Certificate // by the broker; nil: none was shown to it
	slow    bool             // see changePause
	tell    func(error)      // nil: there is a certificate to connect with; or another reason why there is none
}

// awaitCertificate begins to look, after an attempt that failed with err.
func (c *Connection) awaitCertificate(since time.Time, shown *shownCertificate, err error, tell func(error)) *certificateWait {
	w := &certificateWait{
		looks: looks{connection: c, lastFault: err.Error()},
		since: since, refused: shown.last, slow: shown.changesTooOften(), tell: tell,
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.planNext()
	return w
}

// planNext plans the next look: the more rarely the longer the wait, up to
// CertificateCheck. w.mu is held.
func (w *certificateWait) planNext() {
	pause := min(max(firstLook, time.Since(w.since)/2), w.connection.settings.CertificateCheck)
	if w.slow {
		pause = 2 * changePause
	}
	w.timer = time.AfterFunc(jittered(pause), func() { w.ask(w.found) })
}

func (w *certificateWait) found(found *tls.Certificate, err error) {
	switch {
	case err == nil && (w.refused == nil || !sameChain(found, w.refused)):
		w.tell(nil)
		return
	case err != nil && !isPassing(err) && w.isNews(err):
		w.tell(err)
	}
	w.planNext()
}

// sameChain compares the certificates of the authorities too: a broker may have
// refused a client for those that were missing.
func sameChain(a, b *tls.Certificate) bool {
	return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
}
