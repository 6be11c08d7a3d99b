package webhook

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/webhook/internal/marks"
)

// handing is one delivery in hand.
type handing struct {
	receiver *Receiver
	sender   string // its client ID
	id       string // webhook-id; "": none
	owner    fds.OwnerKey
	lane     *lane
	leave    []func() // of what it takes room in; nil: somebody else calls them
}

// enter takes a place in its owner's lane.
func (d *handing) enter(owner fds.OwnerKey) error {
	lane, leave, ok := d.receiver.lanes.enter(owner)
	if !ok {
		return malformed(http.StatusTooManyRequests, fmt.Sprintf("%d deliveries of this owner are in hand, which is Settings.MaxInHandOfOwner", d.receiver.cfg.MaxInHandOfOwner))
	}
	d.owner, d.lane = owner, lane
	d.leave = append(d.leave, leave)
	return nil
}

// abandon leaves what was entered, unless handOver has taken that over.
func (d *handing) abandon() {
	for _, leave := range d.leave {
		leave()
	}
}

// outcome is what became of a delivery.
type outcome struct {
	handed, suppressed int
	err                error
}

// handOver calls the handler for the items, once those of the owner that came before are done with,
// and returns when what was handled is on disk: at the latest after HandlerTimeout. What is at work
// then goes on, keeps its place, and what becomes of it is remembered. The sender's leaving ends
// nothing: it comes again, and would have it done twice.
func (d *handing) handOver(ctx context.Context, items []fds.Message) (handed, suppressed int, err error) {
	r := d.receiver
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.HandlerTimeout)
	stop := context.AfterFunc(r.ctx, end)
	leave := d.leave
	d.leave = nil
	done := make(chan outcome, 1)
	go func() {
		o := outcome{err: later("the handler ended its goroutine")}
		defer func() { // also when it did
			for _, leave := range leave { // before the answer: who has it may come again at once
				leave()
			}
			done <- o
			stop()
			end()
		}()
		o = d.inTurn(ctx, items)
	}()
	select {
	case o := <-done:
		return o.handed, o.suppressed, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-done: // both at once
		return o.handed, o.suppressed, o.err
	default:
		return 0, 0, later("the handler has not returned within Settings.HandlerTimeout")
	}
}

// inTurn hands the items over in the owner's turn.
func (d *handing) inTurn(ctx context.Context, items []fds.Message) (o outcome) {
	r := d.receiver
	if d.lane.begin(ctx) != nil {
		o.err = later("those of this owner that came before took longer than Settings.HandlerTimeout")
		return o
	}
	written := func(context.Context) error { return nil }
	func() {
		defer d.lane.end()
		var end func()
		if end, o.err = d.alone(ctx); o.err != nil {
			return
		}
		defer end()
		var done []marks.Mark
		if _, o.err = r.owner(ctx, d.owner.SubscriptionID); o.err == nil { // it may have left meanwhile
			done = d.items(ctx, items, &o)
		}
		written = r.marks.Note(time.Now(), done...) // seen by the one whose turn is next
	}()
	// A mark that cannot be written is told by the log of marks, and known to this process: what was
	// handled is not asked for again. What was suppressed waits, too, for what it was suppressed by.
	_ = written(context.WithoutCancel(ctx))
	return o
}

// alone waits until nobody else calls a handler for the owner.
func (d *handing) alone(ctx context.Context) (end func(), err error) {
	turn := d.receiver.cfg.Turn
	if turn == nil {
		return func() {}, nil
	}
	if end, err = contained("Turn", func() (func(), error) { return turn(ctx, d.owner) }); err != nil {
		return nil, &refusal{status: http.StatusServiceUnavailable, why: "another handler is at work for this owner", cause: err}
	}
	return end, nil
}

