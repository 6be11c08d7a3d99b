package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/push"
)

const (
	lastSaveTimeout = 5 * time.Second // for the position at the end of a run
	// quiet is the time within which the next message of a broker's queue arrives
	// once one is acknowledged. Where it takes longer, Gaps.Margin helps.
	quiet = 2 * time.Second
)

// follower keeps what a run must remember of one owner: the filters, the position
// and the open gap. The handler's calls for the owner go through it.
type follower struct {
	client  *Client
	owner   *Owner
	handler delivery.Handler
	began   time.Time       // see clock
	ctx     context.Context // of its backfills; ends with stop
	cancel  context.CancelFunc

	saving  baton      // held over the store's work
	stored  OwnerState // saving: as the store has it, but for the position
	unread  error      // why it is not what the store has
	deleted bool       // saving: never to be stored again
	failing bool       // saving: the last position could not be stored

	turn   baton  // held over the handler's work: one message at a time
	recent recent // turn

	mu       sync.Mutex
	newcomer bool      // never subscribed before: nothing can have been lost
	position time.Time // all that was published before was handled
	reached  time.Time // the position, once the message in hand is acknowledged; or zero
	done     time.Time // when a message was acknowledged last
	changed  bool      // the position waits in the Client's positions, or is being stored
	stopped  bool
	ahead    time.Duration // what the provider's clock is ahead of ours; negative: behind
	overlap  time.Time     // what came before, or with a gap open, is looked for in recent
	gap      gapState

	polling *polling // nil: the broker pushes

	place place // in the Client's backfills, under their mutex
}

// baton is a mutex that a context can give up on, and testing/synctest knows.
type baton chan struct{}

func newBaton() baton { return make(baton, 1) }

func (b baton) lock()   { b <- struct{}{} }
func (b baton) unlock() { <-b }

