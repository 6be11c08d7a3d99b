package following

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// pileBytes bounds the payloads of what was fetched and waits to be handed over together; one item
// may always.
const pileBytes = 4 << 20

// looked is what is found of a live message before it is handed over.
type looked struct {
	d       digests
	known   bool // among those seen, so that adding it would say nothing
	drop    bool // it is not to be handed over
	foreign bool // since it names another owner
	at      time.Time
	dated   bool
}

// look looks at a live message, and marks it when it may have been handed over before; batch are
// those before it that are handed over with it.
func (f *Follower) look(m *delivery.Message, batch []digests) (l looked) {
	dialect := f.shared.Dialect
	item, _ := m.Item() // the zero Item, which has no members, when the payload is none
	l.at, l.dated = dialect.Time(item)
	if f.shared.remembers() {
		var named bool
		l.d, named = digestsOf(m, item, dialect)
		f.mu.Lock()
		if l.known = (f.overlapping(m.ReceivedAt) || m.Duplicate) && f.seen.holdsAfter(batch, l.d); l.known {
			m.Duplicate = true
			l.drop = f.shared.DropDuplicates && (named || l.dated)
		}
		f.mu.Unlock()
	}
	if id, named := dialect.Subscription(item); named && id != f.owner.Key.SubscriptionID {
		l.drop, l.foreign = true, true
	}
	return l
}

// had notes a live message that is done with. f.mu is held.
func (f *Follower) had(m *delivery.Message, l *looked) {
	if f.shared.remembers() && !l.known && !l.foreign { // whose ID may be one of this owner's too
		f.seen.add(l.d, f.overlapping(m.ReceivedAt))
		f.seen.unsaved = f.seen.unsaved || !m.Retained // which the Web API's items do not repeat
	}
	f.last = time.Now()
}

// Batching returns how a connection hands over by LiveBatch.
func (f *Follower) Batching() *delivery.Batching {
	return &delivery.Batching{Handler: f.LiveBatch, Most: f.calling.Batch.Most, Wait: f.calling.Batch.Wait}
}

