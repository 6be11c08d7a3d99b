package push

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// RunBatches is Run for a handler of several messages. The receive maximum is twice b.Most, where
// Settings.ReceiveMaximum is less, so that the broker sends the next batch while the handler is at
// work: what that takes in memory, Settings.Budget bounds. A message is acknowledged once it and
// those before it are done with, many at once. What is done with behind one that is not waits for
// that, in the budget, and is not handed over again by this call, as long as the broker keeps the
// session. (Acknowledgements that were written, and that the broker never read since the connection
// ended, have their messages come again, as with Run: of a batch that may be all.) HookHandled is
// told of each call of the handler, however many messages it had. An error that matches
// fds.ErrConfig says what b lacks.
func (c *Connection) RunBatches(ctx context.Context, b *delivery.Batching) error {
	calling, release, err := c.callingBatch(b)
	if err != nil {
		return err
	}
	defer release()
	return c.runWith(ctx, calling)
}

// StartBatches is Start for a handler of several messages: see RunBatches.
func (c *Connection) StartBatches(ctx context.Context, b *delivery.Batching, ended func(error)) (stop func(), err error) {
	calling, release, err := c.callingBatch(b)
	if err != nil {
		return nil, err
	}
	over := ended
	if ended != nil {
		over = func(err error) {
			release()
			ended(err)
		}
	}
	if stop, err = c.startWith(ctx, calling, over); err != nil {
		release()
	}
	return stop, err
}

// callingBatch returns how a handler of several messages is called, until release is.
func (c *Connection) callingBatch(b *delivery.Batching) (calling *handoff.Settings, release func(), err error) {
	var faults fds.ConfigError
	if b == nil {
		b = new(delivery.Batching)
	}
	whole := handoff.Complete(b, &faults)
	if err := faults.Err(); err != nil {
		return nil, nil, fmt.Errorf("push: run: %w", err)
	}
	calling = c.settings.handoff(nil)
	calling.Batch, release = handoff.Gather(b, whole)
	return calling, release, nil
}

// batches is what a line has besides whose handler takes several messages at once: they wait in the
// line's queue until there are enough, or the first has waited long enough, and stay in it, in the
// order received, until they are acknowledged. Between two rounds there is no goroutine. The
// line's lock guards it.
type batches struct {
	line *line
	most int
	wait time.Duration

	apart []*inbound        // handed over, not done with, and of connections that have ended
	done  map[uint16]uint64 // done with, not acknowledged, and of connections that have ended: what they are known by, by packet identifier
	place uint64            // of the last message of quality of service 0
	lost  bool              // a session, or a message that failed: of what did, only what is still here may be handed over again

	fresh, unacked int       // of queue: never taken; of quality of service 1 or 2
	first          time.Time // when the first of the fresh came
	due            time.Time // when the first of those that failed is to be handed over again; zero: none did
	hold           time.Time // before it nothing is handed over
	timer          *time.Timer
	window         window
}

// piece is what an inbound has besides that is for a handler of several messages.
type piece struct {
	handoff.Item
	taken  bool // it is at work, or was
	atWork bool
	apart  bool      // it is in batches.apart
	due    time.Time // when it is to be handed over again
}

func newBatches(l *line, b *delivery.Batching) *batches {
	return &batches{line: l, most: b.Most, wait: b.Wait}
}

// receiveMaximum returns what the broker may send ahead, where that is set to n.
func (l *line) receiveMaximum(n uint16) uint16 {
	if l.batches == nil {
		return n
	}
	return uint16(min(max(int(n), 2*l.batches.most), 65535))
}

// offer takes a message. A redelivery of one that was handed over takes its place, or is that one.
// l.mu is held.
func (b *batches) offer(d *inbound) {
	l := b.line
	if !d.handled {
		place := uint64(d.message.QoS)<<16 | uint64(d.packetID)
		if d.message.QoS == 0 {
			b.place++
			place = b.place << 18
		}
		d.piece = &piece{Item: handoff.Item{Message: &d.message, Known: handoff.Number(&d.message, place)}}
		if d.message.QoS > 0 {
			d = b.rejoined(d)
		}
	}
	l.queue = append(l.queue, d)
	if d.message.QoS > 0 {
		b.unacked++
		b.window.came(b.unacked, b.wait)
	}
	if !d.handled && !d.piece.taken {
		if b.fresh++; b.fresh == 1 {
			b.first = d.message.ReceivedAt
		}
	}
	b.plan()
}

// rejoined returns d, which may be done with; or the one that it is the redelivery of (see
// inbound.repeats).
func (b *batches) rejoined(d *inbound) *inbound {
	if known, ok := b.done[d.packetID]; ok {
		delete(b.done, d.packetID)
		d.handled = d.message.Duplicate && known == d.piece.Known
		return d
	}
	i := slices.IndexFunc(b.apart, func(first *inbound) bool { return first.packetID == d.packetID })
	if i < 0 {
		return d
	}
	first := b.apart[i]
	if !d.message.Duplicate || first.piece.Known != d.piece.Known { // the broker has forgotten that one
		first.packetID = 0
		return d
	}
	d.release()
	b.apart = slices.Delete(b.apart, i, i+1)
	first.session, first.piece.apart = d.session, false
	return first
}

