package webhook

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/webhook/internal/marks"
)

// piece is an item of a delivery that is to be handed over with others.
type piece struct {
	handoff.Item
	place int // among the items
	mark  marks.Mark
	event bool
}

// batches hands items over to a handler of several messages until it fails on one, and returns the
// marks of those that are done with, with whole where all are.
func (d *handing) batches(ctx context.Context, items []fds.Message, whole marks.Mark, o *outcome) (done []marks.Mark) {
	r := d.receiver
	var parts []int // see items
	for batch := range slices.Chunk(d.pieces(items, o), r.calling.Batch.Most) {
		if ctx.Err() != nil {
			o.err = later("what came before took all of Settings.HandlerTimeout")
			return d.failed(done, items, parts)
		}
		o.err = d.together(ctx, batch)
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
		if o.err != nil {
			return d.failed(done, items, parts)
		}
	}
	if d.id != "" {
		done = append(done, whole)
	}
	return done
}

// pieces returns the items that were not handed over before.
func (d *handing) pieces(items []fds.Message, o *outcome) (left []*piece) {
	r := d.receiver
	now := time.Now()
	here := make(map[marks.Mark]bool) // of this delivery
	inPart := d.id != "" && len(items) > 1 && r.marks.Seen(d.begun())
	for n, item := range items {
		if inPart && r.marks.Seen(d.part(n, item)) {
			o.suppressed++
			continue
		}
		known, event := d.markOf(item)
		seen := here[known] || r.marks.Seen(known)
		if seen && event {
			o.suppressed++
			continue
		}
		here[known] = true
		m := delivery.Message{Owner: d.owner, Source: delivery.FromWebhook, Duplicate: seen, ReceivedAt: now, Payload: item.Raw()}.In(&r.cfg.Dialect)
		left = append(left, &piece{Item: handoff.Item{Message: &m, Known: binary.BigEndian.Uint64(known[:])}, place: n, mark: known, event: event})
	}
	return left
}

// together hands messages over together. Each that did not end well is counted where it is to blame:
// by its own verdict, or since it was alone. Those that were not in time go alone the next time.
func (d *handing) together(ctx context.Context, batch []*piece) error {
	r := d.receiver
	hand := handoff.New(r.calling)
	items := make([]*handoff.Item, len(batch))
	before := make([]delivery.Failing, len(batch))
	for i, p := range batch {
		items[i] = &p.Item
		var failed bool
		if before[i], failed = r.failing.of(p.mark); failed {
			hand.ResumeOf(p.Known, before[i])
		}
	}
	hand.Batch(ctx, items, r.ctx.Done())
	var refused *refusal
	for i, p := range batch {
		if p.Err == nil {
			r.failing.forget(p.mark)
			continue
		}
		if _, after := handoff.Judge(p.Err); refused == nil || after > refused.after {
			refused = &refusal{status: http.StatusServiceUnavailable, why: "the handler failed", cause: p.Err, after: after}
		}
		if r.ctx.Err() != nil || !p.Handed {
			continue
		}
		late := errors.Is(ctx.Err(), context.DeadlineExceeded)
		failing, ok := hand.FailingOf(p.Known)
		switch {
		case !ok && !late: // others failed
			continue
		case !ok:
			failing = delivery.Failing{Message: *p.Message, Since: time.Now(), Err: p.Err}
		}
		if verdict, _ := handoff.Judge(p.Err); late && p.Alone && verdict != delivery.Unavailable {
			failing.Attempts, failing.Err = before[i].Attempts+1, p.Err
		}
		r.failing.note(p.mark, failing)
	}
	if refused == nil {
		return nil
	}
	return refused
}
