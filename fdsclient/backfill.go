package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/pull"
)

const (
	lendAfter     = 5 * time.Second  // an item for which the handler takes longer, or does not come free, holds up no other owner's backfill
	handlerGrace  = 10 * time.Second // what a handler at work has when the run ends
	maxHandedOver = 1 << 16          // events remembered of an attempt that failed, so that the next one leaves them out
)

// gapState is what a follower knows of the gap that is open. Its mutex guards it,
// but what one attempt alone uses.
type gapState struct {
	open    *Gap          // nil: none
	number  int           // of outages: an attempt that began before the last one cannot close the gap
	filled  chan struct{} // closed when the gap is
	retry   *time.Timer
	backoff *backoff.Backoff

	// Of the attempts:
	handed    map[uint64]struct{} // events handed over by those before, and what went to the dead letters
	fetched   int                 // messages handed over in this one
	date      time.Time           // of its first answer
	unbounded map[pull.Kind]bool  // the provider refuses the names of the parameters there
	failedOn  uint64              // the item that the handler fails on
	failures  int                 // how often
}

// openGap stores a gap, or widens the one that is open, and gives a channel that
// is closed when it is; nil: it cannot be.
func (f *follower) openGap(ctx context.Context, why string) (<-chan struct{}, error) {
	gap := Gap{Since: time.Now(), Why: why}
	var filled chan struct{}
	err := f.save(ctx, func(s *OwnerState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		open := f.gap.open
		if open == nil {
			open = s.Gap // of an earlier process
		}
		switch {
		case open != nil:
			gap.From, gap.Since = open.From, open.Since
		case !s.Position.IsZero():
			gap.From = s.Position.Add(-f.client.cfg.Push.Gaps.Margin)
		}
		s.Gap = &gap
		// All at once, also when it cannot be stored: an attempt that knows of this
		// outage must not go by the gap of the one before.
		f.gap.open = &gap
		f.gap.number++
		if f.gap.filled == nil {
			f.gap.filled = make(chan struct{})
		}
		filled = f.gap.filled
	})
	if err != nil {
		return nil, err
	}
	f.client.gapChanged(GapEvent{Owner: f.owner.key, Change: GapOpened, Gap: gap})
	if f.client.cfg.Provider.APIURL == "" {
		err := fmt.Errorf("fdsclient: %w: Provider.APIURL is missing, so that what was missed cannot be fetched", ErrConfig)
		f.client.gapChanged(GapEvent{Owner: f.owner.key, Change: GapFailing, Gap: gap, Err: err})
		return nil, nil
	}
	f.client.backfills.add(f)
	return filled, nil
}

// errExited: the handler called runtime.Goexit, as a test does that fails.
var errExited = errors.New("fdsclient: backfill: the handler ended its goroutine")

// fill is one attempt to close the gap, if it is still open. A failed one is
// repeated after a while.
func (f *follower) fill() {
	if f.polling != nil {
		f.poll()
		return
	}
	err := errExited // unless it returns
	defer func() {
		f.mu.Lock()
		if err == nil || f.ctx.Err() != nil || f.stopped || f.gap.open == nil {
			f.mu.Unlock()
			return
		}
		delay := askedToWait(err) + f.gap.backoff.Next()
		if f.gap.retry != nil { // this attempt was another outage's
			f.gap.retry.Stop()
		}
		f.gap.retry = time.AfterFunc(delay, func() { f.client.backfills.add(f) })
		event := GapEvent{Owner: f.owner.key, Change: GapFailing, Gap: *f.gap.open, Fetched: f.gap.fetched, Err: err, RetryAt: time.Now().Add(delay)}
		f.mu.Unlock()
		f.client.gapChanged(event)
	}()
	err = f.attempt()
}

// errClock ends an attempt that began too late, since the provider's clock turned
// out to be behind, or to have been set back.
var errClock = errors.New("fdsclient: the provider's clock is behind")

func (f *follower) attempt() error {
	f.mu.Lock()
	if f.gap.open == nil {
		f.mu.Unlock()
		return nil
	}
	number := f.gap.number
	f.gap.fetched, f.gap.date = 0, time.Time{}
	f.mu.Unlock()
	for _, kind := range []pull.Kind{pull.Events, pull.Statuses} {
		err := f.fetch(kind, number)
		if errors.Is(err, errClock) {
			err = f.fetch(kind, number)
		}
		if err != nil {
			return err
		}
	}
	return f.closeGap(number)
}