// withdraw takes out what is of an ended connection: what was never handed over comes again.
func (b *batches) withdraw(s *session) {
	l := b.line
	l.queue = slices.DeleteFunc(l.queue, func(d *inbound) bool {
		if d.session != s || d.message.QoS == 0 {
			return false
		}
		switch {
		case d.piece == nil: // not for the handler, the next time neither
		case d.handled:
			if b.done == nil {
				b.done = make(map[uint16]uint64)
			}
			b.done[d.packetID] = d.piece.Known
		case d.piece.taken:
			d.piece.apart = true
			b.apart = append(b.apart, d)
			return true
		}
		d.release()
		return true
	})
	b.window = window{}
	b.count()
	b.plan()
}

// sessionLost forgets which packet identifiers messages had.
func (b *batches) sessionLost() {
	b.done, b.lost = nil, true
	for _, d := range b.apart {
		d.packetID = 0
	}
}

// open reports whether a message may be handed over, now or later. One of a connection that has
// ended comes again.
func (b *batches) open(d *inbound) bool {
	return !d.handled && !d.piece.atWork && (d.message.QoS == 0 || d.piece.apart || !d.session.wire.hasEnded())
}

// all calls do for each message, those of connections before first, until it returns false.
func (b *batches) all(do func(d *inbound) bool) {
	for _, some := range [][]*inbound{b.apart, b.line.queue} {
		for _, d := range some {
			if !do(d) {
				return
			}
		}
	}
}

// count counts anew what waits.
func (b *batches) count() {
	b.fresh, b.unacked, b.first, b.due = 0, 0, time.Time{}, time.Time{}
	b.all(func(d *inbound) bool {
		if d.message.QoS > 0 && !d.acknowledged && (d.piece == nil || !d.piece.apart) {
			b.unacked++
		}
		switch {
		case !b.open(d):
		case !d.piece.taken:
			if b.fresh++; b.fresh == 1 {
				b.first = d.message.ReceivedAt
			}
		case b.due.IsZero() || d.piece.due.Before(b.due):
			b.due = d.piece.due
		}
		return true
	})
}

// next returns when messages are to be handed over; zero: none wait.
func (b *batches) next() (at time.Time) {
	at = b.due
	if b.fresh > 0 {
		fresh := b.first.Add(b.wait)
		if b.fresh >= b.most || b.isFull() {
			fresh = b.first
		}
		if at.IsZero() || fresh.Before(at) {
			at = fresh
		}
	}
	if !at.IsZero() && at.Before(b.hold) {
		at = b.hold
	}
	return at
}

// isFull reports whether no more messages come before some are acknowledged.
func (b *batches) isFull() bool {
	last := b.line.queue[len(b.line.queue)-1]
	w := last.session.wire
	return b.unacked >= w.receiveMaximum || b.window.learnt > 0 && b.unacked >= b.window.learnt || w.isPaused()
}

// plan has a round begin, now or when one is due, unless one is at work.
func (b *batches) plan() {
	l := b.line
	if l.state != lineIdle {
		return
	}
	if acknowledge, waits := b.acknowledgeable(); acknowledge == 0 && waits == nil {
		at := b.next()
		if at.IsZero() {
			return
		}
		if left := time.Until(at); left > 0 {
			b.wake(left)
			return
		}
	}
	l.state = lineServing
	l.first()
	go b.work()
}

// paused hands over what there is, since reading waits for the budget.
func (l *line) paused() {
	if l.batches == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches.plan()
}

// wake has plan called after that time.
func (b *batches) wake(after time.Duration) {
	if b.timer != nil {
		b.timer.Reset(after)
		return
	}
	b.timer = time.AfterFunc(after, func() {
		b.line.mu.Lock()
		defer b.line.mu.Unlock()
		b.plan()
	})
}

// rest ends the work. Without messages there is no queue.
func (b *batches) rest() {
	l := b.line
	if l.state != lineServing {
		l.state = lineClosed
		b.clear()
		close(l.closed)
		return
	}
	l.state = lineIdle
	if len(l.queue) == 0 && cap(l.queue) > smallQueue {
		l.queue = nil
	}
	b.plan()
}

// clear releases what is not handed over any more.
func (b *batches) clear() {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.all(func(d *inbound) bool { d.release(); return true })
	b.line.queue, b.apart, b.done = nil, nil, nil
}

// waiting returns how many messages wait for the handler.
func (b *batches) waiting() (n int) {
	b.all(func(d *inbound) bool {
		if b.open(d) {
			n++
		}
		return true
	})
	return n
}

// dropOldest takes out the oldest message of quality of service 0 that is not at work, and reports
// whether there was one.
func (b *batches) dropOldest() bool {
	l := b.line
	i := slices.IndexFunc(l.queue, func(d *inbound) bool { return d.message.QoS == 0 && !d.piece.atWork })
	if i < 0 {
		return false
	}
	l.forget(l.queue[i])
	l.queue[i].release()
	b.lost = b.lost || l.queue[i].piece.taken
	l.queue = slices.Delete(l.queue, i, i+1)
	b.count()
	return true
}
