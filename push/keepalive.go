package push

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/fds-sdk/fds-go/fds"
)

// longestGrid bounds how much earlier than planned a timer may fire; see aligned.
const longestGrid = 100 * time.Millisecond

// keepAlive begins to watch the connection. A ping goes out when nothing was
// sent or nothing received for six to seven eighths of the interval, and must be
// followed by any packet within about half of it: a dead connection is found
// within one and a half. Each connection draws its own time, since thousands that
// connected together would else ping together, for good, and hold up the messages
// that come meanwhile. One timer does it, so an idle connection costs no goroutine.
func (w *wire) keepAlive(interval time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return
	}
	w.pingIdle, w.pingAnswer, w.pingGrid = interval*7/8-rand.N(interval/8), interval/2, min(interval/16, longestGrid)
	w.pingTimer = time.AfterFunc(aligned(w.pingIdle, w.pingGrid), w.watch)
}

// aligned shortens a delay, by less than grid, so that it ends on a multiple of
// that: of the timers of thousands of connections several then fire together, and an
// idle process wakes for them at once instead of for each.
func aligned(delay, grid time.Duration) time.Duration {
	if grid <= 0 {
		return delay
	}
	return max(delay-time.Duration(time.Now().Add(delay).UnixNano()%int64(grid)), 0)
}

func (w *wire) watch() {
	w.mu.Lock()
	if w.cause != nil {
		w.mu.Unlock()
		return
	}
	now := time.Since(w.began)
	sent, received := time.Duration(w.lastSent.Load()), time.Duration(w.lastReceived.Load())
	if w.paused {
		received = now // nobody reads: silence says nothing
	}
	if received >= w.pingAt {
		w.pingAt = 0
	}
	ping := false
	switch answer, idle := w.pingAt+w.pingAnswer, min(sent, received)+w.pingIdle; {
	case w.pingAt != 0 && now > answer-w.pingGrid:
		w.mu.Unlock()
		w.fail(&lostError{fmt.Errorf("%w: nothing came for %v", fds.ErrUnresponsive, (now - received).Round(time.Millisecond))})
		return
	case w.pingAt != 0:
		w.pingTimer.Reset(aligned(answer-now, w.pingGrid))
	case now <= idle-w.pingGrid:
		w.pingTimer.Reset(aligned(idle-now, w.pingGrid))
	default:
		ping = true
		w.pingAt = now
		w.pingTimer.Reset(aligned(w.pingAnswer, w.pingGrid)) // before the write, which may block
	}
	w.mu.Unlock()
	if ping {
		_ = w.write(&packets.Pingreq{}) // an error has ended the connection
	}
}
