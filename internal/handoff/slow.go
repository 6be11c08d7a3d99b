package handoff

import (
	"log/slog"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
)

// releaseAfter is how long a goroutine that has something else to do, the reader of a
// connection, spends with the handler. The timer that is set for it before each call wakes
// the network poller, which is another thread, when nothing else is due earlier: a shorter
// time costs latency. A longer one would come near to the half of a keep-alive of one
// second.
const releaseAfter = 200 * time.Millisecond

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
	if h.timer != nil {
		h.timer.Stop()
	}
}

// watch has a call noticed that takes long, and a goroutine that is long away from what
// else it has to do; with nil, the call has ended. One timer serves all calls.
func (h *Hand) watch(began time.Time, m *delivery.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began, h.message = began, m
	after := h.settings.SlowAfter
	switch {
	case m == nil && h.release == nil:
		h.timer.Stop()
		return
	case m == nil: // the goroutine has yet to acknowledge
		return
	case h.release != nil:
		after = min(after, releaseAfter)
	}
	if h.timer != nil {
		h.timer.Reset(after)
	} else {
		h.timer = time.AfterFunc(after, h.notice)
	}
}

func (h *Hand) notice() {
	h.mu.Lock()
	took, m := time.Since(h.began), h.message
	if m != nil {
		if left := h.settings.SlowAfter - took; left > 0 {
			h.timer.Reset(left)
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
