package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
	"github.com/fds-sdk/fds-go/push"
)

// watcher follows the owners of watch, who are connected or polled. While none has
// been heard of yet, it ends the command when waiting cannot help, or when giveUpAfter
// has run out and no error names a time that is still to come; later it ends it only
// when every connection has stopped for good.
type watcher struct {
	end   context.CancelCauseFunc
	tell  func(format string, args ...any)
	log   *slog.Logger
	polls bool // in place of connections

	endsLapsed bool // the connection of an owner whose grant has lapsed

	retrying func(err error, left time.Duration) // told while there is nobody yet; may be nil

	mu     sync.Mutex
	owners map[fds.OwnerKey]condition
	had    atomic.Bool // one has been up
	last   atomic.Bool // one is left, and the command ends with its grant
	gone   sync.Map    // the owners who were signed out, by their keys
	told   bool        // that all are
	timer  *time.Timer
	began  time.Time
	again  time.Time // when retrying was told last
	filled gapsFilled
}

// condition is how an owner's messages come in.
type condition struct {
	up       bool
	stopped  bool // for good
	hopeless bool // until a person has changed something, or another process has ended
	err      error
}

func (w *watcher) begin(owners []fds.OwnerKey, polls bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range owners {
		w.owners[key] = condition{}
	}
	w.polls, w.began = polls, time.Now()
	w.timer = time.AfterFunc(giveUpAfter, w.giveUp)
}

func (w *watcher) stop() { w.timer.Stop() }

// OnConnection is told every change of an owner's connection.
func (w *watcher) OnConnection(key fds.OwnerKey, s push.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	claimed := errors.Is(s.Err, fds.ErrRunning)
	if errors.Is(s.Err, fds.ErrNoOwner) {
		w.gone.Store(key, true)
	} else {
		w.gone.Delete(key)
	}
	w.owners[key] = condition{
		up:       s.Phase == push.Connected,
		stopped:  !claimed && (s.Phase == push.TakenOver && s.RetryAt.IsZero() || s.Phase == push.Stopped),
		hopeless: claimed || s.Phase == push.NeedsCertificate || s.Phase == push.Denied || s.Err != nil && (tlspolicy.IsFault(s.Err) || isLasting(s.Err)),
		err:      ofSubscription(s.Err, key.SubscriptionID),
	}
	signedOut := s.Phase == push.Stopped && errors.Is(s.Err, fds.ErrNoOwner)
	if s.Phase == push.Stopped && s.Err == nil || signedOut && len(w.owners) > 1 { // the command ends, or goes on for others
		delete(w.owners, key)
	}
	switch ended := w.judge(); {
	case ended:
	case claimed && w.had.Load():
		w.log.Warn(claimedRecord, "owner", key, "error", s.Err)
	case signedOut:
		w.log.Warn("an owner is watched no more", "owner", key, "error", s.Err)
	case s.Phase == push.BackingOff:
		w.tryingAgain(s.Err)
	}
}

// OnPoll is told each read of an owner who is polled.
func (w *watcher) OnPoll(e fdsclient.PollEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[e.Owner] = condition{up: e.Err == nil, hopeless: e.Err != nil && !worthRetrying(e.Err), err: ofSubscription(e.Err, e.Owner.SubscriptionID)}
	if !w.judge() && e.Err != nil {
		w.tryingAgain(e.Err)
	}
}

// tryingAgain tells now and then that there is nobody yet; the caller holds the lock.
func (w *watcher) tryingAgain(err error) {
	const now = 5 * time.Second
	if left := giveUpAfter - time.Since(w.began); !w.had.Load() && w.retrying != nil && left > 0 && time.Since(w.again) >= now {
		w.again = time.Now()
		w.retrying(err, left)
	}
}

// heldBack are the records of the log about owners who cannot be connected or polled.
var heldBack = []string{
	"push: not connected", certificateRecord, "an owner's lists cannot be polled, which will be tried again",
	lapsedRecord, "grant not renewed, will be tried again",
}

const (
	lapsedRecord      = "grant lapsed, sign in again"
	certificateRecord = "trouble with a certificate"
	claimedRecord     = "an owner is not watched until another process ends"
)

