package handoff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
)

// Item is one of an owner's messages that are handed over together, and what became of it.
type Item struct {
	Message *delivery.Message // not changed
	Known   uint64            // what it is known by among those of its owner

	// After a call of Batch:
	Err   error         // nil: it is done with. ErrChanged: it cannot be handed over again
	Dead  bool          // the dead letters have it
	After time.Duration // where it is not done with: hand it over again that much later

	Handed bool // it was handed over, the last time or before
	Alone  bool // and the last time alone

	payload []byte // as it came, where the handler changed that of Message
	changed error  // ErrChanged: and it is not known any more
}

// errWaits: others of the batch failed, so that this one was not handed over.
var errWaits = errors.New("the message was not handed over, since those before it failed")

// ErrNoVerdict: the handler's Verdicts are fewer than the messages.
var ErrNoVerdict = errors.New("the handler returned no verdict for the message")

// remembered bounds the messages of an owner of whose failures a hand knows.
const remembered = 1 << 16

// several is what a hand knows whose handler takes several messages at once.
type several struct {
	size    int                 // of the next call; 0: as many as there are
	failing map[uint64]*illness // by what a message is known by
}

// illness is what is known of a message on which the handler failed.
type illness struct {
	failing
	alone   bool             // it failed when it was the only one: it is handed over alone
	retries *backoff.Backoff // of all that failed first in the same round; nil: nobody asks when
}

// Number returns what a message is known by: the same when it comes again, with the same place.
// Of two that are equal the place tells which is which.
func Number(m *delivery.Message, place uint64) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(m.Topic)
	_ = h.WriteByte(0) // which no topic holds
	maphash.WriteComparable(&h, place)
	_, _ = h.Write(m.Payload)
	return h.Sum64()
}

// Complete returns a Batching with its defaults, and adds its faults.
func Complete(b *delivery.Batching, faults *fds.ConfigError) *delivery.Batching {
	whole := *b
	if whole.Handler == nil {
		faults.Add("Batching.Handler", "", "is nil")
	}
	switch {
	case whole.Most == 0:
		whole.Most = 100
	case whole.Most < 0 || whole.Most > 10_000:
		faults.Add("Batching.Most", "it must lie between 1 and 10000, or be 0 for 100", "is %d", whole.Most)
	}
	switch {
	case whole.Wait == 0:
		whole.Wait = 20 * time.Millisecond
	case whole.Wait < 0 || whole.Wait > 10*time.Second:
		faults.Add("Batching.Wait", "it must be at most 10s, or 0 for 20ms", "is %v", whole.Wait)
	}
	return &whole
}

// ResumeOf has the hand know how often the handler has failed on a message before, which is
// handed over alone.
func (h *Hand) ResumeOf(known uint64, before delivery.Failing) {
	verdict, _ := Judge(before.Err)
	h.severals().failing[known] = &illness{alone: true, failing: failing{Failing: before, known: known, handler: before.Err, never: verdict == delivery.Terminal}}
}

// FailingOf returns what is known of a message on which the handler has failed; false: it has
// not, or the message is done with.
func (h *Hand) FailingOf(known uint64) (delivery.Failing, bool) {
	if f := h.severals().failing[known]; f != nil {
		return f.Failing, true
	}
	return delivery.Failing{}, false
}

// Keep forgets all other messages on which the handler failed.
func (h *Hand) Keep(known map[uint64]bool) {
	for failed := range h.severals().failing {
		if !known[failed] {
			delete(h.several.failing, failed)
		}
	}
	h.tellOldest()
}

// ForgetKind forgets the messages of that kind on which the handler failed: they are no longer to
// be handed over.
func (h *Hand) ForgetKind(kind delivery.Kind) {
	if h == nil {
		return
	}
	if h.several != nil {
		for known, f := range h.several.failing {
			if f.Message.Kind == kind {
				delete(h.several.failing, known)
			}
		}
		h.tellOldest()
		return
	}
	if failing, ok := h.Failing(); ok && failing.Message.Kind == kind {
		h.Forget()
	}
}

