package handoff

import (
	"log/slog"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
)

// releaseAfter is how long a goroutine that has something else to do, the reader of a
// connection, spends with the handler. A longer time would come near to the half of a
// keep-alive of one second.
const releaseAfter = 200 * time.Millisecond

// Watch notices calls that take long, for all hands that share it. It has one timer, which is set
// where none is: to set and to stop one for each call wakes the network poller, another thread,
// each time, which is more than most handlers do.
type Watch struct {
	mu    sync.Mutex
	looks map[*Hand]time.Time // when a hand is to notice what is at work
	timer *time.Timer
	at    time.Time // when it is due; zero: it is not set
}

// look has the hand called then, unless it is forgotten before.
func (w *Watch) look(h *Hand, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looks == nil {
		w.looks = make(map[*Hand]time.Time)
	}
	w.looks[h] = at
	w.set(at)
}

func (w *Watch) forget(h *Hand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.looks, h)
}

// set sets the timer, unless it is due before. w.mu is held.
func (w *Watch) set(at time.Time) {
	switch {
	case !w.at.IsZero() && !at.Before(w.at):
		return
	case w.timer == nil:
		w.timer = time.AfterFunc(time.Until(at), w.tick)
	default:
		w.timer.Reset(time.Until(at))
	}
	w.at = at
}

// tick calls the hands whose time has come, each by itself: what they tell may take long.
func (w *Watch) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var next time.Time
	now := time.Now()
	for h, at := range w.looks {
		switch {
		case !at.After(now):
			delete(w.looks, h)
			go h.notice()
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	if w.at = (time.Time{}); !next.IsZero() {
		w.set(next)
	}
}

// OnRelease says that the goroutine that is about to hand over has something else to do.
// Release, or a call that takes long, has others do it: each calls release at most once.
func (h *Hand) OnRelease(release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.release = release
}

// Release has others do what the goroutine that hands over has to do besides, if there is
// something.
func (h *Hand) Release() {
	h.mu.Lock()
	release := h.release
	h.release = nil
	h.mu.Unlock()
	if release != nil {
		release()
	}
}

// Rest says that nothing is handed over any more for a while.
func (h *Hand) Rest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.release = nil
	h.watch.forget(h)
}

// works has a call noticed that takes long, and a goroutine that is long away from what
// else it has to do; with nil, the call has ended.
func (h *Hand) works(began time.Time, m *delivery.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began, h.message = began, m
	after := h.settings.SlowAfter
	switch {
	case m == nil && h.release == nil:
		h.watch.forget(h)
		return
	case m == nil: // the goroutine has yet to acknowledge
		return
	case h.release != nil:
		after = min(after, releaseAfter)
	}
	h.watch.look(h, began.Add(after))
}

func (h *Hand) notice() {
	h.mu.Lock()
	took, m := time.Since(h.began), h.message
	if m != nil {
		if left := h.settings.SlowAfter - took; left > 0 {
			h.watch.look(h, h.began.Add(h.settings.SlowAfter))
			m = nil
		}
	}
	h.mu.Unlock()
	h.Release()
	if m == nil {
		return
	}
	h.settings.Logger.Warn("the handler takes long; later messages of this owner wait", slog.Any("message", *m), slog.Duration("so_far", took))
	if h.settings.Slow != nil {
		h.settings.Slow(*m, took)
	}
}
