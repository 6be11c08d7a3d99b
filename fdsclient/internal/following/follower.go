package following

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/push"
)

// quiet is the time within which the next message of a broker's queue arrives once one is
// acknowledged. Where it takes longer, the margin helps.
const quiet = 2 * time.Second

// handlerGrace is what a handler at work has when the run ends.
const handlerGrace = 10 * time.Second

// Follower keeps what a run must remember of one owner. The handler's calls for the owner
// go through it, one at a time: those for live messages come by Live, from whoever repeats
// them when they fail, and those for what is fetched by hand.
type Follower struct {
	shared    *Followers
	owner     Owner
	calling   *handoff.Settings // nil: nothing is handed over
	selection *selection        // by the owner's topics
	began     time.Time         // see clock
	ctx       context.Context   // of what is fetched; ends with Stop
	cancel    context.CancelFunc

	saving baton // held over the store's work, it guards what is stored
	storedState

	turn *turn // the owner's, held over the handler's work
	slot slot  // among the readers

	mu          sync.Mutex // guards what follows
	stopped     bool
	toldForeign bool          // that a message named another owner
	seen        seen          // what the handler had last
	last        time.Time     // when a message was handled
	hand        *handoff.Hand // for what is fetched; nil: nothing was yet
	position    position
	gap         gap
	polling     *polling // nil: the broker pushes
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
	default: // else a context would make a channel for each message
	}
	select {
	case b <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clock returns a moment of this process by the wall clock of the follower's begin: one
// that is set meanwhile would move the position.
func (f *Follower) clock(at time.Time) time.Time { return f.began.Add(at.Sub(f.began)) }

// Live hands one message of the connection to the handler.
func (f *Follower) Live(ctx context.Context, m delivery.Message) error {
	if err := f.turn.lockWithin(ctx); err != nil {
		return err
	}
	defer f.turn.unlock()
	l := f.look(&m, nil)
	if l.foreign {
		f.foreign(ctx)
	}
	if !l.drop {
		if err := f.fenced(); err != nil { // since it was asked before, another may have had the turn
			return err
		}
		if err := f.calling.Handler(ctx, m); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.had(&m, &l)
	if m.QoS > 0 {
		f.position.handled(&m, f.clock(m.ReceivedAt), l.at, l.dated)
	}
	return nil
}

// foreign tells of a message on the owner's topic that names another owner: whose it is
// nobody knows, and so nobody gets it.
func (f *Follower) foreign(ctx context.Context) {
	err := fmt.Errorf("fdsclient: %w: a message on the owner's topic names another one in its member %q; ask the provider, or correct Dialect.SubscriptionMember", fds.ErrOwner, f.shared.Dialect.SubscriptionMember)
	f.mu.Lock()
	first := !f.toldForeign
	f.toldForeign = true
	f.mu.Unlock()
	if first {
		f.shared.Log.LogAttrs(ctx, slog.LevelWarn, "a message was discarded that names another owner", ownerAttr(f.owner.Key), slog.Any("error", err))
	}
	f.shared.Discarded(f.owner.Key, err)
}

// remembers reports whether what the handler had is of use later.
func (a *Followers) remembers() bool { return a.HasAPI && !a.GapsOff || a.DropDuplicates }

// overlapping reports whether a backfill may hold a live message too: one is under way, or
// was when it came, however long the handler took for those before it. f.mu is held.
func (f *Follower) overlapping(received time.Time) bool {
	return f.gap.open != nil && f.shared.HasAPI || received.Before(f.gap.overlap)
}

// Acknowledged is told that the broker has the acknowledgement of the message that Live
// handed over last, or of the next one of those that LiveBatch did.
func (f *Follower) Acknowledged(m delivery.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calling != nil && f.calling.Batch != nil {
		f.reached(&m)
	}
	if moved := f.position.acknowledged(); moved || f.seen.unsaved {
		f.storeSoon()
	}
}

// storeSoon has the position stored, and what the handler had last. f.mu is held.
func (f *Follower) storeSoon() {
	if !f.position.changed && !f.stopped {
		f.position.changed = true
		f.shared.positions.add(f)
	}
}

// give hands over what was fetched: once, within the run, and when that ends a handler at
// work has a while to finish.
func (f *Follower) give(ctx context.Context, m *delivery.Message, known uint64) (dead bool, err error) {
	handling, end := f.handling(ctx)
	defer end()
	dead, err = f.givesByHand().Once(handling, m, known)
	if err == nil {
		f.mu.Lock()
		f.last = time.Now()
		f.mu.Unlock()
	}
	return dead, err
}

// handling returns the context of a handler: once ctx has ended it has a while to finish. End is
// to be called.
func (f *Follower) handling(ctx context.Context) (handling context.Context, end func()) {
	handling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(handlerGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-handling.Done():
		}
	})
	return handling, func() {
		stop()
		cancel()
	}
}

// givesByHand returns the hand that hands over what is fetched.
func (f *Follower) givesByHand() *handoff.Hand {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hand == nil {
		f.hand = handoff.New(f.calling)
	}
	return f.hand
}

// ConnectionIs is told each phase of the connection. Once an attempt has failed that may
// have subscribed, for all that its lost SUBACK would have said, the next one is no
// newcomer's: the broker may have queued, and dropped or forgotten.
func (f *Follower) ConnectionIs(phase push.Phase) {
	if phase == push.Connecting || phase == push.Connected {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position.mayHaveSubscribed()
}

// Stop ends what is fetched and stores the position at last.
func (f *Follower) Stop() {
	f.cancel()
	f.shared.readers.remove(f)
	f.mu.Lock()
	first := !f.stopped
	f.stopped = true
	if f.gap.retry != nil {
		f.gap.retry.Stop()
	}
	p := f.polling
	if p != nil && p.timer != nil {
		p.timer.Stop()
	}
	f.mu.Unlock()
	if first {
		defer f.shared.turns.leave(f.owner.Key, f.turn)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSaveTimeout)
	defer cancel()
	if p != nil {
		p.storeAtLast(ctx)
		return
	}
	f.storeAtLast(ctx)
}

// work is what a reader does for the owner: what the gap or the poll needs now.
func (f *Follower) work() {
	if f.polling != nil {
		f.polling.read()
		return
	}
	f.fill()
}
