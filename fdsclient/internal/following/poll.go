package following

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/pull"
)

// wholeInterval is from when on a list is read though it is unchanged: an entity tag need
// not tell that a page has come after the only one.
const wholeInterval = time.Hour

// polling is the poll mode of one owner. One reader at a time is at it; what is not its own
// is guarded by the follower's mu.
type polling struct {
	follower         *Follower
	events, statuses list
	begun            time.Time // of a newcomer, of whom nothing was read before: when it was tried first; else zero
	late             bool      // of a newcomer: that failed, so that something may have come since
	failing          bool
	gap              bool      // of an earlier run, which the next whole read closes
	saved            time.Time // when
	unsaved          bool      // something was handed over since
	retries          *backoff.Backoff
	timer            *time.Timer // mu: of the next read

	// Of a handler of several messages: what waits, and by whose it is what it is.
	pile    pile[fresh]
	waiting map[uint64]uint64
}

// Poll has the owner's lists read from now on.
func (f *Follower) Poll() {
	p := &polling{follower: f, retries: f.shared.pollRetries()}
	if f.unread == nil || errors.Is(f.unread, fds.ErrCorrupt) {
		f.unread = nil
		p.begin()
	}
	f.mu.Lock()
	f.polling = p
	f.mu.Unlock()
	f.shared.readers.add(f)
}

// ReadNow has the owner's lists read at once, and not at the next time that is planned.
func (f *Follower) ReadNow() {
	f.mu.Lock()
	if f.polling != nil && f.polling.timer != nil {
		f.polling.timer.Stop()
	}
	f.mu.Unlock()
	f.shared.readers.add(f)
}