func (h *Hand) severals() *several {
	if h.several == nil {
		h.several = &several{failing: make(map[uint64]*illness)}
	}
	return h.several
}

// tellOldest has Failing return the one that has failed for longest.
func (h *Hand) tellOldest() {
	var oldest *illness
	for _, f := range h.several.failing {
		if oldest == nil || f.Since.Before(oldest.Since) {
			oldest = f
		}
	}
	if oldest == nil {
		h.failing.Store(nil)
		return
	}
	h.failing.Store(&oldest.failing)
}

// round is one call of Batch.
type round struct {
	hand    *Hand
	several *several
	ctx     context.Context
	closing <-chan struct{}
	apart   bool // no other owner's messages go with these

	done    int     // messages
	ill     []*Item // that failed and are to be handed over again
	fresh   int     // of them: that had not failed before
	lonely  int     // of them: that failed alone, while none was done with
	away    bool    // the handler is unavailable: no more is handed over
	retries *backoff.Backoff
	delays  map[*backoff.Backoff]time.Duration
}

// Batch calls Settings.Batch for an owner's messages, in their order, with as many at once as there
// are, until each is done with or has failed, and sets what became of each. When a whole call fails,
// those of it are handed over in halves, at once; only one that fails alone, or by a verdict of its
// own, has failed. Those that failed alone before are handed over alone, first. Hold is for how
// long nothing of the owner is to be handed over: not at all, or what was handed over failed as if
// it were not for a message's sake. No call is begun once closing is closed.
func (h *Hand) Batch(ctx context.Context, items []*Item, closing <-chan struct{}) (hold time.Duration) {
	r := &round{hand: h, several: h.severals(), ctx: ctx, closing: closing}
	var together []*Item
	for _, it := range items {
		it.Err, it.Dead, it.After = errWaits, false, 0
	}
	for _, it := range items {
		before := r.several.failing[it.Known]
		switch {
		case before == nil || !before.alone && !h.givenUp(&before.failing, 0):
			together = append(together, it)
		case r.isOver():
		case h.givenUp(&before.failing, 0):
			r.bury(it)
		default:
			r.alone(it)
		}
	}
	r.together(together)
	hold = r.rest(items)
	h.tellOldest()
	return hold
}

// isOver reports whether no call is to be begun any more.
func (r *round) isOver() bool {
	select {
	case <-r.closing:
		return true
	default:
		return r.ctx.Err() != nil || r.away
	}
}

// alone hands over one that failed alone before.
func (r *round) alone(it *Item) {
	apart := r.apart
	r.apart = true
	err := r.call([]*Item{it})
	r.apart = apart
	if err == nil {
		return
	}
	v, _ := Judge(err)
	if r.away = v == delivery.Unavailable || Fenced(err); Fenced(err) {
		it.Err = err
		return
	}
	r.failed(it, err, true)
}

// together hands messages over in as large parts as go well.
func (r *round) together(all []*Item) {
	most := len(all)
	for len(all) > 0 && !r.isOver() {
		n := len(all)
		if r.several.size > 0 {
			n = min(n, r.several.size)
		}
		err := r.call(all[:n])
		v, _ := Judge(err)
		switch {
		case err == nil: // or each has its own
			if r.several.size *= 2; r.several.size >= r.hand.settings.Batch.Most {
				r.several.size = 0
			}
			all = all[n:]
		case errors.Is(err, errApart): // by another owner's, perhaps
			r.apart = true
			all = r.unchanged(all, err)
		case r.ctx.Err() != nil || errors.Is(err, ErrClosing) || Fenced(err):
			for _, it := range all[:n] {
				it.Err = err
			}
			return
		case v == delivery.Unavailable:
			r.away = true
			for _, it := range all[:n] {
				r.failed(it, err, false)
			}
			return
		case n > 1:
			r.several.size, r.apart = n/2, true
			all = r.unchanged(all, err)
		default:
			if r.done == 0 && most > 1 {
				r.lonely++
			}
			r.failed(all[0], err, true)
			if all = all[1:]; r.lonely > 1 {
				return
			}
		}
	}
}

