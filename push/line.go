package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/internal/hooks"
)

// errNotHandedOver is why else one was: no broker sends it again.
var errNotHandedOver = errors.New("push: the connection was ended before the message was handed over")

const (
	queueLimit = 256     // messages of quality of service 0 that wait for the handler
	queueBytes = 4 << 20 // bytes of them; one message may always wait
	smallQueue = 4       // room for messages that a line keeps while none waits
	levelBytes = 16      // what a level of a topic takes in memory besides its text
)

// line is where an owner's messages wait for the handler: one at a time, in the
// order received, across connections. It is served only while there is something to
// do, by the reader that brought it: to wake another goroutine for each message
// costs more than most handlers do. When the handler takes long, another goroutine
// reads meanwhile.
type line struct {
	settings *settings
	hand     *handoff.Hand
	dropped  func(reason error)
	ctx      context.Context // the handler's
	cancel   context.CancelFunc

	mu      sync.Mutex
	queue   []*inbound
	waiting int      // messages of quality of service 0 in queue
	bytes   int      // and what they take
	serving bool     // a goroutine is at work
	inHand  *inbound // the last message of quality of service 1 or 2 given to the handler, until its acknowledgement is written

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
	account  *account
	cost     int  // of the account; see release
	again    bool // under the line's lock: a redelivery has joined it, and it waits in the queue to be acknowledged in its turn
}

// size is the memory that a waiting message takes, roughly.
func (d *inbound) size() int {
	return len(d.message.Payload) + len(d.message.Topic) + levelBytes*len(d.message.Levels)
}

func newLine(ctx context.Context, s *settings, h delivery.Handler, dropped func(reason error)) *line {
	l := &line{settings: s, hand: handoff.New(s.handoff(h)), dropped: dropped, closing: make(chan struct{}), idle: make(chan struct{})}
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
		d.release()
		return false
	}
	if first := l.inHand; first != nil && d.repeats(first) {
		first.session, first.again = d.session, true
		d.release()
		d = first
	}
	l.queue = append(l.queue, d)
	return l.begin()
}

// repeats reports whether d is a redelivery of first: marked so, with the same packet
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
		if out && !d.again { // else it is in hand
			d.release()
		}
		d.again = d.again && !out
		return out
	})
}

// offerAtMostOnce puts a message of quality of service 0 into the line, as offer
// does. When too many wait, the oldest is dropped.
func (l *line) offerAtMostOnce(d *inbound) (serve bool) {
	l.mu.Lock()
	var drop int
	reason := fds.ErrQueueFull
	for l.closed || l.waiting >= queueLimit || l.waiting > 0 && l.bytes+d.size() > queueBytes {
		drop++
		if l.closed {
			reason = errNotHandedOver
			d.release()
			break
		}
		i := slices.IndexFunc(l.queue, func(d *inbound) bool { return d.message.QoS == 0 })
		l.forget(l.queue[i])
		l.queue[i].release()
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

// begin reports whether someone must begin to serve the line. l.mu is held.
func (l *line) begin() bool {
	begins := !l.serving
	l.serving = true
	return begins
}

// work serves the line until it is empty. A reader passes lend, which is called at
// most once: from then on, another goroutine reads.
func (l *line) work(lend func()) {
	l.hand.Lend(lend)
	var d *inbound
	defer func() {
		if d != nil {
			l.abandon(d)
		}
	}()
	for {
		l.mu.Lock()
		if len(l.queue) == 0 || l.closed && !l.queue[0].handled {
			l.serving = false
			l.hand.Rest()
			for _, d := range l.queue { // closed
				d.release()
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
			d.release()
			d = nil
			continue
		}
		if atMostOnce {
			l.forget(d)
		}
		l.mu.Unlock()

		if handled || !session.isUp() { // no call will notice that it takes long
			l.hand.Free()
		}
		up := session.waitUp(l.closing)
		if up && !atMostOnce && !handled {
			up = l.take(d)
		}
		var err error
		switch {
		case !up:
			err = handoff.ErrClosing
		case !handled:
			err = l.hand.Until(l.ctx, &d.message, l.closing)
		}
		switch {
		case errors.Is(err, handoff.ErrChanged):
			l.giveUp(d, err)
		case !up && atMostOnce:
			l.dropped(errNotHandedOver)
		case err == nil && !atMostOnce:
			d.release() // before the broker may send more
			l.acknowledge(d)
		}
		d.release()
		d = nil
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

// abandon replaces the goroutine that the handler ended.
func (l *line) abandon(d *inbound) {
	defer func() { go l.work(nil) }() // also when a hook ends this one once more
	l.giveUp(d, handoff.ErrExited)
}

// giveUp ends the connection, so that the broker sends the message again, unless it is of
// quality of service 0.
func (l *line) giveUp(d *inbound, why error) {
	d.release()
	l.hand.Free()
	l.mu.Lock()
	if l.inHand == d {
		l.inHand = nil
	}
	wire := d.session.wire
	l.mu.Unlock()
	wire.fail(fmt.Errorf("push: %w", why))
	if d.message.QoS == 0 {
		l.dropped(why)
	}
}

// handoff returns how a handler is called.
func (s *settings) handoff(h delivery.Handler) *handoff.Settings {
	calling := &handoff.Settings{
		Handler:     h,
		MaxAttempts: s.MaxAttempts,
		DeadLetter:  s.DeadLetter,
		Backoff:     backoff.Policy{Initial: s.HandlerBackoff.Initial, Max: s.HandlerBackoff.Max, StableAfter: s.HandlerBackoff.StableAfter},
		SlowAfter:   s.SlowHandler,
		Logger:      s.Logger,
	}
	if all := s.Hooks; len(all) > 0 {
		calling.Handled = func(m delivery.Message, took time.Duration, err error) {
			hooks.Tell(all, func(h HookHandled) { h.OnHandled(m.Owner, took, err) })
		}
		calling.Slow = func(m delivery.Message, took time.Duration) {
			hooks.Tell(all, func(h HookSlowHandler) { h.OnSlowHandler(m.Owner, took) })
		}
	}
	return calling
}

// condition returns how many messages wait, and what the handler fails on.
func (l *line) condition() (waiting int, fails *delivery.Failing) {
	if failing, ok := l.hand.Failing(); ok {
		fails = &failing
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue), fails
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
	for _, d := range l.queue {
		if d.message.QoS == 0 {
			d.release()
		}
	}
	l.mu.Unlock()
	for range waiting {
		l.dropped(errNotHandedOver)
	}
}
