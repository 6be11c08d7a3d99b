package webhook

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

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
