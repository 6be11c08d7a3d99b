package following

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// gap is what an outage may have lost. It is opened by an outage, widened by the next ones,
// and closed when all of it was fetched. Live messages wait for that, but not too long;
// before they flow while it is open it is stored. The follower's mu guards it.
type gap struct {
	phase   phase
	open    *Gap          // what may have been lost; nil: nothing, it is steady
	lost    bool          // the broker had not kept the session over one of its outages, or nobody knows
	stored  bool          // the store has one, if perhaps not all that is known of it
	earlier *Gap          // of an earlier process, until the connection opens it, or polling closes it
	number  int           // of outages: an attempt that began before the last one cannot close the gap
	settled chan struct{} // closed when live messages need not wait for it any longer
	retry   *time.Timer
	retries *backoff.Backoff // nil: no attempt has failed
	asked   time.Time        // the handler has asked not to be called again before, whatever outage comes
	overlap time.Time        // what came before is looked for among those seen, after the gap was closed too

	// What the attempts to close it have learnt, of which there is one at a time:

	handed    map[uint64]int     // events handed over, and what went to the dead letters, by how often
	unbounded map[pull.Kind]bool // the provider refuses the names of the parameters there
}

// phase is where an owner stands between outages.
//
//	steady   -> checking  a restart over which the broker kept the session (openGap)
//	any      -> holding   an outage (openGap); or what is checked is found, fails or takes long (found)
//	holding  -> passing   it takes long, or cannot be filled (storeGap)
//	any      -> steady    all was fetched (closeGap)
type phase uint8

const (
	steady   phase = iota // nothing is known to be missing
	checking              // whether anything was lost is looked for, quietly; live messages wait
	holding               // live messages wait for what was lost
	passing               // they go on while it is fetched, which is stored
)

// settle has live messages wait no longer.
func (g *gap) settle() {
	if g.settled != nil {
		close(g.settled)
		g.settled = nil
	}
}

// Subscribed is push.Config.BeforeMessages: it opens a gap where something may have been
// lost, and waits for it to be closed, but not too long.
func (f *Follower) Subscribed(ctx context.Context, s push.Subscribed) error {
	if err := f.saving.lockWithin(ctx); err != nil {
		return err
	}
	found := f.stored.Gap // of an earlier process
	f.saving.unlock()
	f.mu.Lock()
	newcomer := f.position.newcomer && !s.SessionPresent // else another process may have subscribed
	f.position.newcomer = false
	known := f.gap.open != nil || found != nil
	if s.SessionPresent {
		f.position.queueBegins()
	}
	f.mu.Unlock()
	switch {
	case newcomer, f.shared.GapsOff:
		return nil
	case s.SessionPresent && !known && (s.Planned || f.shared.TrustSession):
		return nil
	}
	settled := f.openGap(found, s, s.SessionPresent && s.Last == nil && !known)
	if settled != nil {
		timer := time.NewTimer(f.shared.Wait)
		defer timer.Stop()
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	f.mu.Lock()
	open := f.gap.open != nil
	f.mu.Unlock()
	if !open {
		return nil
	}
	f.found()
	if err := f.storeGap(ctx); err != nil {
		return fmt.Errorf("fdsclient: store what may have been lost of subscription %s: %w", f.owner.Key.SubscriptionID, err)
	}
	if settled != nil {
		f.shared.Log.LogAttrs(ctx, slog.LevelWarn, "live messages go on before what was missed is fetched", ownerAttr(f.owner.Key))
	}
	return nil
}

// openGap opens a gap, or widens the one that is open, and returns a channel that is closed
// when live messages need not wait for it; nil: nothing can be fetched. Found is the one
// that the store has.
func (f *Follower) openGap(found *Gap, s push.Subscribed, check bool) <-chan struct{} {
	now := Gap{Since: time.Now(), Reason: whyGap(s)}
	f.mu.Lock()
	switch open := cmp.Or(f.gap.open, found); {
	case open != nil:
		now.From, now.Since = open.From, open.Since
	case !f.position.at.IsZero():
		now.From = f.position.at.Add(-f.shared.Margin)
	}
	f.gap.phase = holding
	if check && !now.From.IsZero() && f.shared.HasAPI {
		f.gap.phase = checking
	}
	f.gap.lost = f.gap.lost || !s.SessionPresent || found != nil
	f.gap.stored = f.gap.stored || found != nil
	f.gap.open, f.gap.earlier = &now, nil
	f.gap.number++
	if f.gap.settled == nil {
		f.gap.settled = make(chan struct{})
	}
	quiet, kept, settled := f.gap.phase == checking, !f.gap.lost, f.gap.settled
	f.mu.Unlock()
	if !quiet {
		f.shared.Gap(GapEvent{Owner: f.owner.Key, Change: Opened, Gap: now, Kept: kept})
	}
	if !f.shared.HasAPI {
		err := fmt.Errorf("fdsclient: %w: Provider.APIURL is missing, so that what was missed cannot be fetched", fds.ErrConfig)
		f.shared.Gap(GapEvent{Owner: f.owner.Key, Change: Failing, Gap: now, Err: err})
		return nil
	}
	f.shared.readers.add(f)
	return settled
}

// storeGap stores the gap that is open.
func (f *Follower) storeGap(ctx context.Context) error {
	return f.save(ctx, func(r *record) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.gap.open != nil {
			gap := *f.gap.open
			r.Gap, f.gap.stored, f.gap.phase = &gap, true, passing
		}
	})
}

// found makes a gap of what was to be found out: something was lost, or it cannot be told.
func (f *Follower) found() {
	f.mu.Lock()
	found := f.gap.phase == checking
	event := GapEvent{Owner: f.owner.Key, Change: Opened}
	if found {
		f.gap.phase = holding
		event.Gap, event.Kept = *f.gap.open, !f.gap.lost
	}
	f.mu.Unlock()
	if found {
		f.shared.Gap(event)
	}
}