// LiveBatch is Live for several messages: the error is that of a delivery.BatchHandler.
func (f *Follower) LiveBatch(ctx context.Context, batch []delivery.Message) error {
	if err := f.turn.lockWithin(ctx); err != nil {
		return err
	}
	defer f.turn.unlock()
	all := make([]looked, len(batch))
	digests := make([]digests, 0, len(batch))
	handed := make([]delivery.Message, 0, len(batch))
	for i := range batch {
		m := batch[i]
		all[i] = f.look(&m, digests)
		if !all[i].foreign {
			digests = append(digests, all[i].d)
		}
		if !all[i].drop {
			handed = append(handed, m)
		}
	}
	var of delivery.Verdicts // of handed; nil: all are done with
	if len(handed) > 0 {
		if err := f.fenced(); err != nil {
			return err
		}
		err := f.calling.Batch.Handler(ctx, handed)
		var ofEach bool
		if of, ofEach = handoff.VerdictsOf(err); err != nil && !ofEach {
			return err
		} else if err != nil && len(of) < len(handed) {
			of = append(slices.Clone(of), slices.Repeat(delivery.Verdicts{handoff.ErrNoVerdict}, len(handed)-len(of))...)
		}
	}
	verdicts := make(delivery.Verdicts, len(batch))
	undone := make(map[uint64]error)
	for i := range batch {
		switch {
		case of == nil:
		case !all[i].drop:
			if verdicts[i], of = of[0], of[1:]; verdicts[i] != nil && f.shared.remembers() {
				undone[all[i].d.what] = verdicts[i]
			}
		case !all[i].foreign && undone[all[i].d.what] != nil: // left out for one that is not done with
			verdicts[i] = delivery.NotNow(undone[all[i].d.what])
		}
		if all[i].foreign {
			f.foreign(ctx)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range batch {
		if verdicts[i] == nil {
			f.had(&batch[i], &all[i])
		}
	}
	return verdicts
}

// reached notes where a message of a batch takes the position, which has its acknowledgement now.
// f.mu is held.
func (f *Follower) reached(m *delivery.Message) {
	item, _ := m.Item()
	at, dated := f.shared.Dialect.Time(item)
	f.position.handled(m, f.clock(m.ReceivedAt), at, dated)
}

// giveAll is give for several messages: it sets what became of each, and returns an error where some
// are not done with.
func (f *Follower) giveAll(ctx context.Context, items []*handoff.Item) error {
	handling, end := f.handling(ctx)
	defer end()
	hand := f.givesByHand()
	hand.Batch(handling, items, ctx.Done())
	var failed error
	longest := time.Duration(-1)
	done := false
	undone := make(map[uint64]bool)
	for _, it := range items {
		if it.Err == nil {
			done = true
			continue
		}
		undone[it.Known] = true
		if handoff.Fenced(it.Err) {
			failed, longest = it.Err, time.Duration(math.MaxInt64)
		} else if _, after := handoff.Judge(it.Err); after > longest { // no sooner than each of them asks for
			failed, longest = it.Err, after
		}
	}
	if failed != nil { // what failed in a read before, and is not among these, may never be fetched again
		hand.Keep(undone)
	}
	if done {
		f.mu.Lock()
		f.last = time.Now()
		f.mu.Unlock()
	}
	return failed
}

// pile is what was fetched and waits to be handed over together.
type pile[T any] struct {
	items []*handoff.Item
	about []T // each of them
	bytes int
}

// add adds an item, and reports whether no more are to wait.
func (p *pile[T]) add(m *delivery.Message, known uint64, about T, most int) (full bool) {
	p.items = append(p.items, &handoff.Item{Message: m, Known: known})
	p.about = append(p.about, about)
	p.bytes += len(m.Payload)
	return len(p.items) >= most || p.bytes >= pileBytes
}

// take takes all out.
func (p *pile[T]) take() (items []*handoff.Item, about []T) {
	items, about = p.items, p.about
	*p = pile[T]{}
	return items, about
}

// missed is what an attempt knows of an item that a gap may lack.
type missed struct {
	digests
	named, dated bool
}

// handOverPile hands the items that wait to the handler, between two live messages.
func (a *attempt) handOverPile(ctx context.Context) error {
	f := a.follower
	items, about := a.pile.take()
	if len(items) == 0 {
		return nil
	}
	defer f.shared.readers.takesLong()() // the handler may be at work on a live message
	if err := f.turn.lockWithin(ctx); err != nil {
		return err
	}
	defer f.turn.unlock()
	var handed []*handoff.Item
	before := make([]digests, 0, len(items))
	f.mu.Lock()
	for i, it := range items {
		it.Message.Duplicate = f.seen.holdsAfter(before, about[i].digests)
		before = append(before, about[i].digests)
		if !it.Message.Duplicate || !about[i].named && !about[i].dated {
			handed = append(handed, it)
		}
	}
	f.mu.Unlock()
	var failed error
	if len(handed) > 0 {
		f.found()
		failed = f.giveAll(ctx, handed)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	undone := make(map[uint64]bool) // also what was left out for one of these
	for i, it := range items {
		if it.Err != nil {
			undone[about[i].what] = true
		}
		if undone[about[i].what] {
			continue
		}
		f.seen.add(about[i].digests, true)
		f.seen.unsaved = f.seen.unsaved || !it.Message.Duplicate
		// What is done behind one that is not would come again with the next attempt.
		if about[i].named || it.Dead || failed != nil {
			f.gap.hand(about[i].what)
		}
	}
	for _, it := range handed {
		if it.Err == nil {
			a.fetched++
		}
	}
	if failed != nil {
		return fmt.Errorf("fdsclient: backfill: %w: %w", errHandler, failed)
	}
	return nil
}

// handOver hands over an item that is new, or has it wait for others.
func (p *polling) handOver(l *list, m *delivery.Message, whose, d uint64) error {
	batch := p.follower.calling.Batch
	if batch == nil {
		if err := p.give(m, d); err != nil {
			return fmt.Errorf("fdsclient: poll: %w: %w", errHandler, err)
		}
		p.noted(l, []fresh{{whose, d}})
		return p.saveSometimes()
	}
	if p.waiting == nil {
		p.waiting = make(map[uint64]uint64)
	}
	p.waiting[whose] = d
	if p.pile.add(m, d, fresh{whose, d}, batch.Most) {
		return p.handOverPile(l)
	}
	return nil
}

// fresh is an item of a list that is new.
type fresh struct{ whose, digest uint64 }

// knows reports whether the handler has had that, or will have when what waits is handed over.
func (p *polling) knows(l *list, whose, d uint64) bool {
	if last, waits := p.waiting[whose]; waits {
		return last == d
	}
	return l.knows(whose, d)
}

// handOverPile hands over what waits.
func (p *polling) handOverPile(l *list) error {
	items, about := p.pile.take()
	p.waiting = nil
	if len(items) == 0 {
		return nil
	}
	f := p.follower
	failed := func() error {
		defer f.shared.readers.takesLong()()
		if err := f.turn.lockWithin(f.ctx); err != nil {
			for _, it := range items {
				it.Err = err
			}
			return err
		}
		defer f.turn.unlock()
		return f.giveAll(f.ctx, items)
	}()
	var done []fresh
	for i, it := range items {
		if it.Err == nil {
			done = append(done, about[i])
		}
	}
	p.noted(l, done)
	if failed != nil {
		return fmt.Errorf("fdsclient: poll: %w: %w", errHandler, failed)
	}
	return p.saveSometimes()
}

// noted notes what the handler has had.
func (p *polling) noted(l *list, done []fresh) {
	for _, item := range done {
		l.fresh++
		p.unsaved = true
		l.hand(item.whose, item.digest)
	}
}

// saveSometimes stores what was handed over, where the last time is a while ago.
func (p *polling) saveSometimes() error {
	if p.unsaved && time.Since(p.saved) >= positionInterval {
		return p.save(p.follower.ctx)
	}
	return nil
}
