package fdsclient

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// Poll has Run read the owners' events and statuses from the Web API at an
// interval, for a provider without a broker: what is new since the last read goes
// to the same handler, as messages of push.FromPoll, in the order of the lists and
// one at a time per owner. What the handler fails on ends the read and comes again
// with the next one; Push.MaxAttempts and Push.DeadLetter hold. Push.Gaps.Concurrent
// bounds the owners that are read at once, Pull.Limit the requests.
//
// New is what the last read did not hold: an event whose ID, which
// Dialect.MessageID names, or else whose bytes are others; a status whose bytes
// are. Which those are the StateStore remembers, so a restart neither misses nor
// repeats anything; after a crash what was handled since the last save, within a
// second, and what was in hand may come again. At an owner's first read all
// statuses are handed over, and no event: before it, there was nobody to receive
// them. With Dialect.FromParameter events are asked for from the last new one's read
// less Margin; without, the whole collection is read, which costs one HTTP 304 as
// long as nothing has changed and the provider has entity tags.
type Poll struct {
	// Interval is the time from a read to the next one, give or take a tenth, so that
	// owners do not come together. 0: no polling; at least 1 second, at most 30 days.
	Interval time.Duration
	// Margin is how long before the last read an event may be dated that the provider
	// shows only later. Default 5 minutes, at most 30 days.
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

// Polled is what poll mode remembers of an owner.
type Polled struct {
	Events   PolledList `json:"events"`
	Statuses PolledList `json:"statuses"`
}

// PolledList is what was read of one collection.
type PolledList struct {
	From time.Time `json:"from,omitzero"` // the provider's time of the last read that held something new
	// Seen are digests of what was handled, 8 bytes each.
	Seen []byte `json:"seen,omitempty"`
	// Handed are pairs of digests of what was handed over since, in a read that did not
	// come to its end: whose it is, a device's or an event's, and what.
	Handed []byte `json:"handed,omitempty"`
	// Part: Seen lacks what is dated before From, less the margin.
	Part bool `json:"part,omitempty"`
}

const (
	digestBytes = 8
	// Two lists of both fit into a state file.
	maxSeen   = 40_000  // digests of a list
	maxHanded = 1 << 16 // pairs of a list that are stored: after a restart in the middle, what is over that comes again
)

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

// polledList is one collection.
type polledList struct {
	kind      pull.Kind
	from      time.Time
	seen      []uint64 // sorted
	part      bool
	unbounded bool // the provider does not know the parameter
	version   pull.Version
	handed    map[uint64]uint64 // by whose it is: since seen was made, in reads that did not come to their end
	fresh     int               // handed over in this read
	again     bool              // this read is the second of the same
	date      time.Time         // of this read's first answer
	ahead     time.Duration     // of our clock was the provider's then
}

// startPolling has the owner's lists read from now on.
func (f *follower) startPolling() {
	p := &polling{
		newcomer: f.newcomer && f.stored.Polled == nil,
		backoff:  f.client.pollBackoff(),
		events:   polledList{kind: pull.Events},
		statuses: polledList{kind: pull.Statuses},
	}
	stored := f.stored
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
	f.polling = p
	f.client.backfills.add(f)
}

func (c *Client) pollBackoff() *backoff.Backoff {
	retry := c.cfg.Push.Gaps.Retry
	return backoff.New(backoff.Policy{Initial: retry.Initial, Max: max(retry.Max, c.cfg.Poll.Interval), StableAfter: time.Nanosecond})
}

func (l *polledList) load(stored PolledList) {
	l.from, l.part = stored.From, stored.Part
	l.seen = digestsIn(stored.Seen)
	slices.Sort(l.seen)
	handed := digestsIn(stored.Handed)
	for ; len(handed) >= 2; handed = handed[2:] {
		l.hand(handed[0], handed[1])
	}
}

func digestsIn(stored []byte) (all []uint64) {
	for ; len(stored) >= digestBytes; stored = stored[digestBytes:] {
		all = append(all, binary.BigEndian.Uint64(stored))
	}
	return all
}

// store gives what load takes, with what was handed over of a read under way.
func (l *polledList) store() PolledList {
	stored := PolledList{From: l.from, Part: l.part, Seen: make([]byte, 0, digestBytes*len(l.seen))}
	for _, d := range l.seen {
		stored.Seen = binary.BigEndian.AppendUint64(stored.Seen, d)
	}
	for whose, d := range l.handed {
		if len(stored.Handed) == 2*digestBytes*maxHanded {
			break
		}
		stored.Handed = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(stored.Handed, whose), d)
	}
	return stored
}

// hand notes what was handed over.
func (l *polledList) hand(whose, d uint64) {
	if l.handed == nil {
		l.handed = make(map[uint64]uint64)
	}
	l.handed[whose] = d
}

