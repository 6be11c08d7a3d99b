package following

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// maxHandedOver bounds the events remembered of an attempt that failed, so that the next
// one leaves them out.
const maxHandedOver = 1 << 16

var (
	errHandler = errors.New("the handler failed")
	// errClock ends a read that began too late, since the provider's clock turned out to be
	// behind, or to have been set back.
	errClock = errors.New("fdsclient: the provider's clock is behind")
	// errUnbounded ends a read whose parameters the provider does not know.
	errUnbounded = errors.New("fdsclient: the provider does not know the names of the parameters")
)

// attempt is one to close a gap.
type attempt struct {
	follower *Follower
	number   int       // of the outage before it
	gap      Gap       // what is read for
	date     time.Time // of the first answer
	fetched  int       // messages handed over
	answers  int       // of the read under way
	// given are digests of what the handler was given that has neither a name nor a date, by
	// how often: in this read, and in the one before of the same collection.
	given, before map[uint64]int
	skipped       map[uint64]int // in this read, of what attempts before have handed over
	pile          pile[missed]   // of a handler of several messages
}

// run reads what the gap may lack, one collection after the other. A restart alone is
// checked by the events: where none was missed the statuses are not asked for.
func (a *attempt) run() error {
	f := a.follower
	for _, kind := range wantedKinds {
		f.mu.Lock()
		check := f.gap.phase == checking
		f.mu.Unlock()
		if check && kind == pull.Statuses {
			continue
		}
		if err := f.selection.fault(kind); err != nil {
			return err
		}
		if err := a.collection(kind); err != nil {
			return err
		}
	}
	return nil
}

// collection reads one, anew where the first answers say that too little was asked for, or
// in other words than the provider knows, and once more where it has several pages: they
// shift when an item goes while they are read, and what is between two of them then is in
// none.
func (a *attempt) collection(kind pull.Kind) error {
	clocks, second := 0, false
	a.given = nil
	for {
		a.given, a.before, a.skipped = nil, a.given, nil
		err := a.fetch(kind)
		switch {
		case errors.Is(err, errUnbounded):
		case errors.Is(err, errClock) && clocks == 0:
			clocks++
		case err == nil && a.answers > 1 && !second:
			second = true
		default:
			return err
		}
	}
}