// unchanged returns those that can be handed over again after a call that failed.
func (r *round) unchanged(all []*Item, err error) []*Item {
	return slices.DeleteFunc(all, func(it *Item) bool {
		if it.changed != nil {
			r.failed(it, err, false)
		}
		return it.changed != nil
	})
}

// rest says when what is left is to be handed over.
func (r *round) rest(items []*Item) (hold time.Duration) {
	if len(r.ill) == 0 {
		return 0
	}
	least := slices.MinFunc(r.ill, func(a, b *Item) int { return cmp.Compare(a.After, b.After) })
	switch {
	case r.away, r.done == 0 && r.fresh > 1 && r.retries == nil:
		hold = least.After
	case r.done == 0 && r.fresh > 1: // what one asks for longer is of itself
		hold = min(least.After, r.delay(r.retries))
	}
	for _, it := range items {
		if it.Err == errWaits {
			it.After = hold
		}
	}
	r.hand.settings.Logger.LogAttrs(r.ctx, slog.LevelWarn, "the handler failed, messages stay unacknowledged", slog.Any("message", *least.Message), slog.Int("messages", len(r.ill)),
		slog.Any("error", least.Err), slog.Duration("retry_in", least.After))
	return hold
}

// call calls the handler once for a part, and takes what it says of each. An error is of the whole.
func (r *round) call(part []*Item) error {
	fence := func() error { return Ask(r.hand.settings.Fence, part[0].Message.Owner) }
	if err := fence(); err != nil {
		return err
	}
	messages := make([]delivery.Message, len(part))
	as := make([]*kept, len(part))
	for i, it := range part {
		m := *it.Message
		if it.payload != nil {
			m.Payload = it.payload
		}
		m.Duplicate = m.Duplicate || it.Handed || r.several.failing[it.Known] != nil
		messages[i], as[i] = m, keep(m.Payload)
	}
	handed := slices.Clone(messages) // the handler may do with its own as it likes
	ctx := context.WithValue(r.ctx, handingKey{}, handing{apart: r.apart, closing: r.closing, fence: fence})
	err := onOwnGoroutine(func() error { return r.hand.callBatch(ctx, messages) })
	for i, it := range part {
		if !errors.Is(err, ErrClosing) { // else it was not begun with
			it.Handed, it.Alone = true, len(part) == 1 && !errors.Is(err, errApart)
		}
		if err != nil {
			it.payload, it.changed = as[i].again(handed[i].Payload)
		}
		as[i].drop()
	}
	if err == nil {
		for _, it := range part {
			r.over(it)
		}
		return nil
	}
	verdicts, ok := VerdictsOf(err)
	if !ok {
		return err
	}
	for i, it := range part {
		switch {
		case i >= len(verdicts):
			r.failed(it, ErrNoVerdict, false)
		case verdicts[i] != nil:
			r.failed(it, verdicts[i], false)
		default:
			r.over(it)
		}
	}
	return nil
}

// over notes that a message is done with.
func (r *round) over(it *Item) {
	it.Err = nil
	r.done++
	delete(r.several.failing, it.Known)
}