// knows says whether the handler has had that. What came of a device before another
// status of it is new again.
func (l *polledList) knows(whose, d uint64) bool {
	if last, found := l.handed[whose]; found {
		return last == d
	}
	_, found := slices.BinarySearch(l.seen, d)
	return found
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
			delay = max(p.backoff.Next(), askedToWait(err))
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

// askedToWait gives how long the provider asks to wait, or 0.
func askedToWait(err error) time.Duration {
	var failed *pull.Error
	if errors.As(err, &failed) {
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
	tell(f.client.cfg.Hooks, func(h HookPoll) { h.OnPoll(e) })
}

func (f *follower) pollOnce() error {
	p := f.polling
	p.events.fresh, p.statuses.fresh = 0, 0
	for _, l := range []*polledList{&p.events, &p.statuses} {
		if err := f.pollList(l); err != nil {
			return err
		}
	}
	if !p.gap && !p.unsaved {
		return nil
	}
	if err := f.savePolled(f.ctx); err != nil {
		return err
	}
	if !p.gap {
		return nil
	}
	err := f.save(f.ctx, func(s *OwnerState) { s.Gap = nil })
	p.gap = err != nil
	return err
}

// pollList reads one collection and hands over what is new.
func (f *follower) pollList(l *polledList) error {
	p, dialect := f.polling, f.client.cfg.Provider.Dialect
	baseline := p.newcomer && l.kind == pull.Events && l.from.IsZero()
	l.date = time.Time{}
	if len(l.handed) > 0 {
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
				l.date = began
				l.take(nil, true)
				return f.savePolled(f.ctx)
			}
			return nil
		case errors.Is(err, pull.ErrInvalidParameter) && bounded:
			l.unbounded = true
			f.client.log.Warn("the provider does not know the name of Dialect.FromParameter there; the whole collection is read",
				"collection", string(l.kind), "subscription", f.owner.key.SubscriptionID.String())
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
		m := f.fetched(push.FromPoll, l.kind, item)
		whose, d := stableDigests(m, item, dialect)
		read = append(read, polledItem{d, at, dated})
		if baseline || l.knows(whose, d) {
			continue
		}
		if err := f.giveLong(m, d); err != nil {
			return fmt.Errorf("fdsclient: poll: the handler failed: %w", err)
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
	if unread > 0 {
		f.client.log.LogAttrs(f.ctx, slog.LevelWarn, "poll: items that are not FDS objects were left out", slog.String("collection", string(l.kind)), slog.Int("items", unread), slog.String("subscription", f.owner.key.SubscriptionID.String()))
	}
	if setBack {
		return f.pollList(l)
	}
	if l.date.IsZero() {
		l.date, l.ahead = latest(read, began), 0
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
func (f *follower) giveLong(m push.Message, what uint64) error {
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

// polledItem is an item of a read.
type polledItem struct {
	digest uint64
	at     time.Time
	dated  bool
}

// latest gives the time of a read in which the provider did not tell its own: that of
// its last item, so that a clock which is far behind ours hides nothing. What is
// dated past now is not believed.
func latest(read []polledItem, now time.Time) time.Time {
	last := time.Unix(0, 0)
	for _, item := range read {
		if item.dated && item.at.After(last) {
			last = item.at
		}
	}
	if last.After(now) {
		return now
	}
	return last
}

// since gives the time from which items are of interest, as the dialect's layout
// can say it; zero: all are.
func (l *polledList) since(margin time.Duration, dialect fds.Dialect) time.Time {
	if l.from.IsZero() {
		return time.Time{}
	}
	return asWritten(dialect, l.from.Add(-margin))
}

// complete takes a read that came to its end; part: it left out what is old.
func (l *polledList) complete(read []polledItem, part bool, margin time.Duration, dialect fds.Dialect) error {
	next := polledList{from: l.date}
	since := next.since(margin, dialect)
	part = part || l.kind == pull.Events && len(read) > maxSeen
	var seen []uint64
	for _, item := range read {
		if !part || !item.dated || !item.at.Before(since) {
			seen = append(seen, item.digest)
		}
	}
	slices.Sort(seen)
	seen = slices.Compact(seen)
	if len(seen) > maxSeen {
		return fmt.Errorf("fdsclient: poll: %w: the list of %s holds over %d items that may be new; Dialect.FromParameter and TimeMember, or a smaller Poll.Margin, make it shorter", ErrConfig, l.kind, maxSeen)
	}
	l.take(slices.Clip(seen), part)
	return nil
}

func (l *polledList) take(seen []uint64, part bool) {
	l.from, l.part, l.seen, l.handed = l.date, part, seen, nil
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

// stableDigests are what an item is known by, the same in every process, and whose it
// is: the device's whose state it tells, else its own.
func stableDigests(m push.Message, item fds.Item, dialect fds.Dialect) (whose, d uint64) {
	if m.Kind == push.KindEvent {
		if id := textMember(item, dialect.MessageID); id != "" {
			d = stableDigest([]byte("id " + id))
			return d, d
		}
	}
	d = stableDigest(m.Payload)
	if m.Kind == push.KindStatus {
		if id := textMember(item, dialect.DeviceID); id != "" {
			return stableDigest([]byte("device " + id)), d
		}
	}
	return d, d
}

func stableDigest(data []byte) uint64 {
	sum := sha256.Sum256(data)
	return binary.BigEndian.Uint64(sum[:])
}
