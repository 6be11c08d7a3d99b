package push

import (
	"errors"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/internal/handoff"
)

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
			b.lost = b.lost || d.message.QoS == 0 // which does not come again
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
				b.lost = b.lost || d.piece.taken
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
