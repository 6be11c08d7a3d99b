package push_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// tally counts how often each message was done with, and lets a test wait for it.
type tally struct {
	mu      sync.Mutex
	done    map[string]int
	changed chan struct{}
}

func newTally() *tally { return &tally{done: make(map[string]int), changed: make(chan struct{})} }

// add counts those of a batch that a verdict is nil of.
func (t *tally) add(batch []delivery.Message, v delivery.Verdicts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, m := range batch {
		if v == nil || v[i] == nil {
			t.done[string(m.Payload)]++
		}
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait waits until n messages are done with.
func (c *tally) wait(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(testTimeout)
	for {
		c.mu.Lock()
		done, changed := len(c.done), c.changed
		c.mu.Unlock()
		if done >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d messages are done with, want %d", done, n)
		}
	}
}

// twice returns the messages that were done with more than once.
func (c *tally) twice() (texts []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, n := range c.done {
		if n > 1 {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

// Brokers differ in how many messages they send ahead, whatever the receive maximum is: the window of
// those that send fewer is learnt, so that not each batch waits.
func TestBatchesDoNotWaitOnAnyBroker(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) broker{
		"fdstest":   box,
		"mosquitto": mosquitto, // with its max_inflight_messages of 20
		"mochi":     func(t *testing.T) broker { return small(realtest.Mochi(t)) },
		"ejabberd":  func(t *testing.T) broker { return small(realtest.Ejabberd(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			owner, root := newOwner()
			cfg := b.config(owner, root)
			const wait, messages = 2 * time.Second, 400
			var mu sync.Mutex
			var sizes []int
			all := newTally()
			published := make(chan struct{})
			r := startBatches(t, cfg, &delivery.Batching{Most: 100, Wait: wait, Handler: func(_ context.Context, batch []delivery.Message) error {
				<-published
				mu.Lock()
				sizes = append(sizes, len(batch))
				mu.Unlock()
				all.add(batch, nil)
				return nil
			}})
			r.waitPhase(push.Connected)
			for i := range messages {
				b.mustPublish(t, root, "events", fmt.Sprint(i))
			}
			close(published)
			began := time.Now()
			all.wait(t, messages)
			took := time.Since(began)
			r.stop()
			if took > 4*wait || all.twice() != nil {
				t.Errorf("took %v in batches of %v; twice: %v", took, sizes, all.twice())
			}
			t.Logf("%v in batches of %v", took, sizes)
		})
	}
}

func TestWhatIsDoneIsDoneOnceOverARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		owner, root := newOwner()
		cfg := b.config(owner, root)
		const messages = 15
		all := newTally()
		release := make(chan struct{})
		r := startBatches(t, cfg, &delivery.Batching{Most: 10, Handler: func(_ context.Context, batch []delivery.Message) error {
			v := make(delivery.Verdicts, len(batch))
			for i, m := range batch {
				select {
				case <-release:
				default:
					if string(m.Payload) == "0" {
						v[i] = errNotNow
					}
				}
			}
			all.add(batch, v)
			return v
		}})
		r.waitPhase(push.Connected)
		for i := range messages {
			b.mustPublish(t, root, "events", fmt.Sprint(i))
		}
		all.wait(t, messages-1)
		b.restart()
		r.waitState(func(s push.State) bool { return s.Connects == 2 })
		close(release)
		all.wait(t, messages)
		b.mustPublish(t, root, "events", "last")
		all.wait(t, messages+1)
		if twice := all.twice(); twice != nil {
			t.Errorf("done with twice: %v", twice)
		}
		r.stop()
	})
}

// The broker counts acknowledgements: there are never more than messages that are done with.
func TestNothingIsAcknowledgedBeforeItIsDone(t *testing.T) {
	t.Parallel()
	p, o, cfg := boxed(t)
	cfg.HandlerBackoff = push.Backoff{Initial: time.Millisecond, Max: 5 * time.Millisecond}
	const messages = 500
	all := newTally()
	calls, early := 0, 0
	done := func() int {
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.done)
	}
	r := startBatches(t, cfg, &delivery.Batching{Most: 50, Wait: 5 * time.Millisecond, Handler: func(_ context.Context, batch []delivery.Message) error {
		before := done()
		if p.Subscriber(o).Acknowledged > before {
			early++
		}
		calls++
		v := make(delivery.Verdicts, len(batch))
		for i := range batch {
			if (i+calls)%7 == 0 {
				v[i] = errNotNow
			}
		}
		if calls%5 == 0 {
			return errNotNow // and nothing is done
		}
		all.add(batch, v)
		return v
	}})
	r.waitPhase(push.Connected)
	for i := range messages {
		if err := p.Publish(t.Context(), o, []string{"events"}, fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	all.wait(t, messages)
	r.stop()
	s := p.Subscriber(o)
	if early > 0 || s.Acknowledged != messages || s.UnknownAcks != 0 || all.twice() != nil {
		t.Errorf("%d times too early; %+v; twice: %v", early, s, all.twice())
	}
}

// Whatever fails, and however often the connection is lost, each message is done with once as long as
// the broker keeps the session and no acknowledgement is lost on its way.
func TestEachMessageIsDoneOnceOverManyConnections(t *testing.T) {
	t.Parallel()
	p, o, cfg := boxed(t)
	cfg.Backoff = push.Backoff{Initial: time.Millisecond, Max: 5 * time.Millisecond, Slow: 5 * time.Millisecond}
	cfg.HandlerBackoff = push.Backoff{Initial: time.Millisecond, Max: 5 * time.Millisecond}
	const messages = 1000
	all := newTally()
	calls := 0
	var told atomic.Int64
	cfg.OnAcknowledged = func(delivery.Message) { told.Add(1) }
	until := func(is func() bool) {
		for deadline := time.Now().Add(testTimeout); !is(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Error("it never comes")
				return
			}
		}
	}
	var r *running
	started := make(chan struct{})
	r = startBatches(t, cfg, &delivery.Batching{Most: 50, Wait: 2 * time.Millisecond, Handler: func(_ context.Context, batch []delivery.Message) error {
		calls++
		<-started
		if calls%3 == 0 {
			until(func() bool { return p.Subscriber(o).Acknowledged == int(told.Load()) })
			before := r.State()
			if p.Inject(fdstest.DropConnections(o)); before.Phase == push.Connected {
				until(func() bool { s := r.State(); return s.Phase != push.Connected || s.Connects > before.Connects })
			}
		}
		if calls%5 == 0 {
			return errNotNow
		}
		v := make(delivery.Verdicts, len(batch))
		for i := range batch {
			if rand.N(20) == 0 {
				v[i] = errNotNow
			}
		}
		all.add(batch, v)
		return v
	}})
	close(started)
	r.waitPhase(push.Connected)
	for i := range messages {
		if err := p.Publish(t.Context(), o, []string{"events"}, fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	all.wait(t, messages)
	until(func() bool { return p.Subscriber(o).Acknowledged == messages })
	r.stop()
	if s := p.Subscriber(o); s.Acknowledged != messages || all.twice() != nil {
		t.Errorf("%d calls, %+v; twice: %v", calls, s, all.twice())
	}
	t.Logf("%d calls, %d connections", calls, p.Subscriber(o).Connects)
}
