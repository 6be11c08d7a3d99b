package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/pull"
)

// Poll has Run read the owners' events and statuses from the Web API at an
// interval, for a provider without a broker: what is new since the last read goes
// to the same handler, as messages of delivery.FromPoll, in the order of the lists and
// one at a time per owner. What the handler fails on ends the read and comes again
// with the next one; Push.MaxAttempts and Push.DeadLetter hold. Push.Gaps.Concurrent
// bounds the owners that are read at once, Pull.Limit the requests.
//
// New is what the last read did not hold: an event whose ID, which
// Dialect.MessageID names, or else whose bytes are others; a status whose bytes
// are. Which those are the StateStore remembers, so a restart neither misses nor
// repeats anything; after a crash what was handled since the last save, within a
// second, and what was in hand may come again. While the StateStore fails nothing more
// is handed over. At an owner's first read all
// statuses are handed over, and no event: before it, there was nobody to receive
// them. With Dialect.FromParameter events are asked for from the date of the last one
// that came, or else of its read, less Margin; without, the whole collection is read,
// which costs one HTTP 304 as long as nothing has changed and the provider has entity
// tags.
type Poll struct {
	// Interval is the time from a read to the next one, give or take a tenth, so that
	// owners do not come together. 0: no polling; at least 1 second, at most 30 days.
	Interval time.Duration
	// Margin is how long before one that the provider has shown an event may be dated
	// that it shows only later. Default 5 minutes, at most 30 days.
	Margin time.Duration
}

func (p *Poll) complete(provider *Provider, fault func(string, ...any)) {
	if p.Margin == 0 {
		p.Margin = 5 * time.Minute
	}
	switch {
	case p.Interval == 0:
		return
	case p.Interval < time.Second:
		fault("Poll.Interval is %v; it must be at least 1s, or 0 for no polling", p.Interval)
	case p.Interval > 30*24*time.Hour:
		fault("Poll.Interval is %v; it must be at most 720h", p.Interval)
	case provider.BrokerURL != "":
		fault("Poll.Interval and Provider.BrokerURL are both set; a provider with a broker pushes")
	case provider.APIURL == "":
		fault("Poll.Interval needs Provider.APIURL, from which is read")
	}
	if p.Margin < 0 || p.Margin > 30*24*time.Hour {
		fault("Poll.Margin is %v; it must lie between 0, for the default, and 720h", p.Margin)
	}
}

// PollEvent is one read of an owner's lists, told to HookPoll.
type PollEvent struct {
	Owner            fds.OwnerKey
	Events, Statuses int       // handed over
	Err              error     // why the read ended early; nil: all was read
	NextAt           time.Time // when the next one begins
}

// HookPoll is told of each read in poll mode.
type HookPoll interface{ OnPoll(PollEvent) }

// wholeInterval is from when on a list is read though it is unchanged: an entity tag
// need not tell that a page has come after the only one.
const wholeInterval = time.Hour

// polling is the poll mode of one owner. One worker at a time is at it.
type polling struct {
	events, statuses polledList
	newcomer         bool // nothing was read before this run
	failing          bool
	gap              bool      // of an earlier run, which the next whole read closes
	saved            time.Time // when
	unsaved          bool      // something was handed over since
	backoff          *backoff.Backoff
	timer            *time.Timer // f.mu
}

// startPolling has the owner's lists read from now on.
func (f *follower) startPolling() {
	f.polling = &polling{backoff: f.client.pollBackoff()}
	if f.unread == nil || errors.Is(f.unread, errDamaged) {
		f.unread = nil
		f.polling.begin(f.stored, f.newcomer)
	}
	f.client.backfills.add(f)
}

