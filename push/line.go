package push

import (
	"bytes"
	"cmp"
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
	ctx      context.Context    // the handler's, once there was a message; before, that of the run
	cancel   context.CancelFunc // of ctx; nil: there was none yet
	end      func()             // ends Run

	mu      sync.Mutex
	state   lineState
	fenced  error // what the fence said; nil: it lets messages pass
	queue   []*inbound
	waiting int      // messages of quality of service 0 in queue
	bytes   int      // and what they take
	inHand  *inbound // the last message of quality of service 1 or 2 given to the handler, until its acknowledgement is written
	batches *batches // of a handler of several messages; else nil

	closing chan struct{} // closed from lineClosing on: give up on a failing message; nil: there was none yet
	closed  chan struct{} // closed from lineClosed on; nil: close was not called
}

// lineState is where a line stands: begin and rest lead from one of the first two to the
// other, close and then rest to the last.
type lineState uint8

const (
	lineIdle    lineState = iota // there is nothing to do
	lineServing                  // a goroutine is at work
	lineClosing                  // it is, and begins with no message any more
	lineClosed                   // and the handler has returned
)

// inbound is one message on its way to the handler.
type inbound struct {
	message  delivery.Message
	packetID uint16
	session  *session
	account  *account
	cost     int // of the account; see release

	// Under the line's lock:
	handled      bool     // nothing is left to do but to acknowledge it
	acknowledged bool     // which is being done; of a batch
	joined       *inbound // its last redelivery, which waits to be acknowledged in its turn
	piece        *piece   // of a batch; else nil
}

// size is the memory that a waiting message takes, roughly.
func (d *inbound) size() int {
	return len(d.message.Payload) + len(d.message.Topic) + levelBytes*len(d.message.Levels)
}

func newLine(ctx context.Context, s *settings, calling *handoff.Settings, dropped func(reason error), end func()) *line {
	l := &line{settings: s, dropped: dropped, end: end, ctx: ctx}
	if s.Fence != nil {
		calling.Fence = func(fds.OwnerKey) error { return l.fence() }
	}
	l.hand = handoff.New(calling)
	if calling.Batch != nil {
		l.batches = newBatches(l, calling.Batch)
	}
	return l
}

// first makes what an owner without messages does without. l.mu is held.
func (l *line) first() {
	if l.closing == nil {
		l.closing = make(chan struct{})
		l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(l.ctx))
	}
}