// known has another try at what is stored, by which alone it is known what is new.
func (p *polling) known() error {
	f := p.follower
	if err := f.saving.lockWithin(f.ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	if f.unread == nil {
		return nil
	}
	if err := f.load(f.ctx); err != nil {
		return fmt.Errorf("fdsclient: poll: what was handed over before: %w", err)
	}
	p.begin()
	return nil
}

// begin takes what was stored of the owner.
func (p *polling) begin() {
	f, stored := p.follower, p.follower.stored
	p.events, p.statuses = list{kind: pull.Events}, list{kind: pull.Statuses}
	p.begun = time.Time{}
	f.mu.Lock()
	newcomer := f.position.newcomer
	f.mu.Unlock()
	if newcomer {
		p.begun = f.clock(time.Now())
	}
	if stored.Polled != nil {
		p.events.load(stored.Polled.Events)
		p.statuses.load(stored.Polled.Statuses)
		if newcomer && stored.Polled.Begun.Before(p.begun) {
			p.begun, p.late = stored.Polled.Begun, true
		}
	}
	if !stored.Position.IsZero() && !stored.Position.Equal(p.events.from) { // a broker has pushed since
		p.events.from, p.events.part = stored.Position, true
		if stored.Gap != nil {
			p.events.from = stored.Gap.From
		}
		p.statuses = list{kind: pull.Statuses}
	}
	p.gap = stored.Gap != nil
}

// read reads the lists once and sees to the next time.
func (p *polling) read() {
	f := p.follower
	err := handoff.ErrExited // unless it returns
	defer func() {
		if err != nil && (f.ctx.Err() != nil || handoff.Fenced(err)) {
			return
		}
		interval := f.shared.PollInterval
		delay := interval + time.Duration((rand.Float64()-0.5)*float64(interval)/5)
		if err != nil {
			p.late = true
			if p.events.fresh+p.statuses.fresh > 0 { // it got further
				p.retries = f.shared.pollRetries()
			}
			delay = askedToWait(err) + p.retries.Next() // many may have been told the same moment
		} else {
			p.retries.Up()
		}
		f.mu.Lock()
		if p.timer != nil { // of a read before, where ReadNow came meanwhile
			p.timer.Stop()
		}
		if !f.stopped {
			p.timer = time.AfterFunc(delay, func() { f.shared.readers.add(f) })
		}
		f.mu.Unlock()
		p.tell(PollEvent{Owner: f.owner.Key, Events: p.events.fresh, Statuses: p.statuses.fresh, Err: err, NextAt: time.Now().Add(delay)})
	}()
	err = p.lists()
}

// tell tells of a read.
func (p *polling) tell(e PollEvent) {
	f := p.follower
	level, line := slog.LevelDebug, "an owner's lists were polled"
	attrs := []slog.Attr{ownerAttr(e.Owner)}
	switch {
	case e.Err != nil && !p.failing:
		level, line = slog.LevelWarn, "an owner's lists cannot be polled, which will be tried again"
		attrs = append(attrs, slog.Any("error", e.Err), slog.Time("retry_at", e.NextAt))
	case e.Err == nil && p.failing:
		level, line = slog.LevelInfo, "an owner's lists are polled again"
	default:
		attrs = append(attrs, slog.Int("events", e.Events), slog.Int("statuses", e.Statuses), slog.Any("error", e.Err))
	}
	f.shared.Log.LogAttrs(f.ctx, level, line, attrs...)
	p.failing = e.Err != nil
	f.shared.Polled(e)
}

// lists reads both lists, each as far as it can be.
func (p *polling) lists() error {
	f := p.follower
	p.events.fresh, p.statuses.fresh = 0, 0
	if err := p.known(); err != nil {
		return err
	}
	if p.unsaved { // what the store would not take; else it grows, and after a crash all of it comes again
		if err := p.save(f.ctx); err != nil {
			return err
		}
	}
	var failed error
	for _, l := range []*list{&p.events, &p.statuses} {
		err := p.list(l)
		if err != nil && !ofOneList(err) {
			return p.notBegun(err)
		}
		failed = joinErrors(failed, err)
	}
	if p.unsaved || p.gap && failed == nil {
		if err := p.save(f.ctx); err != nil {
			return err
		}
	}
	if failed != nil || !p.gap {
		return p.notBegun(failed)
	}
	err := f.save(f.ctx, func(r *record) { r.Gap = nil })
	if p.gap = err != nil; !p.gap {
		f.mu.Lock()
		f.gap.earlier = nil
		f.mu.Unlock()
	}
	return err
}

// notBegun stores when a newcomer's first read was tried, should it have failed, so that
// the next process takes what came since for new.
func (p *polling) notBegun(failed error) error {
	f := p.follower
	if failed == nil || p.begun.IsZero() || f.saving.lockWithin(f.ctx) != nil {
		return failed
	}
	noted := f.stored.Polled != nil
	f.saving.unlock()
	if noted {
		return failed
	}
	return joinErrors(failed, p.save(f.ctx))
}

// joinErrors returns both errors as one, or the one that there is.
func joinErrors(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}

// ofOneList reports whether the provider answers, and does not give that list, or not so
// that it can be read or told whose it is, now or later: the other may be well all the same.
func ofOneList(err error) bool {
	if errors.Is(err, errHandler) {
		return false
	}
	if errors.Is(err, fds.ErrOwner) || errors.Is(err, fds.ErrConfig) {
		return true
	}
	var failed *pull.Error
	return errors.As(err, &failed) && failed.HTTPStatus != 0 && !errors.Is(err, fds.ErrUnavailable) && !errors.Is(err, fds.ErrRateLimited) && !errors.Is(err, fds.ErrUnauthorized)
}

// outcome is what became of one read of a list.
type outcome uint8

const (
	readDone  outcome = iota
	readAgain         // what it was asked with was wrong, which is known now
	readTwice         // it may lack what moved between its pages
)

// list reads one collection and hands over what is new. A read is made anew where its
// answers say so: without the parameters that the provider does not know, from an earlier
// time where its clock was set back, and once more where the pages may have shifted.
func (p *polling) list(l *list) error {
	if err := p.follower.selection.fault(l.kind); err != nil {
		return err
	}
	second := false
	for {
		what, err := p.once(l, second)
		switch {
		case err != nil:
			return err
		case what == readDone:
			p.nothingFails(l)
			return nil
		case what == readTwice:
			second = true
		}
	}
}

// nothingFails notes that a list came to its end: what the handler failed on there is not
// in it any more.
func (p *polling) nothingFails(l *list) {
	kind := delivery.KindEvent
	if l.kind == pull.Statuses {
		kind = delivery.KindStatus
	}
	p.follower.hand.ForgetKind(kind)
}

// reading is one read of a list.
type reading struct {
	began    time.Time
	since    time.Time // what is dated before is of no interest
	baseline time.Time // of a newcomer's events: what is dated before was for nobody, or all that there is; else zero
	bounded  bool      // the provider was asked for no more than that
	old      bool      // it held something older
	setBack  bool      // by its first answer
	answers  int
	items    []readItem
	left     leftOut
}

// once reads one collection and hands over what is new. Second: the read before may lack
// something.
func (p *polling) once(l *list, second bool) (outcome, error) {
	f, dialect := p.follower, p.follower.shared.Dialect
	r := &reading{began: f.clock(time.Now()), since: l.since(f.shared.PollMargin, dialect)}
	if l.kind == pull.Events && l.from.IsZero() {
		r.baseline = p.begun
	}
	r.bounded = l.kind == pull.Events && dialect.FromParameter != "" && !l.unbounded && !r.since.IsZero()
	query := p.query(l, r)
	p.pile.take() // of a read that is made anew
	p.waiting = nil
	for item, err := range f.owner.Items(f.ctx, l.kind, query) {
		if r.setBack {
			return readAgain, nil
		}
		switch {
		case errors.Is(err, fds.ErrUnchanged):
			return readDone, nil
		case errors.Is(err, fds.ErrNotImplemented) && r.answers == 0:
			if r.baseline.IsZero() {
				return readDone, nil
			}
			l.take(r.baseline, nil, true) // what comes from now on is new
			return readDone, p.save(f.ctx)
		case errors.Is(err, fds.ErrInvalidParameter) && r.bounded:
			l.unbounded = true
			f.unknownNames(l.kind)
			return readAgain, nil
		case err != nil && r.left.takes(err):
			continue
		case err != nil:
			return readDone, cmp.Or(p.handOverPile(l), err)
		}
		if err := p.item(l, r, item); err != nil {
			return readDone, err
		}
	}
	if !r.setBack {
		if err := p.handOverPile(l); err != nil {
			return readDone, err
		}
	}
	return p.whole(l, r, second)
}

// query asks for a list.
func (p *polling) query(l *list, r *reading) pull.Query {
	f := p.follower
	l.date = time.Time{}
	if len(l.handed) > 0 || time.Since(l.whole) >= wholeInterval {
		l.version = pull.Version{} // as the list was before that is no longer what the handler knows
	}
	query := pull.Query{Version: &l.version, Answered: func(date time.Time) {
		r.answers++
		if !l.date.IsZero() || date.IsZero() {
			return
		}
		l.date, l.ahead = date, date.Sub(f.clock(time.Now()))
		r.setBack = p.setBack(l)
		if !r.baseline.IsZero() {
			r.baseline = r.baseline.Add(l.ahead)
		}
	}}
	if r.bounded {
		query.From = r.since
	}
	return query
}

// item takes one item of a read, and hands it over if it is new.
func (p *polling) item(l *list, r *reading, item fds.Item) error {
	f, dialect := p.follower, p.follower.shared.Dialect
	at, dated := dialect.Time(item)
	if l.part && dated && at.Before(r.since) {
		r.old = true
		return nil
	}
	if named, known := f.selection.names(l.kind, item); !named {
		r.left.topicless(known)
		return nil
	}
	m := f.message(delivery.FromPoll, l.kind, item)
	whose, d := stableDigests(m, item, dated, dialect)
	r.items = append(r.items, readItem{d, at, dated})
	if p.forNobody(r, at, dated) || p.knows(l, whose, d) {
		return nil
	}
	return p.handOver(l, m, whose, d)
}

// forNobody reports whether an event was published before a newcomer's first read was tried.
// That may have waited, or taken a while, so that only dates tell: to the second, as answers
// tell the provider's time. What is dated past that was there already, unless a read has
// failed since.
func (p *polling) forNobody(r *reading, at time.Time, dated bool) bool {
	switch {
	case r.baseline.IsZero():
		return false
	case !dated || at.Before(r.baseline):
		return true
	case p.late:
		return false
	}
	now := r.baseline.Add(p.follower.clock(time.Now()).Sub(p.begun))
	return at.Before(r.baseline.Add(time.Second)) || at.After(now.Add(2*time.Second))
}

// give hands over an item, during which another owner may be read.
func (p *polling) give(m *delivery.Message, known uint64) error {
	f := p.follower
	defer f.shared.readers.takesLong()() // also when the handler ends its goroutine
	if err := f.turn.lockWithin(f.ctx); err != nil {
		return err
	}
	defer f.turn.unlock()
	_, err := f.give(f.ctx, m, known)
	return err
}

// whole takes a read that came to its end.
func (p *polling) whole(l *list, r *reading, second bool) (outcome, error) {
	f := p.follower
	if r.setBack {
		return readAgain, nil
	}
	left := f.tellLeftOut("poll", l.kind, &r.left)
	l.whole = time.Now()
	if l.date.IsZero() {
		l.date, l.ahead = r.began, 0
		if latest(r.items, r.began).IsZero() {
			l.date = time.Unix(0, 0) // a clock that is far behind ours hides nothing
		}
	}
	if len(l.handed) == 0 && !l.from.IsZero() {
		return readDone, left // the same URL again
	}
	part := r.bounded || r.old
	if part && r.answers > 1 && !second {
		// Pages shift when an item goes while they are read, and what is between two of
		// them then is not asked for any more once this read is taken.
		return readTwice, nil
	}
	if err := l.complete(r.items, part, f.shared.PollMargin, f.shared.Dialect); err != nil {
		l.version = pull.Version{}
		return readDone, err
	}
	if l.kind == pull.Events {
		p.begun = time.Time{}
		f.mu.Lock()
		f.position.ahead = l.ahead
		f.mu.Unlock()
	}
	return readDone, joinErrors(left, p.save(f.ctx))
}

// setBack reports whether the provider's clock was set back since the last read that held
// something new: what it published since then may be dated before that read, which is
// therefore set back too.
func (p *polling) setBack(l *list) bool {
	f := p.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	by := f.position.ahead - l.ahead
	if l.kind != pull.Events || l.from.IsZero() || by <= max(f.shared.PollMargin/2, 2*time.Second) { // or the answer was slow
		return false
	}
	f.position.ahead, l.from = l.ahead, l.from.Add(-by)
	return true
}

// save stores what was handed over.
func (p *polling) save(ctx context.Context) error {
	f := p.follower
	p.saved, p.unsaved = time.Now(), true
	f.mu.Lock()
	f.position.at = p.events.from // should the provider get a broker
	f.mu.Unlock()
	polled := &polledRecord{Events: p.events.store(), Statuses: p.statuses.store(), Begun: p.begun}
	err := f.save(ctx, func(r *record) { r.Polled = polled })
	if err != nil {
		return fmt.Errorf("fdsclient: poll: store what was handed over: %w", err)
	}
	p.unsaved = false
	return nil
}

// storeAtLast stores what was handed over at the end of a run.
func (p *polling) storeAtLast(ctx context.Context) {
	if !p.unsaved {
		return
	}
	if err := p.save(ctx); err != nil && !handoff.Fenced(err) {
		p.follower.shared.Log.LogAttrs(ctx, slog.LevelWarn, "what was polled cannot be stored; after a restart it comes again", ownerAttr(p.follower.owner.Key), slog.Any("error", err))
	}
}