// load has another try at what is stored, by which alone it is known what is new.
func (f *follower) load() error {
	if err := f.saving.lockWithin(f.ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	state, err := f.client.state.Load(f.ctx, f.owner.key)
	if err != nil {
		return fmt.Errorf("fdsclient: poll: what was handed over before: %w", err)
	}
	f.unread = nil
	f.restore(state)
	f.polling.begin(state, f.newcomer)
	return nil
}

// begin takes what was stored of an owner.
func (p *polling) begin(stored OwnerState, newcomer bool) {
	p.newcomer = newcomer
	p.events, p.statuses = polledList{kind: pull.Events}, polledList{kind: pull.Statuses}
	if stored.Polled != nil {
		p.events.load(stored.Polled.Events)
		p.statuses.load(stored.Polled.Statuses)
	}
	if !stored.Position.IsZero() && !stored.Position.Equal(p.events.from) { // a broker has pushed since
		p.events.from, p.events.part = stored.Position, true
		if stored.Gap != nil {
			p.events.from = stored.Gap.From
		}
		p.statuses = polledList{kind: pull.Statuses}
	}
	p.gap = stored.Gap != nil
}

func (c *Client) pollBackoff() *backoff.Backoff {
	retry := c.cfg.Push.Gaps.Retry
	return backoff.New(backoff.Policy{Initial: retry.Initial, Max: max(retry.Max, c.cfg.Poll.Interval), StableAfter: time.Nanosecond})
}

// poll reads the lists once and sees to the next time.
func (f *follower) poll() {
	err := errExited // unless it returns
	p := f.polling
	defer func() {
		if err != nil && f.ctx.Err() != nil {
			return
		}
		interval := f.client.cfg.Poll.Interval
		delay := interval + time.Duration((rand.Float64()-0.5)*float64(interval)/5)
		if err != nil {
			delay = askedToWait(err) + p.backoff.Next() // many may have been told the same moment
		} else {
			p.backoff.Up()
		}
		f.mu.Lock()
		if !f.stopped {
			p.timer = time.AfterFunc(delay, func() { f.client.backfills.add(f) })
		}
		f.mu.Unlock()
		f.polled(PollEvent{Owner: f.owner.key, Events: p.events.fresh, Statuses: p.statuses.fresh, Err: err, NextAt: time.Now().Add(delay)})
	}()
	err = f.pollOnce()
}

// askedToWait gives how long the Web API asks to wait, or 0. The token endpoint is
// not asked before its own time anyway, and whoever the handler talks to has no say.
func askedToWait(err error) time.Duration {
	var failed *pull.Error
	if errors.As(err, &failed) && !errors.Is(err, errHandler) {
		return failed.RetryAfter
	}
	return 0
}

func (f *follower) polled(e PollEvent) {
	p := f.polling
	subscription := slog.String("subscription", e.Owner.SubscriptionID.String())
	switch {
	case e.Err != nil && !p.failing:
		f.client.log.LogAttrs(f.ctx, slog.LevelWarn, "an owner's lists cannot be polled, which will be tried again", subscription, slog.Any("error", e.Err), slog.Time("retry_at", e.NextAt))
	case e.Err == nil && p.failing:
		f.client.log.LogAttrs(f.ctx, slog.LevelInfo, "an owner's lists are polled again", subscription)
	default:
		f.client.log.LogAttrs(f.ctx, slog.LevelDebug, "an owner's lists were polled", subscription, slog.Int("events", e.Events), slog.Int("statuses", e.Statuses), slog.Any("error", e.Err))
	}
	p.failing = e.Err != nil
	tell(f.client, func(h HookPoll) { h.OnPoll(e) })
}

func (f *follower) pollOnce() error {
	p := f.polling
	p.events.fresh, p.statuses.fresh = 0, 0
	if f.unread != nil {
		if err := f.load(); err != nil {
			return err
		}
	}
	if p.unsaved { // what the store would not take; else it grows, and after a crash all of it comes again
		if err := f.savePolled(f.ctx); err != nil {
			return err
		}
	}
	var failed error
	for _, l := range []*polledList{&p.events, &p.statuses} {
		err := f.pollList(l)
		if err != nil && !refused(err) {
			return err
		}
		failed = join(failed, err)
	}
	if p.unsaved || p.gap && failed == nil {
		if err := f.savePolled(f.ctx); err != nil {
			return err
		}
	}
	if !p.gap || failed != nil {
		return failed
	}
	err := f.save(f.ctx, func(s *OwnerState) { s.Gap = nil })
	p.gap = err != nil
	return err
}

var errHandler = errors.New("the handler failed")

// refused says that the provider answers, and does not give that list, or not so that
// it can be read, now or later: the other may be well all the same.
func refused(err error) bool {
	var failed *pull.Error
	return errors.As(err, &failed) && failed.HTTPStatus != 0 && !pull.Retryable(err) && !errors.Is(err, pull.ErrUnauthorized) && !errors.Is(err, errHandler)
}

// pollList reads one collection and hands over what is new.
func (f *follower) pollList(l *polledList) error {
	p, dialect := f.polling, f.client.cfg.Provider.Dialect
	baseline := p.newcomer && l.kind == pull.Events && l.from.IsZero()
	l.date = time.Time{}
	if len(l.handed) > 0 || time.Since(l.whole) >= wholeInterval {
		l.version = pull.Version{} // as the list was before that is no longer what the handler knows
	}
	answers := 0
	setBack := false // by the first answer that tells the time, before its items
	query := pull.Query{Version: &l.version, Answered: func(date time.Time) {
		answers++
		if l.date.IsZero() && !date.IsZero() {
			l.date, l.ahead = date, date.Sub(f.clock(time.Now()))
			setBack = f.setBack(l)
		}
	}}
	since := l.since(f.client.cfg.Poll.Margin, dialect)
	bounded := l.kind == pull.Events && dialect.FromParameter != "" && !l.unbounded && !since.IsZero()
	if bounded {
		query.From = since
	}
	began := f.clock(time.Now())
	var read []polledItem
	unread, old := 0, false
	for item, err := range f.owner.pullOnce().Items(f.ctx, l.kind, query) {
		if setBack {
			break
		}
		switch {
		case errors.Is(err, pull.ErrUnchanged):
			return nil
		case errors.Is(err, pull.ErrNotImplemented):
			if baseline { // what comes from now on is new
				l.take(began, nil, true)
				return f.savePolled(f.ctx)
			}
			return nil
		case errors.Is(err, pull.ErrInvalidParameter) && bounded:
			l.unbounded = true
			f.unknownNames(l.kind)
			return f.pollList(l)
		case errors.Is(err, fds.ErrItem):
			unread++
			continue
		case err != nil:
			return err
		case !f.owns(item):
			continue
		}
		at, dated := dialect.Time(item)
		if l.part && dated && at.Before(since) {
			old = true
			continue
		}
		m := f.fetched(delivery.FromPoll, l.kind, item)
		whose, d := stableDigests(m, item, dated, dialect)
		read = append(read, polledItem{d, at, dated})
		if baseline || l.knows(whose, d) {
			continue
		}
		if err := f.giveLong(m, d); err != nil {
			return fmt.Errorf("fdsclient: poll: %w: %w", errHandler, err)
		}
		l.fresh++
		p.unsaved = true
		l.hand(whose, d)
		if time.Since(p.saved) >= positionInterval {
			if err := f.savePolled(f.ctx); err != nil {
				return err
			}
		}
	}
	f.leftOut("poll", l.kind, unread)
	if setBack {
		return f.pollList(l)
	}
	l.whole = time.Now()
	if l.date.IsZero() {
		l.date, l.ahead = began, 0
		if latest(read, began).IsZero() {
			l.date = time.Unix(0, 0) // a clock that is far behind ours hides nothing
		}
	}
	if len(l.handed) == 0 && !l.from.IsZero() {
		return nil // the same URL again
	}
	part := bounded || old
	if part && answers > 1 && !l.again {
		// Pages shift when an item goes while they are read, and what is between two of
		// them then is not asked for any more once this read is taken.
		l.again = true
		defer func() { l.again = false }()
		return f.pollList(l)
	}
	if err := l.complete(read, part, f.client.cfg.Poll.Margin, dialect); err != nil {
		l.version = pull.Version{}
		return err
	}
	if l.kind == pull.Events {
		f.mu.Lock()
		f.ahead = l.ahead
		f.mu.Unlock()
	}
	return f.savePolled(f.ctx)
}

// giveLong gives a message, and lets another owner be read when that takes long.
func (f *follower) giveLong(m delivery.Message, what uint64) error {
	defer f.client.backfills.takesLong()()
	_, err := f.give(f.ctx, m, what)
	return err
}

// setBack says whether the provider's clock was set back since the last read that
// held something new: what it published since then may be dated before that read,
// which is therefore set back too.
func (f *follower) setBack(l *polledList) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	by := f.ahead - l.ahead
	if l.kind != pull.Events || l.from.IsZero() || by <= max(f.client.cfg.Poll.Margin/2, 2*time.Second) { // or the answer was slow
		return false
	}
	f.ahead, l.from = l.ahead, l.from.Add(-by)
	return true
}

// savePolled stores what was handed over.
func (f *follower) savePolled(ctx context.Context) error {
	p := f.polling
	p.saved, p.unsaved = time.Now(), true
	f.mu.Lock()
	f.position = p.events.from // should the provider get a broker
	f.mu.Unlock()
	polled := &Polled{Events: p.events.store(), Statuses: p.statuses.store()}
	err := f.save(ctx, func(s *OwnerState) { s.Polled = polled })
	if err != nil {
		return fmt.Errorf("fdsclient: poll: store what was handed over: %w", err)
	}
	p.unsaved = false
	return nil
}