// items hands items over until the handler fails on one, and returns the marks of those that are
// done with.
func (d *handing) items(ctx context.Context, items []fds.Message, o *outcome) (done []marks.Mark) {
	r := d.receiver
	var whole marks.Mark
	if d.id != "" {
		whole = markOf(d.owner, markDelivery, []byte(d.sender), []byte(d.id))
		if r.marks.Seen(whole) {
			o.suppressed = len(items)
			if slices.ContainsFunc(items, func(item fds.Message) bool { return !r.marks.Seen(d.piece(0, item).mark) }) {
				r.refused.reused(d)
			}
			return nil
		}
	}
	most, give := 1, d.one
	if r.calling.Batch != nil {
		most, give = r.calling.Batch.Most, d.together
	}
	now := time.Now()
	here := make(map[marks.Mark]bool) // of this delivery
	inPart := d.id != "" && len(items) > 1 && r.marks.Seen(d.begun())
	var parts []int // places of items that were handled now, and of which no mark of their own suppresses another
	var batch []*piece
	handOver := func() {
		o.err = give(ctx, batch)
		for _, p := range batch {
			if p.Err != nil {
				continue
			}
			o.handed++
			if d.id != "" && len(items) > 1 && !p.event {
				parts = append(parts, p.place)
			}
			done = append(done, p.mark)
		}
		batch = nil
	}
	for n, item := range items {
		if ctx.Err() != nil { // the handler has not failed on what it has no time for
			o.err = later("what came before took all of Settings.HandlerTimeout")
			return d.failed(done, items, parts)
		}
		if inPart && r.marks.Seen(d.part(n, item)) {
			o.suppressed++
			continue
		}
		p := d.piece(n, item)
		seen := here[p.mark] || r.marks.Seen(p.mark)
		if seen && p.event {
			o.suppressed++
			continue
		}
		here[p.mark] = true
		p.Message.Duplicate, p.Message.ReceivedAt = seen, now
		batch = append(batch, p)
		if len(batch) == most {
			if handOver(); o.err != nil {
				return d.failed(done, items, parts)
			}
		}
	}
	if len(batch) > 0 {
		if handOver(); o.err != nil {
			return d.failed(done, items, parts)
		}
	}
	if d.id != "" {
		done = append(done, whole)
	}
	return done
}

// failed returns the marks of what was done of a delivery that has failed then. Those of the parts of
// a webhook-id go with them: else one that takes longer than HandlerTimeout would never come to its
// end, however often its sender comes again.
func (d *handing) failed(done []marks.Mark, items []fds.Message, parts []int) []marks.Mark {
	if len(parts) > 0 {
		done = append(done, d.begun())
	}
	for _, n := range parts {
		done = append(done, d.part(n, items[n]))
	}
	return done
}

// begun says that there are parts of a webhook-id that were handled.
func (d *handing) begun() marks.Mark {
	return markOf(d.owner, markPart, []byte(d.sender), []byte(d.id))
}

// part names an item of a webhook-id, by its place and its bytes.
func (d *handing) part(n int, item fds.Message) marks.Mark {
	return markOf(d.owner, markPart, []byte(d.sender), []byte(d.id), binary.BigEndian.AppendUint64(nil, uint64(n)), item.Raw())
}

// piece is an item of a delivery that is to be handed over.
type piece struct {
	handoff.Item
	place int // among the items
	mark  marks.Mark
	event bool // that has an ID, by which it is marked; else it is by its bytes
}

// piece makes one of an item.
func (d *handing) piece(place int, item fds.Message) *piece {
	m := delivery.Message{Owner: d.owner, Source: delivery.FromWebhook, Payload: item.Raw()}.In(&d.receiver.cfg.Dialect)
	p := &piece{place: place}
	if id := d.receiver.eventID(item, m.Kind); id != "" {
		p.mark, p.event = markOf(d.owner, markEvent, []byte(id)), true
	} else {
		p.mark = markOf(d.owner, markBytes, item.Raw())
	}
	p.Item = handoff.Item{Message: &m, Known: binary.BigEndian.Uint64(p.mark[:])}
	return p
}

// one hands one message over. Each time that it did not end well is counted, whichever way.
func (d *handing) one(ctx context.Context, batch []*piece) error {
	r, p := d.receiver, batch[0]
	hand := handoff.New(r.calling)
	before, failed := r.failing.of(p.mark)
	if failed {
		hand = handoff.Resume(r.calling, p.Known, before)
	}
	p.Err = handoff.ErrExited // unless it returns
	defer func() {
		failing, ok := hand.Failing()
		switch {
		case p.Err == nil:
			if failed {
				r.failing.forget(p.mark)
			}
			return
		case r.ctx.Err() != nil: // it was ended, and has not failed
			return
		case !ok:
			failing = delivery.Failing{Message: *p.Message, Since: time.Now()}
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			failing.Attempts, failing.Err = before.Attempts, p.Err
			if verdict, _ := handoff.Judge(p.Err); verdict != delivery.Unavailable {
				failing.Attempts++
			}
		}
		r.failing.note(p.mark, failing)
	}()
	if _, p.Err = hand.Once(ctx, p.Message, p.Known); p.Err != nil {
		_, after := handoff.Judge(p.Err)
		return &refusal{status: http.StatusServiceUnavailable, why: "the handler failed", cause: p.Err, after: after}
	}
	return nil
}
