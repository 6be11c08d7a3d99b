package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/backoff"
)

// ErrQueueFull is the reason why a message of quality of service 0 was dropped:
// the handler fell behind.
var ErrQueueFull = errors.New("the handler fell behind")

// errNotHandedOver is why else one was: no broker sends it again.
var errNotHandedOver = errors.New("push: the connection was ended before the message was handed over")

const (
	queueLimit = 256     // messages of quality of service 0 that wait for the handler
	queueBytes = 4 << 20 // bytes of them; one message may always wait
	smallQueue = 4       // room for messages that a line keeps while none waits
	levelBytes = 16      // what a level of a topic takes in memory besides its text

	// readerLent is how long the reader of a connection spends with the handler. The
	// timer that is set for it before each call wakes the network poller, which is
	// another thread, when nothing else is due earlier: a shorter time costs latency.
	// A longer one would come near to the half of a keep-alive of one second.
	readerLent = 200 * time.Millisecond
)

// line is where an owner's messages wait for the handler: one at a time, in the
// order received, across connections. It is served only while there is something to
// do, by the reader that brought it: to wake another goroutine for each message
// costs more than most handlers do. When the handler takes long, another goroutine
// reads meanwhile.
type line struct {
	settings *settings
	handler  delivery.Handler
	dropped  func(reason error)
	ctx      context.Context // the handler's
	cancel   context.CancelFunc

	mu          sync.Mutex
	queue       []*inbound
	waiting     int               // messages of quality of service 0 in queue
	bytes       int               // and what they take
	serving     bool              // a goroutine is at work
	lend        func()            // it is a reader: has another one read in its place; nil: it is none
	inHand      *inbound          // the last message of quality of service 1 or 2 given to the handler, until its acknowledgement is written
	slowBegan   time.Time         // of the call at work
	slowMessage *delivery.Message // nil: none is at work
	slow        *time.Timer

	closed  bool
	closing chan struct{} // closed: begin with no message, give up on a failing one
	idle    chan struct{} // closed: closed, and the handler has returned
}

// inbound is one message on its way to the handler.
type inbound struct {
	message  delivery.Message
	packetID uint16
	session  *session
	handled  bool // under the line's lock: nothing is left to do but to acknowledge
	again    bool // under the line's lock: a redelivery has joined it, and it waits in the queue to be acknowledged in its turn
}

// size is the memory that a waiting message takes, roughly.
func (d *inbound) size() int {
	return len(d.message.Payload) + len(d.message.Topic) + levelBytes*len(d.message.Levels)
}