// failed notes that the handler failed on a message, and has the dead letters take it where that
// was too often.
func (r *round) failed(it *Item, err error, alone bool) {
	before := r.several.failing[it.Known]
	if it.Err = err; r.ctx.Err() != nil || errors.Is(err, ErrClosing) {
		return
	}
	_, after := Judge(err)
	now := r.worse(before, it, err, false)
	now.alone = alone
	h := r.hand
	switch why := ""; {
	case now.never && h.settings.DeadLetter == nil:
		if before == nil || !before.never {
			h.noDeadLetters(r.ctx, it.Message, err)
		}
	case it.changed != nil || !h.givenUp(&now.failing, 0):
	case now.never:
		why = "the handler says that it will never take the message, which goes to the dead letters"
		fallthrough
	default:
		h.settings.Logger.LogAttrs(r.ctx, slog.LevelError, cmp.Or(why, "the handler failed too often, the message goes to the dead letters"), slog.Any("message", *it.Message), slog.Any("error", err), slog.Int("attempts", now.Attempts))
		r.bury(it)
		return
	}
	if it.changed != nil {
		it.Err = it.changed
	}
	r.again(it, now, after)
}

// bury has the dead letters take a message.
func (r *round) bury(it *Item) {
	before := r.several.failing[it.Known]
	if err := Ask(r.hand.settings.Fence, it.Message.Owner); err != nil {
		it.Err, r.away = err, true
		return
	}
	m := *it.Message
	if it.payload != nil {
		m.Payload = it.payload
	}
	m.Duplicate = true
	last := before.handler
	err := onOwnGoroutine(func() error {
		return r.hand.call(r.ctx, func(ctx context.Context, m delivery.Message) error { return r.hand.settings.DeadLetter(ctx, m, last) }, &m)
	})
	switch {
	case err == nil:
		r.over(it)
		it.Dead = true
	case r.ctx.Err() != nil:
		it.Err = err
	default:
		it.Err = err
		_, after := Judge(err)
		r.again(it, r.worse(before, it, err, true), after)
	}
}

// worse notes one more failure of a message.
func (r *round) worse(before *illness, it *Item, err error, dead bool) *illness {
	now := &illness{}
	var f *failing
	if before != nil {
		*now, f = *before, &before.failing
	} else {
		r.fresh++
		if len(r.several.failing) >= remembered {
			for known := range r.several.failing {
				delete(r.several.failing, known)
				break
			}
		}
	}
	if now.retries == nil && r.hand.settings.Backoff.Initial > 0 {
		if r.retries == nil {
			r.retries = backoff.New(r.hand.settings.Backoff)
		}
		now.retries = r.retries
	}
	now.failing = *f.next(it.Message, it.Known, err, dead)
	r.several.failing[it.Known] = now
	return now
}

// again says when a message is to be handed over again: after what is asked for, or as those that
// failed with it first.
func (r *round) again(it *Item, now *illness, after time.Duration) {
	r.ill = append(r.ill, it)
	if it.After = after; after == 0 && now.retries != nil {
		it.After = r.delay(now.retries)
	}
}

// delay returns the next delay of a back-off, the same during a round.
func (r *round) delay(of *backoff.Backoff) time.Duration {
	delay, drawn := r.delays[of]
	if !drawn {
		if r.delays == nil {
			r.delays = make(map[*backoff.Backoff]time.Duration)
		}
		delay = of.Next()
		r.delays[of] = delay
	}
	return delay
}

// callBatch calls the handler of several messages once.
func (h *Hand) callBatch(ctx context.Context, messages []delivery.Message) (err error) {
	err = ErrExited // unless it returns
	began, first := time.Now(), messages[0]
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler panicked: %q", shortened(fmt.Sprint(p)))
			h.settings.Logger.LogAttrs(ctx, slog.LevelError, "the handler panicked", slog.Any("message", first), slog.Int("messages", len(messages)), slog.Any("error", err), slog.String("stack", string(debug.Stack())))
		}
		if h.settings.Handled != nil {
			h.settings.Handled(first, time.Since(began), err)
		}
	}()
	h.works(began, &first)
	defer h.works(time.Time{}, nil)
	return none(sound(h.settings.Batch.Handler(ctx, messages)), len(messages))
}

// onOwnGoroutine returns what f does. That f ends its goroutine is an error.
func onOwnGoroutine(f func() error) error {
	err := ErrExited // unless it returns
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = f()
	}()
	<-done
	return err
}