// withoutBounds notes that the provider does not know the parameters' names, if
// any were sent.
func (f *follower) withoutBounds(kind pull.Kind) bool {
	if f.gap.unbounded[kind] || f.client.cfg.Provider.Dialect.FromParameter == "" && f.client.cfg.Provider.Dialect.ToParameter == "" {
		return false
	}
	if f.gap.unbounded == nil {
		f.gap.unbounded = make(map[pull.Kind]bool)
	}
	f.gap.unbounded[kind] = true
	f.unknownNames(kind)
	return true
}

// fetch reads one collection and hands over what the gap may lack. number is that
// of the attempt.
func (f *follower) fetch(kind pull.Kind, number int) error {
	ctx, cancel := context.WithCancelCause(f.ctx)
	defer cancel(nil)
	f.mu.Lock()
	gap := *f.gap.open
	f.mu.Unlock()
	if !gap.To.IsZero() {
		gap.To = gap.To.Add(f.client.cfg.Push.Gaps.Margin)
	}
	dialect := f.client.cfg.Provider.Dialect
	first := true
	query := pull.Query{Answered: func(date time.Time) {
		if !first {
			return // told once the handler has had the page before, so that it is old
		}
		first = false
		if err := f.answered(ctx, number, date); err != nil {
			cancel(err)
		}
	}}
	if !f.gap.unbounded[kind] {
		query.From = gap.From
		if gap.To.After(gap.From) {
			query.To = gap.To
		}
	}
	from := asWritten(dialect, gap.From)
	unread, undated := 0, 0
	for item, err := range f.owner.pullOnce().Items(ctx, kind, query) {
		switch {
		case context.Cause(ctx) != nil && f.ctx.Err() == nil:
			return context.Cause(ctx)
		case errors.Is(err, pull.ErrInvalidParameter) && f.withoutBounds(kind):
			return f.fetch(kind, number)
		case errors.Is(err, fds.ErrItem):
			unread++
			continue
		case err != nil:
			return err
		case !f.owns(item):
			continue
		}
		at, dated := dialect.Time(item)
		if dated && (at.Before(from) || !gap.To.IsZero() && at.After(gap.To)) {
			continue
		}
		if !dated {
			undated++
		}
		if err := f.handOver(ctx, kind, item); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	f.leftOut("backfill", kind, unread)
	if undated > 0 {
		f.client.log.LogAttrs(ctx, slog.LevelInfo, "backfill: items without a known date-time were all handed over; Dialect.TimeMember names it", f.itemAttrs(kind, undated)...)
	}
	return nil
}

// answered takes the provider's time, of which the first of an attempt ends the
// gap: what comes later comes to the subscription. That is said of the outages
// before the attempt alone. A provider that does not tell its time (zero) says
// nothing about either.
func (f *follower) answered(ctx context.Context, number int, date time.Time) error {
	if date.IsZero() {
		return nil
	}
	ahead := date.Sub(f.clock(time.Now())) // up to a second too little, as the date is cut
	f.mu.Lock()
	before := f.ahead
	setBack := max(before-ahead, 0) // by how much the provider's clock was, since the position was set
	learn := func() {
		f.ahead = ahead
		f.position = earlier(f.position, setBack)
		f.reached = earlier(f.reached, setBack)
	}
	if f.gap.date.IsZero() {
		f.gap.date = date
	}
	behind := setBack > max(f.client.cfg.Push.Gaps.Margin/2, 2*time.Second) && !f.gap.open.From.IsZero() // less the margin holds, or the answer was slow
	ends := f.gap.open.To.IsZero() && f.gap.number == number
	if !behind && !ends {
		learn()
		f.mu.Unlock()
		return nil
	}
	f.mu.Unlock()
	err := f.save(ctx, func(s *OwnerState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		learn() // together with the gap: by a stored offset alone the next process would not set it back
		s.Position, s.Ahead = f.position, f.ahead
		gap := *f.gap.open // an outage may have widened it meanwhile
		if behind {
			gap.From = gap.From.Add(-setBack)
		}
		if ends && f.gap.number == number {
			gap.To = date.Add(time.Second)
		}
		f.gap.open, s.Gap = &gap, &gap
	})
	if err != nil {
		f.mu.Lock()
		f.ahead = before // to be learnt again; the position may be set back twice
		f.mu.Unlock()
		return fmt.Errorf("fdsclient: store a gap: %w", err)
	}
	if behind {
		return errClock
	}
	return nil
}

// earlier sets a time back, if there is one.
func earlier(t time.Time, by time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-by)
}