func (b baton) lockWithin(ctx context.Context) error {
	select {
	case b <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow makes the follower of an owner. h may be nil when only the session is to
// be ended.
func (c *Client) follow(ctx context.Context, o *Owner, h delivery.Handler) *follower {
	state, err := c.state.Load(ctx, o.key)
	if err != nil {
		// Filters of an earlier run that are no longer wanted may go on
		// delivering, and everything is fetched anew; that is no reason to
		// deliver nothing.
		c.log.Warn("an owner's state cannot be read", "subscription", o.key.SubscriptionID.String(), "error", err)
	}
	f := &follower{
		client: c, owner: o, handler: h, began: time.Now(),
		saving: newBaton(), turn: newBaton(),
		unread: err,
	}
	f.restore(state)
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	retry := c.cfg.Push.Gaps.Retry
	f.gap.backoff = backoff.New(backoff.Policy{Initial: retry.Initial, Max: retry.Max, StableAfter: time.Minute})
	return f
}

// restore takes what was stored.
func (f *follower) restore(state OwnerState) {
	f.stored = state
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position, f.ahead = state.Position, state.Ahead
	f.newcomer = f.unread == nil && state.Position.IsZero() && state.Gap == nil && len(state.Filters) == 0 && state.Polled == nil
}

// clock gives a moment of this process by the wall clock of the follower's begin:
// one that is set meanwhile would move the position.
func (f *follower) clock(at time.Time) time.Time { return f.began.Add(at.Sub(f.began)) }

// save changes what is stored, together with the position of this moment.
func (f *follower) save(ctx context.Context, change func(*OwnerState)) error {
	if err := f.saving.lockWithin(ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	if f.deleted {
		return nil
	}
	next := f.stored
	f.mu.Lock()
	next.Position, next.Ahead = f.position, f.ahead
	f.mu.Unlock()
	change(&next)
	if err := f.client.state.Save(ctx, f.owner.key, next); err != nil {
		return err
	}
	f.stored = next
	return nil
}

// saveFilters is push.Config.SaveSubscribed. The position of an owner who was
// never subscribed begins here: before, there was nothing to receive.
func (f *follower) saveFilters(ctx context.Context, filters []string) error {
	f.mu.Lock()
	if f.newcomer && f.position.IsZero() && len(filters) > 0 {
		f.position = f.clock(time.Now())
	}
	f.mu.Unlock()
	return f.save(ctx, func(s *OwnerState) { s.Filters = filters })
}

// live hands one message of the connection to the handler.
func (f *follower) live(ctx context.Context, m delivery.Message) error {
	if err := f.turn.lockWithin(ctx); err != nil {
		return err
	}
	defer f.turn.unlock()
	dialect := f.client.cfg.Provider.Dialect
	item, _ := m.Item() // the zero Item, which has no members, when the payload is none
	d, named := digestsOf(m, item, dialect)
	at, dated := dialect.Time(item)
	f.mu.Lock()
	overlap := f.overlapping(m.ReceivedAt)
	f.mu.Unlock()
	drop := false
	if (overlap || m.Duplicate) && f.recent.holds(d) {
		m.Duplicate = true
		drop = f.client.cfg.Push.Gaps.DropDuplicates && (named || dated)
	}
	if !drop {
		if err := f.handler(ctx, m); err != nil {
			return err
		}
	}
	f.remember(d, overlap)
	if m.QoS == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reached = time.Time{}
	if m.Retained {
		return nil
	}
	// Where the broker has nothing queued it sends at once, so that a message's
	// arrival says when it was published, by the provider's clock as far as that is
	// known now that the handler is done. One that comes right after another was
	// acknowledged may be the next of a long queue, be it that the broker sends only
	// so many ahead (Mosquitto's max_inflight_messages), be it that the handler was
	// at work for hours: only its own date says how new it is.
	arrived := f.clock(m.ReceivedAt).Add(f.ahead)
	if m.ReceivedAt.Sub(f.done) > quiet {
		f.reached = arrived
	}
	if dated && at.Before(arrived) {
		f.reached = at
	}
	return nil
}

// remember notes a message that was handled. f.turn is held.
func (f *follower) remember(d digests, overlap bool) {
	most := recentUsual
	if overlap {
		most = recentMost
	}
	f.recent.add(d, most)
}

// overlapping says whether a backfill may hold a live message too: one is under
// way, or was when it came, however long the handler took for those before it.
// f.mu is held.
func (f *follower) overlapping(received time.Time) bool {
	return f.gap.open != nil && f.client.cfg.Provider.APIURL != "" || received.Before(f.overlap)
}

// acknowledged is push.Config.OnAcknowledged.
func (f *follower) acknowledged(delivery.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = time.Now()
	if !f.reached.After(f.position) {
		return
	}
	f.position = f.reached
	if !f.changed && !f.stopped {
		f.changed = true
		f.client.positions.add(f)
	}
}

// savePosition stores the position, and has it stored again when that failed or
// it has changed meanwhile.
func (f *follower) savePosition() {
	f.mu.Lock()
	stopped, position := f.stopped, f.position
	f.mu.Unlock()
	if stopped {
		return
	}
	saved := f.storePosition(f.ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = !f.stopped && (!saved || f.position.After(position))
	if f.changed {
		f.client.positions.add(f)
	}
}

func (f *follower) storePosition(ctx context.Context) bool {
	err := f.save(ctx, func(*OwnerState) {})
	if ctx.Err() != nil {
		return err == nil
	}
	f.saving.lock()
	first := err != nil && !f.failing
	f.failing = err != nil
	f.saving.unlock()
	if first {
		f.client.log.Warn("an owner's position cannot be stored; after a restart more will be fetched again", "subscription", f.owner.key.SubscriptionID.String(), "error", err)
	}
	return err == nil
}

// stop ends backfills and stores the position at last.
func (f *follower) stop() {
	f.cancel()
	f.client.backfills.remove(f)
	f.mu.Lock()
	f.stopped = true
	if f.gap.retry != nil {
		f.gap.retry.Stop()
	}
	if f.polling != nil && f.polling.timer != nil {
		f.polling.timer.Stop()
	}
	position := f.position
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lastSaveTimeout)
	defer cancel()
	if f.polling != nil {
		if f.polling.unsaved {
			if err := f.savePolled(ctx); err != nil {
				f.client.log.Warn("what was polled cannot be stored; after a restart it comes again", "subscription", f.owner.key.SubscriptionID.String(), "error", err)
			}
		}
		return
	}
	if f.saving.lockWithin(ctx) != nil {
		return
	}
	unsaved := !f.stored.Position.Equal(position)
	f.saving.unlock()
	if unsaved {
		f.storePosition(ctx)
	}
}

// forget is for an owner who signs out: nothing is stored any more, but that the
// broker has a session, unless it was ended.
func (f *follower) forget(ctx context.Context, ended bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSaveTimeout) // ctx may have been used up
	defer cancel()
	if err := f.saving.lockWithin(ctx); err != nil {
		return err
	}
	defer f.saving.unlock()
	f.deleted = true
	if !ended {
		if f.unread != nil && !errors.Is(f.unread, errDamaged) {
			return nil // it may name a session
		}
		if len(f.stored.Filters) > 0 {
			// With its position, else who signs in next would be told of all there ever was.
			f.mu.Lock()
			state := OwnerState{Filters: f.stored.Filters, Position: f.position, Ahead: f.ahead}
			f.mu.Unlock()
			return f.client.state.Save(ctx, f.owner.key, state)
		}
	}
	return f.client.state.Delete(ctx, f.owner.key)
}

// connectionIs is told each phase of the connection. Once an attempt has failed
// that may have subscribed, for all that its lost SUBACK would have said, the next
// one is no newcomer's: the broker may have queued, and dropped or forgotten.
func (f *follower) connectionIs(phase push.Phase) {
	if phase == push.Connecting || phase == push.Connected {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.position.IsZero() {
		f.newcomer = false
	}
}

// subscribed is push.Config.BeforeMessages: it opens a gap, and waits for it to
// be closed, but not too long.
func (f *follower) subscribed(ctx context.Context, s push.Subscribed) error {
	f.mu.Lock()
	newcomer := f.newcomer && !s.SessionPresent // else another process may have subscribed
	f.newcomer = false
	f.mu.Unlock()
	if newcomer {
		return nil
	}
	filled, err := f.openGap(ctx, whyGap(s))
	if err != nil {
		return fmt.Errorf("fdsclient: store what may have been lost of subscription %s: %w", f.owner.key.SubscriptionID, err)
	}
	if filled == nil {
		return nil
	}
	timer := time.NewTimer(f.client.cfg.Push.Gaps.Wait)
	defer timer.Stop()
	select {
	case <-filled:
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		f.client.log.LogAttrs(ctx, slog.LevelWarn, "live messages go on before what was missed is fetched", slog.String("subscription", f.owner.key.SubscriptionID.String()))
	}
	return nil
}