// cancelHandler ends the handler's context.
func (l *line) cancelHandler() {
	l.mu.Lock()
	cancel := l.cancel
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
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
	if l.state >= lineClosing || d.session.wire.hasEnded() {
		d.release()
		return false
	}
	if l.batches != nil {
		l.batches.offer(d)
		return false
	}
	if first := l.inHand; first != nil && d.repeats(first) {
		d.release()
		d.message, d.handled = first.message, first.handled
		first.joined = d
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
	if l.batches != nil {
		l.batches.withdraw(s)
		return
	}
	l.queue = slices.DeleteFunc(l.queue, func(d *inbound) bool {
		out := d.session == s && d.message.QoS > 0
		if out {
			d.release()
		}
		return out
	})
}

// offerAtMostOnce puts a message of quality of service 0 into the line, as offer
// does. When too many wait, the oldest is dropped.
func (l *line) offerAtMostOnce(d *inbound) (serve bool) {
	l.mu.Lock()
	if l.state >= lineClosing {
		l.mu.Unlock()
		d.release()
		l.dropped(errNotHandedOver)
		return false
	}
	drop := 0
	for ; l.waiting >= queueLimit || l.waiting > 0 && l.bytes+d.size() > queueBytes; drop++ {
		if l.batches != nil {
			if !l.batches.dropOldest() {
				break
			}
			continue
		}
		i := slices.IndexFunc(l.queue, func(d *inbound) bool { return d.message.QoS == 0 })
		l.forget(l.queue[i])
		l.queue[i].release()
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	l.waiting++
	l.bytes += d.size()
	if l.batches != nil {
		l.batches.offer(d)
	} else {
		l.queue = append(l.queue, d)
		serve = l.begin()
	}
	l.mu.Unlock()
	for range drop {
		l.dropped(fds.ErrQueueFull)
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
	if l.batches != nil {
		l.batches.sessionLost()
	}
}

// begin reports whether the caller must serve the line, now that there is a message. l.mu is
// held.
func (l *line) begin() bool {
	if l.state != lineIdle {
		return false
	}
	l.state = lineServing
	l.first()
	return true
}

// rest ends the serving. l.mu is held.
func (l *line) rest() {
	l.hand.Rest()
	for _, d := range l.queue { // begun with no more
		d.release()
	}
	if cap(l.queue) > smallQueue {
		l.queue = nil
	}
	if l.state == lineServing {
		l.state = lineIdle
	} else {
		l.state = lineClosed
		close(l.closed)
	}
}

// close lets the handler finish with the message at work and begin with no other.
func (l *line) close() {
	l.mu.Lock()
	l.first()
	close(l.closing)
	l.closed = make(chan struct{})
	if l.state == lineServing {
		l.state = lineClosing
	} else {
		l.state = lineClosed
		close(l.closed)
	}
	waiting := l.waiting
	for _, d := range l.queue {
		if d.message.QoS == 0 {
			d.release()
		}
	}
	if l.batches != nil && l.state == lineClosed {
		l.batches.clear()
	}
	l.mu.Unlock()
	for range waiting {
		l.dropped(errNotHandedOver)
	}
}

// work serves the line until it rests. A reader passes release, which is called at most
// once: from then on, another goroutine reads.
func (l *line) work(release func()) {
	l.hand.OnRelease(release)
	var d *inbound
	defer func() {
		if d != nil {
			l.abandon(d)
		}
	}()
	for {
		var handled bool
		if d, handled = l.next(); d == nil {
			return
		}
		l.deliver(d, handled)
	}
}

// next takes a message out of the queue, and reports whether it is only to be acknowledged;
// nil: there is nothing to do any more.
func (l *line) next() (_ *inbound, handled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 && (l.state == lineServing || l.queue[0].handled) {
		d := l.queue[0]
		l.queue = slices.Delete(l.queue, 0, 1)
		if d.message.QoS == 0 {
			l.forget(d)
		} else if d.session.wire.hasEnded() { // it comes again
			d.release()
			continue
		}
		return d, d.handled
	}
	l.rest()
	return nil, false
}

// deliver hands a message over and acknowledges it; handled: it was handed over before.
func (l *line) deliver(d *inbound, handled bool) {
	if handled { // no call will notice that it takes long
		l.hand.Release()
	}
	atMostOnce := d.message.QoS == 0
	if !d.session.waitUp(l.closing, l.hand.Release) || !atMostOnce && !handled && !l.take(d) {
		d.release()
		if atMostOnce {
			l.dropped(errNotHandedOver)
		}
		return
	}
	var err error
	if !handled {
		err = l.hand.Until(l.ctx, &d.message, l.closing)
	}
	d.release() // before the broker may send more
	switch {
	case errors.Is(err, handoff.ErrChanged):
		l.giveUp(d, err)
	case err == nil && !atMostOnce:
		l.acknowledge(d)
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

// acknowledge tells the broker that d was handled. If its connection has ended, a
// redelivery joins d, or has joined it, and is acknowledged in its turn: those before it
// come first (MQTT 5.0 section 4.6).
func (l *line) acknowledge(d *inbound) {
	l.mu.Lock()
	d.handled = true
	if d.joined != nil {
		d.joined.handled = true
	}
	l.mu.Unlock()
	if l.fence() != nil || d.session.wire.acknowledge(receipt{d.packetID, d.message.QoS}) != nil {
		return
	}
	l.mu.Lock()
	if first := l.inHand; first != nil && (first == d || first.joined == d) {
		l.inHand = nil
	}
	l.mu.Unlock()
	if foreign := d.message.Topic == ""; !foreign && l.settings.OnAcknowledged != nil {
		l.settings.OnAcknowledged(d.message)
	}
}

// fence returns why this process may not go on with the owner. Once it may not, the run ends.
func (l *line) fence() error {
	if err := l.fencedOff(); err != nil || l.settings.Fence == nil {
		return err
	}
	err := handoff.Ask(func(fds.OwnerKey) error { return l.settings.Fence() }, l.settings.owner())
	if err == nil {
		return nil
	}
	l.mu.Lock()
	l.fenced = err
	l.mu.Unlock()
	l.end()
	return err
}

// fencedOff returns what the fence said when it let nothing pass any more; nil: it does.
func (l *line) fencedOff() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced
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
	l.hand.Release()
	l.mu.Lock()
	if l.inHand == d {
		l.inHand = nil
	}
	last := cmp.Or(d.joined, d)
	l.mu.Unlock()
	last.session.wire.fail(fmt.Errorf("push: %w", why))
	if d.message.QoS == 0 {
		l.dropped(why)
	}
}

// handoff returns how a handler is called; nil: one of several messages.
func (s *settings) handoff(h delivery.Handler) *handoff.Settings {
	calling := &handoff.Settings{
		Handler:     h,
		MaxAttempts: s.MaxAttempts,
		DeadLetter:  s.DeadLetter,
		Backoff:     backoff.Policy{Initial: s.HandlerBackoff.Initial, Max: s.HandlerBackoff.Max, StableAfter: s.HandlerBackoff.StableAfter},
		SlowAfter:   s.SlowHandler,
		Watch:       &s.Budget.calls,
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
	if l.batches != nil {
		return l.batches.waiting(), fails
	}
	return len(l.queue), fails
}