// tells reports whether what a record of the log says is told all the same: as long as there is
// nobody, and of the last owner, when the command ends; of others, once there is somebody. That an
// owner was signed out is told in the place of what followed.
func (w *watcher) tells(message string, err error) bool {
	if message == certificateRecord && !errors.Is(err, fds.ErrCertificate) { // which is used all the same
		return false
	}
	if taken := new(push.TakenOverError); errors.As(err, &taken) {
		if _, gone := w.gone.Load(taken.Owner); gone { // it was the sign-out that took over
			return true
		}
	}
	return !w.had.Load() && slices.Contains(heldBack, message) || w.last.Load() && message == lapsedRecord
}

// amiss logs what is the matter with the owners who are not up, but for the first of them in the
// order of their IDs, whose error it returns, when that is to be told by the caller. The caller
// holds the lock.
func (w *watcher) amiss(first bool) (err error) {
	keys := slices.SortedFunc(maps.Keys(w.owners), func(a, b fds.OwnerKey) int {
		return strings.Compare(a.SubscriptionID.String(), b.SubscriptionID.String())
	})
	for _, key := range keys {
		switch c := w.owners[key]; {
		case c.up || c.err == nil:
		case first && err == nil:
			err = c.err
		case errors.Is(c.err, fds.ErrRunning):
			w.log.Warn(claimedRecord, "owner", key, "error", c.err)
		default:
			w.log.Warn("an owner is not watched", "owner", key, "error", c.err)
		}
	}
	return err
}

// OnSignInNeeded is told of grants without which nothing can be read. The next read of
// their owners would tell the same, later.
func (w *watcher) OnSignInNeeded(e fdsclient.GrantEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range e.Owners {
		if _, watched := w.owners[key]; watched && w.polls {
			w.owners[key] = condition{hopeless: true, err: ofSubscription(e.Err, key.SubscriptionID)}
		}
	}
	w.judge()
}

// judge looks at all owners, and reports whether it has ended the command; the caller holds
// the lock.
func (w *watcher) judge() (ended bool) {
	up, lost := 0, 0
	for _, c := range w.owners {
		switch {
		case c.up:
			up++
		case c.stopped, !w.had.Load() && c.hopeless:
			lost++
		}
	}
	w.last.Store(len(w.owners) == 1 && w.endsLapsed)
	if up > 0 && !w.had.Swap(true) {
		w.timer.Stop()
		_ = w.amiss(false)
	}
	if all := up == len(w.owners) && up > 0; all != w.told {
		if w.told = all; all {
			w.tell("%s: %s.", pick(w.polls, "Polled", "Connected"), count(up, "owner"))
		}
	}
	ended = lost > 0 && lost == len(w.owners)
	if ended {
		w.end(w.amiss(true))
	}
	return ended
}

func (w *watcher) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.had.Load() {
		return
	}
	if left := w.due(); left > 0 {
		w.timer.Reset(left)
		return
	}
	w.end(w.nobody(giveUpAfter))
}

// silence returns why nobody was up within a time that is over; nil: somebody was.
func (w *watcher) silence(within time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.had.Load() {
		return nil
	}
	return w.nobody(within)
}

// nobody says why nobody was up within a time; the caller holds the lock.
func (w *watcher) nobody(within time.Duration) error {
	what := pick(w.polls, "nothing could be read", "no connection")
	if err := w.amiss(true); err != nil {
		return fmt.Errorf("%s within %v: %w", what, within, err)
	}
	return fmt.Errorf("%s within %v; the %s does not answer", what, within, pick(w.polls, "Web API", "broker"))
}

// due returns how long to wait for an owner about whom the provider is asked again at a
// time that it is worth waiting for; the caller holds the lock.
func (w *watcher) due() (left time.Duration) {
	for _, c := range w.owners {
		if next := due(nil); errors.As(c.err, &next) {
			wait := next.RetryAfter() + giveUpAfter/3
			if time.Since(w.began)+wait <= dueWithin {
				left = max(left, wait)
			}
		}
	}
	return left
}