// fetch reads one collection and hands over what the gap may lack.
func (a *attempt) fetch(kind pull.Kind) error {
	f, dialect := a.follower, a.follower.shared.Dialect
	ctx, cancel := context.WithCancelCause(f.ctx)
	defer cancel(nil)
	f.mu.Lock()
	a.gap = *f.gap.open
	bounded := !f.gap.unbounded[kind] && (dialect.FromParameter != "" || dialect.ToParameter != "")
	f.mu.Unlock()
	if !a.gap.To.IsZero() {
		a.gap.To = a.gap.To.Add(f.shared.Margin)
	}
	a.answers = 0
	a.pile.take() // of a read that is made anew
	query := pull.Query{Answered: func(date time.Time) {
		if a.answers++; a.answers > 1 {
			return // told once the handler has had the page before, so that it is old
		}
		if err := a.answered(ctx, date); err != nil {
			cancel(err)
		}
	}}
	if bounded {
		query.From = a.gap.From
		if a.gap.To.After(a.gap.From) {
			query.To = a.gap.To
		}
	}
	from := asWritten(dialect, a.gap.From)
	var left leftOut
	for item, err := range f.owner.Items(ctx, kind, query) {
		switch {
		case context.Cause(ctx) != nil && f.ctx.Err() == nil:
			return context.Cause(ctx)
		case errors.Is(err, fds.ErrNotImplemented) && a.answers == 0: // so nothing of it can have been missed
			return nil
		case errors.Is(err, fds.ErrInvalidParameter) && bounded:
			a.unbound(kind)
			return errUnbounded
		case err != nil && left.takes(err):
			continue
		case err != nil:
			return cmp.Or(a.handOverPile(ctx), err)
		}
		at, dated := dialect.Time(item)
		if dated && (at.Before(from) || !a.gap.To.IsZero() && at.After(a.gap.To)) {
			continue
		}
		if named, known := f.selection.names(kind, item); !named {
			left.topicless(known)
			continue
		}
		if !dated {
			left.undated++
		}
		if err := a.handOver(ctx, kind, item); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := a.handOverPile(ctx); err != nil {
		return err
	}
	return f.tellLeftOut("backfill", kind, &left)
}

// unbound notes that the provider does not know the parameters' names there.
func (a *attempt) unbound(kind pull.Kind) {
	f := a.follower
	f.mu.Lock()
	if f.gap.unbounded == nil {
		f.gap.unbounded = make(map[pull.Kind]bool)
	}
	f.gap.unbounded[kind] = true
	f.mu.Unlock()
	f.unknownNames(kind)
}

// answered takes the provider's time, of which the first of an attempt ends the gap: what
// comes later comes to the subscription. That is said of the outages before the attempt
// alone. A provider that does not tell its time (zero) says nothing about either.
func (a *attempt) answered(ctx context.Context, date time.Time) error {
	if date.IsZero() {
		return nil
	}
	f := a.follower
	f.mu.Lock()
	ahead := date.Sub(f.clock(time.Now())) // up to a second too little, as the date is cut
	before := f.position.ahead
	setBack := max(before-ahead, 0) // by how much the provider's clock was, since the position was set
	if a.date.IsZero() {
		a.date = date
	}
	behind := setBack > max(f.shared.Margin/2, 2*time.Second) && !f.gap.open.From.IsZero() // less the margin holds, or the answer was slow
	ends := f.gap.open.To.IsZero() && f.gap.number == a.number
	change := func() {
		f.position.learn(ahead, setBack) // together with the gap: by a stored offset alone the next process would not set it back
		gap := *f.gap.open               // an outage may have widened it meanwhile
		if behind {
			gap.From = gap.From.Add(-setBack)
		}
		if ends && f.gap.number == a.number {
			gap.To = date.Add(time.Second)
		}
		f.gap.open = &gap
	}
	stored := f.gap.stored
	if !stored || !behind && !ends {
		change()
		f.mu.Unlock()
	} else {
		f.mu.Unlock()
		err := f.save(ctx, func(r *record) {
			f.mu.Lock()
			defer f.mu.Unlock()
			change()
			gap := *f.gap.open
			r.Position, r.Ahead, r.Gap = f.position.at, f.position.ahead, &gap
		})
		if err != nil {
			f.mu.Lock()
			f.position.ahead = before // to be learnt again; the position may be set back twice
			f.mu.Unlock()
			return fmt.Errorf("fdsclient: store a gap: %w", err)
		}
	}
	if behind {
		return errClock
	}
	return nil
}

// handOver hands one item to the handler, between two live messages; where that takes several, it
// waits until there are enough, or handOverPile is called. What it is known to have had is left
// out: by an event's ID, and by its bytes where it has a date.
func (a *attempt) handOver(ctx context.Context, kind pull.Kind, item fds.Item) error {
	f, dialect := a.follower, a.follower.shared.Dialect
	m := f.message(delivery.FromBackfill, kind, item)
	d, named := digestsOf(m, item, dialect)
	_, dated := dialect.Time(item)
	f.mu.Lock()
	times := f.gap.handed[d.what]
	f.mu.Unlock()
	if times > 0 && (named || dated || a.skips(d.what, times)) || !named && !dated && a.repeats(d.what) {
		return nil
	}
	if batch := f.calling.Batch; batch != nil {
		if a.pile.add(m, d.what, missed{d, named, dated}, batch.Most) {
			return a.handOverPile(ctx)
		}
		return nil
	}
	defer f.shared.readers.takesLong()() // the handler may be at work on a live message
	if err := f.turn.lockWithin(ctx); err != nil {
		return err
	}
	defer f.turn.unlock()
	f.mu.Lock()
	m.Duplicate = f.seen.holds(d)
	f.mu.Unlock()
	dead := false
	if !m.Duplicate || !named && !dated {
		f.found()
		var err error
		if dead, err = f.give(ctx, m, d.what); err != nil {
			return fmt.Errorf("fdsclient: backfill: %w: %w", errHandler, err)
		}
		a.fetched++
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.add(d, true)
	f.seen.unsaved = f.seen.unsaved || !m.Duplicate
	if named || dead {
		f.gap.hand(d.what)
	}
	return nil
}

// hand notes what was handed over, so that the next attempt leaves it out. The follower's mu is
// held.
func (g *gap) hand(what uint64) {
	if g.handed == nil {
		g.handed = make(map[uint64]int)
	}
	if g.handed[what] > 0 || len(g.handed) < maxHandedOver {
		g.handed[what]++
	}
}

// skips reports whether attempts before have handed over what is the same to the byte, as often as
// it has come in this read.
func (a *attempt) skips(what uint64, times int) bool {
	if a.skipped[what] >= times {
		return false
	}
	if a.skipped == nil {
		a.skipped = make(map[uint64]int)
	}
	a.skipped[what]++
	return true
}

// repeats reports whether the read before gave the handler what is the same to the byte, as
// often as it has come in this one.
func (a *attempt) repeats(what uint64) bool {
	if a.given == nil {
		a.given = make(map[uint64]int)
	}
	if len(a.given) < maxHandedOver {
		a.given[what]++
	}
	if a.before[what] == 0 {
		return false
	}
	a.before[what]--
	return true
}

// asWritten returns a time as the dialect's layout can say it, where that is earlier: an
// item of that moment is dated so.
func asWritten(dialect fds.Dialect, t time.Time) time.Time {
	if back, err := time.Parse(dialect.TimeLayout, t.UTC().Format(dialect.TimeLayout)); err == nil && back.Before(t) {
		return back
	}
	return t
}

// leftOut counts the items of a read that were not handed over, and why.
type leftOut struct {
	unread, unknown int   // no FDS object; not known whether the topics name it
	whose           error // not certain whose it is: the first of them
	nameless        int
	undated         int // handed over, though
}

// takes reports whether an error is about one item alone, and counts it.
func (l *leftOut) takes(err error) bool {
	switch {
	case errors.Is(err, fds.ErrItem):
		l.unread++
	case ofOneItem(err):
		l.nameless++
		if l.whose == nil {
			l.whose = err
		}
	default:
		return false
	}
	return true
}

// ofOneItem reports whether an error says that nobody knows whose an item is, and not that
// nobody knows it of a whole list.
func ofOneItem(err error) bool {
	var list *pull.Error
	return errors.Is(err, fds.ErrOwner) && !errors.As(err, &list)
}

func (l *leftOut) topicless(known bool) {
	if !known {
		l.unknown++
	}
}

// tellLeftOut tells of what was not handed over. An error says that something may be the
// owner's, and was not handed over for all that.
func (f *Follower) tellLeftOut(reading string, kind pull.Kind, l *leftOut) error {
	tell := func(level slog.Level, what string, items int) {
		if items > 0 {
			f.shared.Log.LogAttrs(f.ctx, level, reading+": "+what, ownerAttr(f.owner.Key), slog.String("collection", string(kind)), slog.Int("items", items))
		}
	}
	tell(slog.LevelWarn, "items that are not FDS objects were left out", l.unread)
	tell(slog.LevelWarn, "items whose topic is not known were left out; see Dialect.EventTopic and StatusTopic", l.unknown)
	if reading == "backfill" {
		tell(slog.LevelInfo, "items without a known date-time were all handed over; Dialect.TimeMember names it", l.undated)
	}
	if l.whose != nil {
		return fmt.Errorf("fdsclient: %s: %d items were left out: %w", reading, l.nameless, l.whose)
	}
	return nil
}

// unknownNames tells that a provider refuses what is sent to it alone where the Dialect
// names it.
func (f *Follower) unknownNames(kind pull.Kind) {
	f.shared.Log.LogAttrs(f.ctx, slog.LevelWarn, "the provider does not know Dialect.FromParameter or ToParameter there; the whole collection is read", ownerAttr(f.owner.Key), slog.String("collection", string(kind)))
}
