package push

import "time"

// atOnce is how soon the next messages come of a broker that waited for acknowledgements alone, at
// least.
const atOnce = 100 * time.Millisecond

// window is how many unacknowledged messages a broker sends ahead that sends fewer than it may, by a
// setting of its own. A batch that ended since no more came, all of which was acknowledged, and
// which more followed at once, tells; twice in a row it is believed, until there are more.
type window struct {
	learnt int // 0: not known
	asked  int // messages of the batch at work that ended since no more came; 0: it did not
	before int // and of the one before which more followed at once

	acknowledgedAt time.Time // when all of asked was; zero: it was not yet
}

// taken notes a batch, with how many messages are unacknowledged. Idle: since no more came.
func (w *window) taken(unacked int, idle bool) {
	w.asked, w.acknowledgedAt = 0, time.Time{}
	if idle {
		w.asked = unacked
	}
}

// acknowledged notes how many messages are unacknowledged once those are told that are about to be.
func (w *window) acknowledged(unacked int) {
	if unacked == 0 && w.asked > 0 {
		w.acknowledgedAt = time.Now()
	}
}

// came notes that there are so many unacknowledged messages now.
func (w *window) came(unacked int, wait time.Duration) {
	switch {
	case w.learnt > 0 && unacked > w.learnt:
		*w = window{}
	case w.acknowledgedAt.IsZero():
	case time.Since(w.acknowledgedAt) > max(wait, atOnce):
		*w = window{learnt: w.learnt}
	default:
		if w.asked == w.before {
			w.learnt = w.asked
		}
		w.before = w.asked
		w.asked, w.acknowledgedAt = 0, time.Time{}
	}
}
