package push

import (
	"context"
	"errors"
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
	calling, release, err := c.settings.handoffBatches(b)
	if err != nil {
		return err
	}
	defer release()
	return c.runWith(ctx, calling)
}

// StartBatches is Start for a handler of several messages, as RunBatches is Run.
func (c *Connection) StartBatches(ctx context.Context, b *delivery.Batching, ended func(error)) (stop func(), err error) {
	if ended == nil {
		return nil, fmt.Errorf("push: start: %w: ended is nil", fds.ErrConfig)
	}
	calling, release, err := c.settings.handoffBatches(b)
	if err != nil {
		return nil, err
	}
	stop, err = c.startWith(ctx, calling, func(err error) {
		release()
		ended(err)
	})
	if err != nil {
		release()
	}
	return stop, err
}

// handoffBatches returns how a handler of several messages is called, until release is called.
func (s *settings) handoffBatches(b *delivery.Batching) (calling *handoff.Settings, release func(), err error) {
	var faults fds.ConfigError
	if b == nil {
		b = new(delivery.Batching)
	}
	whole := handoff.Complete(b, &faults)
	if err := faults.Err(); err != nil {
		return nil, nil, fmt.Errorf("push: run: %w", err)
	}
	calling = s.handoff(nil)
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
	lost  bool              // a session: of what failed then, only what is still here may be handed over again

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

// work acknowledges and hands over until there is nothing to do.
func (b *batches) work() {
	l := b.line
	var batch []*inbound
	returned := false
	defer func() {
		if !returned { // a hook or the logger ended the goroutine
			defer func() { go b.work() }() // also when one ends it once more
			b.giveUp(batch, handoff.ErrExited)
		}
	}()
	for {
		l.mu.Lock()
		handled, waits := b.take()
		if batch = nil; len(handled) == 0 && waits == nil && l.state == lineServing {
			batch, waits = b.collect(time.Now())
		}
		if len(handled) == 0 && len(batch) == 0 && (waits == nil || l.state != lineServing) {
			b.rest()
			l.mu.Unlock()
			returned = true
			return
		}
		l.mu.Unlock()
		switch {
		case len(handled) > 0:
			b.acknowledge(handled)
		case len(batch) > 0:
			b.handOver(batch)
		case !waits.waitUp(l.closing, func() {}):
			b.forgo(waits)
		}
	}
}

// acknowledgeable returns how many messages at the beginning of the queue are done with or of
// quality of service 0, up to the last one that is to be acknowledged; or whom to wait for.
func (b *batches) acknowledgeable() (n int, waits *session) {
	for i, d := range b.line.queue {
		switch {
		case d.message.QoS == 0:
			continue
		case !d.handled || d.acknowledged || d.session.wire.hasEnded():
			return n, nil
		case !d.session.isUp():
			return n, d.session
		}
		n = i + 1
	}
	return n, nil
}

// take returns the messages to acknowledge, in order.
func (b *batches) take() (handled []*inbound, waits *session) {
	n, waits := b.acknowledgeable()
	for _, d := range b.line.queue[:n] {
		if d.message.QoS > 0 {
			d.acknowledged = true // the next messages may come before it is written
			d.release()
			b.unacked--
			handled = append(handled, d)
		}
	}
	if len(handled) > 0 {
		b.window.acknowledged(b.unacked)
	}
	return handled, waits
}

// collect returns the messages to hand over now; or whom to wait for.
func (b *batches) collect(now time.Time) (batch []*inbound, waits *session) {
	b.count()
	at := b.next()
	if at.IsZero() || at.After(now) {
		return nil, nil
	}
	b.window.taken(b.unacked, b.fresh > 0 && b.fresh < b.most && !b.isFull())
	b.all(func(d *inbound) bool {
		switch {
		case !b.open(d) || d.piece.taken && d.piece.due.After(now):
			return true
		case !d.piece.apart && !d.session.isUp():
			waits = d.session
			return true
		}
		batch = append(batch, d)
		return len(batch) < b.most
	})
	for _, d := range batch {
		d.piece.taken, d.piece.atWork = true, true
		if d.message.QoS == 0 {
			b.line.forget(d)
		}
	}
	return batch, waits
}

// handOver hands messages over and notes what became of them.
func (b *batches) handOver(batch []*inbound) {
	l := b.line
	items := make([]*handoff.Item, len(batch))
	for i, d := range batch {
		items[i] = &d.piece.Item
	}
	l.mu.Lock()
	var here map[uint64]bool
	if b.lost {
		b.lost, here = false, make(map[uint64]bool)
		b.all(func(d *inbound) bool {
			if d.piece != nil {
				here[d.piece.Known] = true
			}
			return true
		})
	}
	l.mu.Unlock()
	if here != nil {
		l.hand.Keep(here)
	}
	hold := l.hand.Batch(l.ctx, items, l.closing)
	now := time.Now()
	var changed []*inbound
	l.mu.Lock()
	for _, d := range batch {
		switch p := d.piece; {
		case p.Err == nil:
			d.handled = true
		case errors.Is(p.Err, handoff.ErrChanged):
			changed = append(changed, d)
		default:
			p.due = now.Add(p.After)
			if d.message.QoS == 0 {
				l.waiting++
				l.bytes += d.size()
			}
		}
		d.piece.atWork = false
	}
	if b.hold = now.Add(hold); l.fenced != nil { // the run ends
		b.hold = now.Add(time.Hour)
	}
	b.sweep()
	l.mu.Unlock()
	if len(changed) > 0 {
		b.giveUp(changed, handoff.ErrChanged)
	}
}

// sweep takes out what is done with and is not to be acknowledged, or not on this connection.
func (b *batches) sweep() {
	b.line.queue = slices.DeleteFunc(b.line.queue, func(d *inbound) bool {
		out := d.handled && d.message.QoS == 0
		if out {
			d.release()
		}
		return out
	})
	b.apart = slices.DeleteFunc(b.apart, func(d *inbound) bool {
		if !d.handled {
			return false
		}
		d.release()
		if d.packetID != 0 {
			if b.done == nil {
				b.done = make(map[uint16]uint64)
			}
			b.done[d.packetID] = d.piece.Known
		}
		return true
	})
}

// acknowledge tells the broker that messages of one connection were handled. Where it does not
// come to know, they come again, and are known then.
func (b *batches) acknowledge(handled []*inbound) {
	l := b.line
	receipts := make([]receipt, len(handled))
	for i, d := range handled {
		receipts[i] = receipt{d.packetID, d.message.QoS}
	}
	if l.fence() != nil || handled[0].session.wire.acknowledge(receipts...) != nil {
		return
	}
	l.mu.Lock()
	of := handled
	l.queue = slices.DeleteFunc(l.queue, func(d *inbound) bool {
		if len(of) == 0 || d != of[0] {
			return false
		}
		of = of[1:]
		return true
	})
	for _, d := range of { // withdrawn meanwhile
		delete(b.done, d.packetID)
	}
	l.mu.Unlock()
	if l.settings.OnAcknowledged != nil {
		for _, d := range handled {
			if foreign := d.piece == nil; !foreign {
				l.settings.OnAcknowledged(d.message)
			}
		}
	}
}

// forgo takes out what came on a connection that came to nothing.
func (b *batches) forgo(s *session) {
	l := b.line
	dropped := 0
	l.mu.Lock()
	if l.state == lineServing {
		l.queue = slices.DeleteFunc(l.queue, func(d *inbound) bool {
			out := d.session == s && d.message.QoS == 0
			if out {
				l.forget(d)
				d.release()
				dropped++
			}
			return out
		})
		b.withdraw(s)
	}
	l.mu.Unlock()
	for range dropped {
		l.dropped(errNotHandedOver)
	}
}

// giveUp ends the connections that messages came on, so that the broker sends them again.
func (b *batches) giveUp(batch []*inbound, why error) {
	l := b.line
	gone := func(d *inbound) bool { return slices.Contains(batch, d) }
	l.mu.Lock()
	l.queue = slices.DeleteFunc(l.queue, gone)
	b.apart = slices.DeleteFunc(b.apart, gone)
	l.mu.Unlock()
	for _, d := range batch {
		l.giveUp(d, why)
	}
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

// clear gives back what is not handed over any more.
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
	l.queue = slices.Delete(l.queue, i, i+1)
	b.count()
	return true
}