func newLine(ctx context.Context, s *settings, h delivery.Handler, dropped func(reason error)) *line {
	l := &line{settings: s, handler: h, dropped: dropped, closing: make(chan struct{}), idle: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// offer puts a message of quality of service 1 or 2 into the line; serve says that
// the caller must call work. When a connection is lost, the message at work goes
// on, and the broker sends it again on the next one: the redelivery then joins the
// first delivery, running or done but never acknowledged, instead of being handled
// a second time. Without that, a handler slower than connections last would never
// get past its message.
func (l *line) offer(d *inbound) (serve bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || d.session.wire.hasEnded() {
		return false
	}
	if first := l.inHand; first != nil && d.repeats(first) {
		first.session, first.again = d.session, true
		d = first
	}
	l.queue = append(l.queue, d)
	return l.begin()
}

// repeats says whether d is a redelivery of first: marked so, with the same packet
// identifier (MQTT 5.0 section 4.4), and equal. That it is in the same session
// sessionLost sees to.
func (d *inbound) repeats(first *inbound) bool {
	a, b := &d.message, &first.message
	return a.Duplicate && d.packetID == first.packetID && a.QoS == b.QoS && a.Topic == b.Topic && bytes.Equal(a.Payload, b.Payload)
}

// withdraw takes out the messages of an ended connection that the handler has not
// begun with and that the broker will send again.
func (l *line) withdraw(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(d *inbound) bool {
		out := d.session == s && d.message.QoS > 0
		d.again = d.again && !out
		return out
	})
}

// offerAtMostOnce puts a message of quality of service 0 into the line, as offer
// does. When too many wait, the oldest is dropped.
func (l *line) offerAtMostOnce(d *inbound) (serve bool) {
	l.mu.Lock()
	var drop int
	reason := ErrQueueFull
	for l.closed || l.waiting >= queueLimit || l.waiting > 0 && l.bytes+d.size() > queueBytes {
		drop++
		if l.closed {
			reason = errNotHandedOver
			break
		}
		i := slices.IndexFunc(l.queue, func(d *inbound) bool { return d.message.QoS == 0 })
		l.forget(l.queue[i])
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	if !l.closed {
		l.queue = append(l.queue, d)
		l.waiting++
		l.bytes += d.size()
		serve = l.begin()
	}
	l.mu.Unlock()
	for range drop {
		l.dropped(reason)
	}
	return serve
}

// forget takes a message of quality of service 0 out of the counts. l.mu is held.
func (l *line) forget(d *inbound) {
	l.waiting--
	l.bytes -= d.size()
}

// sessionLost forgets the message in hand: in a new session a packet identifier
// means another message. Its handler goes on.
func (l *line) sessionLost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inHand = nil
}

// begin says whether someone must begin to serve the line. l.mu is held.
func (l *line) begin() bool {
	begins := !l.serving
	l.serving = true
	return begins
}

// work serves the line until it is empty. A reader gives lend, which is called at
// most once: from then on, another goroutine reads.
func (l *line) work(lend func()) {
	l.mu.Lock()
	l.lend = lend
	l.mu.Unlock()
	var d *inbound
	defer func() {
		if d != nil {
			l.abandon(d)
		}
	}()
	for {
		l.mu.Lock()
		if len(l.queue) == 0 || l.closed && !l.queue[0].handled {
			l.serving, l.lend = false, nil
			if l.slow != nil {
				l.slow.Stop()
			}
			if cap(l.queue) > smallQueue {
				l.queue = nil
			}
			if l.closed {
				close(l.idle)
			}
			l.mu.Unlock()
			return
		}
		d = l.queue[0]
		l.queue = slices.Delete(l.queue, 0, 1)
		d.again = false
		session, atMostOnce, handled := d.session, d.message.QoS == 0, d.handled
		if !atMostOnce && session.wire.hasEnded() { // it comes again
			l.mu.Unlock()
			d = nil
			continue
		}
		if atMostOnce {
			l.forget(d)
		}
		l.mu.Unlock()

		if handled || !session.isUp() { // no call will notice that it takes long
			l.free()
		}
		up := session.waitUp(l.closing)
		if up && !atMostOnce && !handled {
			up = l.take(d)
		}
		switch {
		case !up && atMostOnce:
			l.dropped(errNotHandedOver)
		case !up: // it comes again
		case atMostOnce:
			l.handle(d)
		case handled || l.handle(d):
			l.acknowledge(d)
		}
		d = nil
	}
}

// free has another goroutine read, if a reader is at work here.
func (l *line) free() {
	l.mu.Lock()
	lend := l.lend
	l.lend = nil
	l.mu.Unlock()
	if lend != nil {
		lend()
	}
}

// take makes d the message in hand, which a redelivery joins; false: its
// connection has ended before the handler began with it, and it comes again.
func (l *line) take(d *inbound) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.session.wire.hasEnded() {
		return false
	}
	l.inHand = d
	return true
}

// acknowledge tells the broker that d was handled, on the connection on which it
// came last, unless it is in the queue for that. If the connection has ended, the
// redelivery will join d.
func (l *line) acknowledge(d *inbound) {
	l.mu.Lock()
	d.handled = true
	session, again := d.session, d.again
	l.mu.Unlock()
	if again { // those before it come first (MQTT 5.0 section 4.6)
		return
	}
	if session.wire.acknowledge(d.message.QoS, d.packetID) != nil {
		return
	}
	l.mu.Lock()
	if l.inHand == d {
		l.inHand = nil
	}
	l.mu.Unlock()
	if foreign := d.message.Topic == ""; !foreign && l.settings.OnAcknowledged != nil {
		l.settings.OnAcknowledged(d.message)
	}
}

// errExited: the handler called runtime.Goexit, as a test does that fails.
var errExited = errors.New("push: the handler ended its goroutine")