// fill is one attempt to close the gap, if it is still open. A failed one is repeated after
// a while.
func (f *Follower) fill() {
	f.mu.Lock()
	if f.gap.open == nil {
		f.mu.Unlock()
		return
	}
	if left := time.Until(f.gap.asked); left > 0 {
		f.retryIn(left)
		f.mu.Unlock()
		return
	}
	a := &attempt{follower: f, gap: *f.gap.open, number: f.gap.number}
	f.mu.Unlock()
	err := handoff.ErrExited // unless it returns
	defer func() { f.failed(a, err) }()
	if err = a.run(); err == nil {
		err = f.closeGap(a)
	}
}

// failed sees to the next attempt, if one is needed.
func (f *Follower) failed(a *attempt, err error) {
	if err == nil || f.ctx.Err() != nil || handoff.Fenced(err) {
		return
	}
	f.found()
	f.mu.Lock()
	if f.stopped || f.gap.open == nil {
		f.mu.Unlock()
		return
	}
	if a.fetched > 0 || f.gap.retries == nil { // it got further, or is the first
		f.gap.retries = f.shared.retries()
	}
	asked := askedToWait(err)
	if errors.Is(err, errHandler) {
		f.gap.asked = time.Now().Add(asked)
	}
	delay := asked + f.gap.retries.Next()
	f.retryIn(delay)
	if !errors.Is(err, errHandler) && (errors.Is(err, fds.ErrConfig) || errors.Is(err, fds.ErrOwner)) { // the next attempts fare no better
		f.gap.settle()
	}
	event := GapEvent{Owner: f.owner.Key, Change: Failing, Gap: *f.gap.open, Fetched: a.fetched, Err: err}
	if errors.Is(err, errHandler) || !errors.Is(err, fds.ErrConfig) {
		event.RetryAt = time.Now().Add(delay)
	}
	f.mu.Unlock()
	f.shared.Gap(event)
}

// retryIn plans the next attempt, in place of the one that is planned. f.mu is held.
func (f *Follower) retryIn(delay time.Duration) {
	if f.gap.retry != nil { // another outage's
		f.gap.retry.Stop()
	}
	if !f.stopped {
		f.gap.retry = time.AfterFunc(delay, func() { f.shared.readers.add(f) })
	}
}

// closeGap closes the gap, unless another outage came after the attempt began.
func (f *Follower) closeGap(a *attempt) error {
	if err := f.fenced(); err != nil {
		return err
	}
	if err := f.saving.lockWithin(f.ctx); err != nil {
		return err
	}
	event, quiet, settled, err := f.closeLocked(a)
	f.saving.unlock() // what is told now may be asked to sign the owner out
	if err != nil || settled == nil {
		return err
	}
	defer close(settled) // whatever those do who are told
	f.hand.Forget()
	if quiet {
		f.shared.Log.LogAttrs(f.ctx, slog.LevelDebug, "nothing was missed since the last run", ownerAttr(f.owner.Key))
		return nil
	}
	f.shared.Gap(event)
	return nil
}

// closeLocked is closeGap while f.saving is held, so that nobody stores the gap meanwhile.
// Settled is to be closed; nil: the gap was not closed.
func (f *Follower) closeLocked(a *attempt) (event GapEvent, quiet bool, settled chan struct{}, err error) {
	f.mu.Lock()
	if f.gap.number != a.number {
		f.mu.Unlock()
		return event, false, nil, nil
	}
	// What was published after the gap was not fetched, however late this attempt was:
	// that the connection brings it, and the handler takes it, is not said yet.
	reached := a.date
	if to := f.gap.open.To; !to.IsZero() && to.Before(reached) {
		reached = to
	}
	moved := reached.After(f.position.at)
	if moved {
		f.position.at = reached
	}
	event = GapEvent{Owner: f.owner.Key, Change: Closed, Gap: *f.gap.open, Fetched: a.fetched}
	stored := f.gap.stored
	f.mu.Unlock()
	if stored {
		err := f.saveLocked(f.ctx, func(r *record) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.gap.number == a.number {
				r.Gap = nil
			}
		})
		if err != nil {
			return event, false, nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gap.number != a.number { // an outage came while it was stored
		return event, false, nil, nil
	}
	quiet, settled = f.gap.phase == checking, f.gap.settled
	if settled == nil { // nobody waits
		settled = make(chan struct{})
	}
	f.gap = gap{number: f.gap.number, overlap: time.Now().Add(f.shared.Margin)}
	if !stored && (moved || f.seen.unsaved) {
		f.storeSoon()
	}
	return event, quiet, settled, nil
}

// askedToWait returns how long the Web API asks to wait, or the handler, or 0. The token endpoint is
// not asked before its own time anyway, and whoever the handler talks to has no say.
func askedToWait(err error) time.Duration {
	if errors.Is(err, errHandler) {
		_, after := handoff.Judge(err)
		return min(after, math.MaxInt64/2) // which back-offs are added to
	}
	var failed *pull.Error
	if errors.As(err, &failed) {
		return failed.RetryAfter
	}
	return 0
}

const maxWhyBytes = 256

// whyGap words an outage.
func whyGap(s push.Subscribed) string {
	session := "the broker had not kept the session"
	if s.SessionPresent {
		session = "the broker says it had kept the session"
	}
	cause := "first connection of this run"
	if s.Last != nil {
		if cause = s.Last.Error(); len(cause) > maxWhyBytes {
			cause = strings.ToValidUTF8(cause[:maxWhyBytes], "")
		}
	}
	return fmt.Sprintf("%s; %s", cause, session)
}