// handOver gives one item to the handler, between two live messages.
func (f *follower) handOver(ctx context.Context, kind pull.Kind, item fds.Item) error {
	m := f.fetched(delivery.FromBackfill, kind, item)
	settings := &f.client.cfg.Push
	d, named := digestsOf(m, item, f.client.cfg.Provider.Dialect)
	_, dated := f.client.cfg.Provider.Dialect.Time(item)
	if _, known := f.gap.handed[d.what]; known {
		return nil
	}
	defer f.client.backfills.takesLong()() // the handler may be at work on a live message
	if err := f.turn.lockWithin(ctx); err != nil {
		return err
	}
	defer f.turn.unlock()
	m.Duplicate = f.recent.holds(d)
	dead := false
	if !m.Duplicate || !settings.Gaps.DropDuplicates || !named && !dated {
		var err error
		if dead, err = f.give(ctx, m, d.what); err != nil {
			return fmt.Errorf("fdsclient: backfill: %w: %w", errHandler, err)
		}
		f.mu.Lock()
		f.gap.fetched++
		f.mu.Unlock()
	}
	f.remember(d, true)
	if (named || dead) && len(f.gap.handed) < maxHandedOver {
		if f.gap.handed == nil {
			f.gap.handed = make(map[uint64]struct{})
		}
		f.gap.handed[d.what] = struct{}{}
	}
	return nil
}

// give hands a message to the handler once and, when it has failed too often on
// what it is known by, to the dead letters.
func (f *follower) give(ctx context.Context, m delivery.Message, what uint64) (dead bool, err error) {
	settings := &f.client.cfg.Push
	defer func() {
		if err == nil && f.gap.failedOn == what {
			f.gap.failures = 0 // a status may come again
		}
	}()
	err = f.call(ctx, f.handler, m)
	if err == nil || ctx.Err() != nil || settings.MaxAttempts == 0 || f.failedOn(what) < settings.MaxAttempts {
		return false, err
	}
	last := err
	err = f.call(ctx, func(ctx context.Context, m delivery.Message) error { return settings.DeadLetter(ctx, m, last) }, m)
	return err == nil, err
}

func (f *follower) failedOn(item uint64) int {
	if f.gap.failedOn != item {
		f.gap.failedOn, f.gap.failures = item, 0
	}
	f.gap.failures++
	return f.gap.failures
}

// call calls the handler, or what stands in for it, once. A panic is an error. When
// the run ends, a handler at work has a while to finish.
func (f *follower) call(ctx context.Context, handler delivery.Handler, m delivery.Message) (err error) {
	handling, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() {
		timer := time.NewTimer(handlerGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			end()
		case <-handling.Done():
		}
	})()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the handler panicked")
			f.client.log.LogAttrs(ctx, slog.LevelError, "backfill: the handler panicked", slog.Any("message", m), slog.String("stack", string(debug.Stack())))
		}
		pushHooks{f.client}.MessageHandled(f.owner.key, time.Since(began), err)
	}()
	return handler(handling, m)
}

// closeGap removes the gap, unless another outage came after the attempt began.
func (f *follower) closeGap(number int) error {
	f.mu.Lock()
	if f.gap.number != number {
		f.mu.Unlock()
		return nil
	}
	// What was published after the gap was not fetched, however late this attempt
	// was: that the connection brings it, and the handler takes it, is not said yet.
	reached := f.gap.date
	if to := f.gap.open.To; !to.IsZero() && to.Before(reached) {
		reached = to
	}
	if reached.After(f.position) {
		f.position = reached
	}
	event := GapEvent{Owner: f.owner.key, Change: GapClosed, Gap: *f.gap.open, Fetched: f.gap.fetched}
	f.mu.Unlock()
	closed := false
	err := f.save(f.ctx, func(s *OwnerState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if closed = f.gap.number == number; closed {
			s.Gap = nil
		}
	})
	if err != nil || !closed {
		return err
	}
	f.mu.Lock()
	if f.gap.number != number { // an outage came while it was stored: openGap has stored its own
		f.mu.Unlock()
		return nil
	}
	f.gap.open, f.gap.handed, f.gap.unbounded, f.gap.failures = nil, nil, nil, 0
	filled := f.gap.filled
	f.gap.filled = nil
	f.overlap = time.Now().Add(f.client.cfg.Push.Gaps.Margin)
	retry := f.client.cfg.Push.Gaps.Retry
	f.gap.backoff = backoff.New(backoff.Policy{Initial: retry.Initial, Max: retry.Max, StableAfter: time.Minute})
	f.mu.Unlock()
	defer close(filled)
	f.client.gapChanged(event)
	return nil
}