// abandon replaces the goroutine that the handler ended. The connection ends, so
// that the broker sends the message again, unless it is of quality of service 0.
func (l *line) abandon(d *inbound) {
	l.free()
	l.mu.Lock()
	if l.inHand == d {
		l.inHand = nil
	}
	wire := d.session.wire
	l.mu.Unlock()
	wire.fail(errExited)
	go l.work(nil)
	if d.message.QoS == 0 {
		l.dropped(errExited)
	}
}

// handle calls the handler until it succeeds, or after as many failures as are
// allowed the dead-letter function until that does; false: the line was closed
// before.
func (l *line) handle(d *inbound) bool {
	m, handler := d.message, l.handler
	var b *backoff.Backoff // made when it is needed
	for failures := 1; ; failures++ {
		err := l.call(handler, m, d)
		if err == nil {
			return true
		}
		if failures == l.settings.MaxAttempts {
			l.settings.Logger.LogAttrs(l.ctx, slog.LevelError, "push: the handler failed too often, the message goes to the dead letters", slog.Any("message", m), slog.Any("error", err), slog.Int("attempts", failures))
			last := err
			handler = func(ctx context.Context, m delivery.Message) error { return l.settings.DeadLetter(ctx, m, last) }
			continue
		}
		if b == nil {
			b = backoff.New(backoff.Policy{Initial: l.settings.HandlerBackoff.Initial, Max: l.settings.HandlerBackoff.Max, StableAfter: l.settings.HandlerBackoff.StableAfter})
		}
		delay := b.Next()
		l.settings.Logger.LogAttrs(l.ctx, slog.LevelWarn, "push: the handler failed, the message stays unacknowledged", slog.Any("message", m), slog.Any("error", err), slog.Duration("retry_in", delay))
		l.free()
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			m.Duplicate = true
		case <-l.closing:
			timer.Stop()
			return false
		}
	}
}

// call calls the handler once. A panic harms this owner alone.
func (l *line) call(handler delivery.Handler, m delivery.Message, d *inbound) (err error) {
	err = errExited // unless it returns
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("push: the handler panicked: %q", cut(fmt.Sprint(p)))
			l.settings.Logger.LogAttrs(l.ctx, slog.LevelError, "push: the handler panicked", slog.Any("error", err), slog.String("stack", string(debug.Stack())))
		}
		if hook, ok := l.settings.Hooks.(HandledHook); ok {
			hook.MessageHandled(time.Since(began), err)
		}
	}()
	l.watchSlow(began, &d.message)
	defer l.watchSlow(time.Time{}, nil)
	return handler(l.ctx, m)
}

// watchSlow has a call noticed that takes long, and a reader that is long away from
// its connection; with nil, the call has ended. One timer serves all calls, which
// come one at a time.
func (l *line) watchSlow(began time.Time, m *delivery.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowBegan, l.slowMessage = began, m
	after := l.settings.SlowHandler
	switch {
	case m == nil && l.lend == nil:
		l.slow.Stop()
		return
	case m == nil: // the reader has yet to acknowledge
		return
	case l.lend != nil:
		after = min(after, readerLent)
	}
	if l.slow != nil {
		l.slow.Reset(after)
	} else {
		l.slow = time.AfterFunc(after, l.noticeSlow)
	}
}

func (l *line) noticeSlow() {
	l.mu.Lock()
	took, m := time.Since(l.slowBegan), l.slowMessage
	if m != nil {
		if left := l.settings.SlowHandler - took; left > 0 {
			l.slow.Reset(left)
			m = nil
		}
	}
	l.mu.Unlock()
	l.free()
	if m == nil {
		return
	}
	l.settings.Logger.LogAttrs(l.ctx, slog.LevelWarn, "push: the handler takes long; later messages of this owner wait", slog.Any("message", *m), slog.Duration("so_far", took))
	if hook, ok := l.settings.Hooks.(SlowHook); ok {
		hook.HandlerSlow(took)
	}
}

// close lets the handler finish with the message at work and begin with no other.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	close(l.closing)
	if !l.serving {
		close(l.idle)
	}
	waiting := l.waiting
	l.mu.Unlock()
	for range waiting {
		l.dropped(errNotHandedOver)
	}
}
