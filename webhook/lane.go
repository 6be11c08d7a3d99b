package webhook

import (
	"context"
	"sync"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook/internal/marks"
)

// lanes are the owners of whom something is in hand.
type lanes struct {
	most int // in hand of one

	mu   sync.Mutex
	open map[fds.OwnerKey]*lane
}

// lane is one owner's: its deliveries wait in the order in which they came.
type lane struct {
	turn   chan struct{} // held by the one at work
	inHand int           // guarded by lanes.mu
}

func newLanes(most int) lanes { return lanes{most: most, open: make(map[fds.OwnerKey]*lane)} }

// enter takes a place in the owner's lane, to be left; false: it is full.
func (l *lanes) enter(owner fds.OwnerKey) (in *lane, leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in = l.open[owner]
	switch {
	case in == nil:
		in = &lane{turn: make(chan struct{}, 1)}
		l.open[owner] = in
	case in.inHand >= l.most:
		return nil, nil, false
	}
	in.inHand++
	return in, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if in.inHand--; in.inHand == 0 {
			delete(l.open, owner)
		}
	}, true
}

// begin waits for the lane's turn; end ends it.
func (l *lane) begin(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *lane) end() { <-l.turn }

// rememberedFailures bounds what is known of messages that the handler failed on.
const rememberedFailures = 1 << 13

// failures are how often the handler has failed on messages that senders come again with. The
// oldest half is forgotten when there are too many.
type failures struct {
	mu             sync.Mutex
	recent, before map[marks.Mark]delivery.Failing // without messages
}

func newFailures() failures { return failures{recent: make(map[marks.Mark]delivery.Failing)} }

// of returns what is known of a message; false: nothing.
func (f *failures) of(m marks.Mark) (delivery.Failing, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.recent[m]
	if !ok {
		known, ok = f.before[m]
	}
	return known, ok
}

// note remembers a failure.
func (f *failures) note(m marks.Mark, failing delivery.Failing) {
	failing.Message = delivery.Message{} // which keeps its payload more than once
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.recent) >= rememberedFailures {
		f.before, f.recent = f.recent, make(map[marks.Mark]delivery.Failing)
	}
	f.recent[m] = failing
}

// forget forgets a message that is done with.
func (f *failures) forget(m marks.Mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.recent, m)
	delete(f.before, m)
}
