package following

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// position is up to where an owner's messages were handled. The follower's mu guards it.
type position struct {
	newcomer bool          // never subscribed before: nothing can have been lost
	at       time.Time     // all that was published before was handled; by the provider's clock as far as that is known
	reached  time.Time     // what at will be, once the message in hand is acknowledged; or zero
	done     time.Time     // when a message was acknowledged last, or a queue may have begun
	changed  bool          // it waits in the Client's positions, or is being stored
	ahead    time.Duration // what the provider's clock is ahead of ours; negative: behind
}

// handled takes a message that the handler is done with, and which is to be acknowledged.
// Where the broker has nothing queued it sends at once, so that a message's arrival says
// when it was published, by the provider's clock as far as that is known now that the
// handler is done. One that comes right after another was acknowledged may be the next of a
// long queue, be it that the broker sends only so many ahead (Mosquitto's
// max_inflight_messages), be it that the handler was at work for hours: only its own date
// says how new it is.
func (p *position) handled(m *delivery.Message, received, at time.Time, dated bool) {
	p.reached = time.Time{}
	if m.Retained {
		return
	}
	arrived := received.Add(p.ahead)
	if m.ReceivedAt.Sub(p.done) > quiet {
		p.reached = arrived
	}
	if dated && at.Before(arrived) {
		p.reached = at
	}
}

// queueBegins notes that the broker may send now what it has queued.
func (p *position) queueBegins() { p.done = time.Now() }

// acknowledged takes the acknowledgement of what handled took, and reports whether the
// position has changed.
func (p *position) acknowledged() bool {
	p.done = time.Now()
	if !p.reached.After(p.at) {
		return false
	}
	p.at = p.reached
	return true
}

// mayHaveSubscribed notes that an attempt has failed after it may have.
func (p *position) mayHaveSubscribed() {
	if !p.at.IsZero() {
		p.newcomer = false
	}
}

// learn takes what the provider's clock is ahead now, and sets the position back when the
// clock was.
func (p *position) learn(ahead, setBack time.Duration) {
	p.ahead = ahead
	p.at = earlier(p.at, setBack)
	p.reached = earlier(p.reached, setBack)
}

// earlier sets a time back, if there is one.
func earlier(t time.Time, by time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-by)
}

const (
	positionInterval = time.Second            // from a position's change to its store, at least
	positionBatch    = 100 * time.Millisecond // what is due within it is stored together
	positionsDue     = 256                    // at most, in a batch
	positionSaves    = 64                     // at most, at once
	positionSlow     = time.Millisecond       // a save that takes longer has others made beside it
)

// positions stores the changed positions of a Client's owners, with one timer for all: at
// ten thousand owners nearly each message changes another one's. Where more change than
// positionsDue in each positionBatch, they wait: after an outage of the broker all change at
// the moment in which there is most to do, and an old position is a lower bound too. Each owner
// waits once, whatever comes meanwhile, so that ten thousand wait 4 seconds more, unless the store
// is slower.
type positions struct {
	mu      sync.Mutex
	waiting []changedPosition // the oldest first
	due     []*Follower
	savers  int
	slow    bool // the last save was; where none is, one goroutine is enough, and wakes no processor
	armed   bool
}

type changedPosition struct {
	of    *Follower
	since time.Time
}

// add has f's position stored after positionInterval. f must not be in here already.
func (p *positions) add(f *Follower) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, changedPosition{f, time.Now()})
	if !p.armed {
		p.armed = true
		time.AfterFunc(positionInterval, p.tick)
	}
}

// tick has what is due stored, as far as the store is done with what was due before.
func (p *positions) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	n := 0
	for n < len(p.waiting) && len(p.due) < positionsDue && now.Sub(p.waiting[n].since) >= positionInterval {
		p.due = append(p.due, p.waiting[n].of)
		p.waiting[n].of = nil
		n++
	}
	p.waiting = p.waiting[n:]
	p.slow = p.slow || p.savers > 0 // those of the batch before are still at it
	switch p.armed = len(p.waiting)+len(p.due) > 0; {
	case len(p.due) > 0:
		time.AfterFunc(positionBatch, p.tick)
	case p.armed:
		time.AfterFunc(max(p.waiting[0].since.Add(positionInterval).Sub(now), positionBatch), p.tick)
	}
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
	p.staff()
}

// staff has as many store what is due as that needs. p.mu is held.
func (p *positions) staff() {
	most := positionSaves
	if !p.slow {
		most = 1
	}
	for range min(len(p.due), most-p.savers) {
		p.savers++
		go p.work()
	}
}

// work stores what is due.
func (p *positions) work() {
	for {
		p.mu.Lock()
		if len(p.due) == 0 {
			p.due = nil
			p.savers--
			p.mu.Unlock()
			return
		}
		f := p.due[0]
		p.due[0] = nil
		p.due = p.due[1:]
		p.mu.Unlock()
		began := time.Now()
		f.savePosition()
		p.mu.Lock()
		if p.slow = time.Since(began) > positionSlow; p.slow {
			p.staff()
		}
		p.mu.Unlock()
	}
}

// savePosition stores the position, and has it stored again when that failed or it has
// changed meanwhile.
func (f *Follower) savePosition() {
	f.mu.Lock()
	stopped, at := f.stopped, f.position.at
	f.mu.Unlock()
	if stopped {
		return
	}
	saved := f.storePosition(f.ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position.changed = !f.stopped && (!saved || f.position.at.After(at) || f.seen.unsaved)
	if f.position.changed {
		f.shared.positions.add(f)
	}
}

// storePosition reports whether the position is stored now. The first failure in a row is
// told.
func (f *Follower) storePosition(ctx context.Context) bool {
	err := f.save(ctx, nil)
	if ctx.Err() != nil {
		return err == nil
	}
	f.saving.lock()
	first := err != nil && !f.unsaved && !handoff.Fenced(err)
	f.unsaved = err != nil
	f.saving.unlock()
	if first {
		f.shared.Log.LogAttrs(ctx, slog.LevelWarn, "an owner's position cannot be stored; after a restart more will be fetched again", ownerAttr(f.owner.Key), slog.Any("error", err))
	}
	return err == nil
}

const lastSaveTimeout = 5 * time.Second // for what is stored at the end of a run

// storeAtLast stores the position at the end of a run, and what the handler had last, where
// that has changed.
func (f *Follower) storeAtLast(ctx context.Context) {
	f.mu.Lock()
	at, unsaved := f.position.at, f.seen.unsaved
	f.mu.Unlock()
	if f.saving.lockWithin(ctx) != nil {
		return
	}
	unsaved = unsaved || !f.stored.Position.Equal(at)
	f.saving.unlock()
	if unsaved {
		f.storePosition(ctx)
	}
}
