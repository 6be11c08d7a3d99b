package push

import (
	"container/list"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/internal/handoff"
)

// Budget bounds what the messages that wait for handlers, or are in their hands, take in
// memory, over all connections that share it. When they take more, connections are not
// read from until handlers have caught up; the broker keeps what it would have sent. Each
// owner may always have one message, however large, so that no handler waits for another
// owner's: the whole is at most the budget, one message an owner, and 256 KiB for each that
// is just taking up a session.
type Budget struct {
	most  int64
	calls handoff.Watch // of all who share it

	mu      sync.Mutex
	used    int64
	waiting list.List // of *reservation, in the order they came
	warned  time.Time // when it was logged last that it is used up
}

// NewBudget returns a budget of that many bytes; of less than one, of 64 MiB.
func NewBudget(bytes int) *Budget {
	if bytes < 1 {
		bytes = 64 << 20
	}
	return &Budget{most: int64(bytes)}
}

// account is an owner's part of a budget. The budget's lock guards it.
type account struct {
	budget   *Budget
	messages int           // that it holds
	asked    *list.Element // its reservation in waiting; nil: none
}

// reservation waits for its bytes. An account has one at most: a connection has one reader.
type reservation struct {
	account *account
	bytes   int64
	more    bool          // of the account's last message
	granted chan struct{} // closed
}

// try takes the bytes of a new message, or with more those by which the last one turns out
// to be larger, if there is room.
func (a *account) try(bytes int, more bool) bool {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if !a.alone(more) && (b.waiting.Len() > 0 || b.used+int64(bytes) > b.most) {
		return false
	}
	a.take(int64(bytes), more)
	return true
}

// alone reports whether the owner holds no other message. b.mu is held.
func (a *account) alone(more bool) bool { return a.messages == 0 || more && a.messages == 1 }

// take takes the bytes. b.mu is held.
func (a *account) take(bytes int64, more bool) {
	a.budget.used += bytes
	if !more {
		a.messages++
	}
}

// force takes the bytes whatever there is.
func (a *account) force(bytes int, more bool) {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.take(int64(bytes), more)
}

// reserve takes the bytes when there is room; wait waits for that, and returns false when
// it gives up.
func (a *account) reserve(bytes int, more bool, wait func(granted <-chan struct{}) bool) bool {
	b := a.budget
	r := &reservation{account: a, bytes: int64(bytes), more: more, granted: make(chan struct{})}
	b.mu.Lock()
	a.asked = b.waiting.PushBack(r)
	b.grantWaiting(a)
	b.mu.Unlock()
	granted := false
	defer func() { // also when what wait calls ends the goroutine
		if !granted {
			a.withdraw(r)
		}
	}()
	granted = wait(r.granted)
	return granted
}

// withdraw gives up a reservation.
func (a *account) withdraw(r *reservation) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.asked == nil { // granted in the last moment
		b.used -= r.bytes
		if !r.more {
			a.messages--
		}
	} else {
		b.waiting.Remove(a.asked)
		a.asked = nil
	}
	b.grantWaiting(nil)
}

// release gives back bytes of a message; with gone, the message too.
func (a *account) release(bytes int, gone bool) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= int64(bytes)
	if gone {
		a.messages--
	}
	b.grantWaiting(a)
}

// grantWaiting grants what has room, first come, first served, but at once what an owner asks for
// who has no other message: changed is whose messages have become fewer. b.mu is held.
func (b *Budget) grantWaiting(changed *account) {
	if changed != nil && changed.asked != nil {
		if r := changed.asked.Value.(*reservation); changed.alone(r.more) {
			b.grant(changed.asked)
		}
	}
	for first := b.waiting.Front(); first != nil && b.used+first.Value.(*reservation).bytes <= b.most; first = b.waiting.Front() {
		b.grant(first)
	}
}

// grant returns a reservation what it asks for. b.mu is held.
func (b *Budget) grant(waiting *list.Element) {
	r := b.waiting.Remove(waiting).(*reservation)
	r.account.asked = nil
	r.account.take(r.bytes, r.more)
	close(r.granted)
}

// mayWarn reports whether it is to be logged that the budget is used up: once a minute, for all
// connections.
func (b *Budget) mayWarn() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.warned) < time.Minute {
		return false
	}
	b.warned = now
	return true
}

// earlySpare is what may be read before the SUBACK without waiting for the budget. Reading
// that waits does not see the SUBACK, without which no message is handed over.
const earlySpare = 256 << 10

// charge brings what the message that is being read takes of the account to that many
// bytes. It waits while the budget is used up; false: the connection has ended.
func (w *wire) charge(bytes int) bool {
	a, more := w.account, w.cost > 0
	if a == nil {
		return true
	}
	bytes -= w.cost
	switch {
	case bytes <= 0:
		if bytes < 0 {
			a.release(-bytes, false)
		}
	case a.try(bytes, more):
	case w.spared+bytes <= earlySpare && !w.isSettled():
		w.spared += bytes
		a.force(bytes, more)
	case !a.reserve(bytes, more, w.awaitBudget):
		return false
	}
	w.cost += bytes
	return true
}

// awaitBudget pauses reading. Silence says nothing meanwhile; pings go out.
func (w *wire) awaitBudget(granted <-chan struct{}) (ok bool) {
	pause := func(on bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.paused = on
		w.lastReceived.Store(int64(time.Since(w.began)))
	}
	select {
	case <-granted:
		return true
	default:
	}
	w.flush()
	pause(true)
	defer pause(false)
	w.onPause()
	select {
	case <-granted:
		return true
	case <-w.untilEnded():
		return false
	}
}

// refund gives back what the message took that was read and is not kept.
func (w *wire) refund() {
	if w.cost > 0 {
		w.account.release(w.passCost(), true)
	}
}

// passCost returns what the message takes that was read, for whoever keeps it to release.
func (w *wire) passCost() int {
	cost := w.cost
	w.cost = 0
	return cost
}

// release gives back what a message takes that is done with, or that comes again.
func (d *inbound) release() {
	if d.cost > 0 {
		d.account.release(d.cost, true)
		d.cost = 0
	}
}

// isPaused reports whether nobody reads.
func (w *wire) isPaused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paused
}
