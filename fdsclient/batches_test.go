package fdsclient_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

// batchbox is a handler of several messages that keeps what arrives.
type batchbox struct {
	inbox
	fail  func(batch []delivery.Message) error
	calls [][]delivery.Message
}

func (b *batchbox) handle(ctx context.Context, batch []delivery.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, slices.Clone(batch))
	if b.fail != nil {
		if err := b.fail(batch); err != nil {
			return err
		}
	}
	b.messages = append(b.messages, batch...)
	return nil
}

// runBatches is runClient for a handler of several messages.
func runBatches(t *testing.T, client *fdsclient.Client, b *delivery.Batching) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- client.RunWhere(ctx, fdsclient.Selection{Of: func(fds.OwnerKey) fdsclient.Delivery { return fdsclient.Delivery{Batch: b} }})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestARunHandsOverBatches(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	o := p.Owners()[0]
	signIn(t, client, p, o)
	box := &batchbox{fail: func(batch []delivery.Message) error {
		if slices.ContainsFunc(batch, func(m delivery.Message) bool { return m.Owner.SubscriptionID != o.SubscriptionID }) {
			t.Error("a message of somebody else")
		}
		return nil
	}}
	stop := runBatches(t, client, &delivery.Batching{Handler: box.handle, Most: 10, Wait: 100 * time.Millisecond})
	eventually(t, "connected", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 })
	var want []string
	for i := range 25 {
		publish(t, p, o, fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	eventually(t, "all of them in order", func() bool { return box.payloads(o.SubscriptionID) == strings.Join(want, " ") })
	eventually(t, "all acknowledged", func() bool { return p.Subscriber(o).Acknowledged == 25 })
	stop()
	if len(box.calls) > 12 {
		t.Errorf("%d calls", len(box.calls))
	}
}

func TestARunHandsOverBatchesAcrossOwners(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	all := p.Owners()
	signIn(t, client, p, all[0])
	signIn(t, client, p, all[1])
	poisoned := func(m delivery.Message) bool { return string(m.Payload) == `"poison"` }
	box := &batchbox{}
	together := 0
	box.fail = func(batch []delivery.Message) error {
		if batch[0].Owner != batch[len(batch)-1].Owner {
			together++
		}
		if slices.ContainsFunc(batch, poisoned) {
			return fmt.Errorf("not now")
		}
		return nil
	}
	stop := runBatches(t, client, &delivery.Batching{Handler: box.handle, Most: 2, Wait: 10 * time.Second, Across: true})
	eventually(t, "connected", func() bool {
		return len(p.Subscriber(all[0]).Subscriptions) > 0 && len(p.Subscriber(all[1]).Subscriptions) > 0
	})
	publish(t, p, all[0], `1`)
	publish(t, p, all[1], `2`)
	eventually(t, "both", func() bool {
		return box.payloads(all[0].SubscriptionID) == "1" && box.payloads(all[1].SubscriptionID) == "2"
	})
	publish(t, p, all[0], `"poison"`)
	publish(t, p, all[1], `3`)
	eventually(t, "the other owner's though the one fails", func() bool { return box.payloads(all[1].SubscriptionID) == "2 3" })
	eventually(t, "acknowledged", func() bool { return p.Subscriber(all[1]).Acknowledged == 2 })
	if n := p.Subscriber(all[0]).Acknowledged; n != 1 {
		t.Errorf("%d acknowledged of the one whose message fails", n)
	}
	stop()
	if together == 0 || together > 2 {
		t.Errorf("%d calls for both together", together)
	}
}

// Messages of several owners in one call change hands neither on the way in nor, as verdicts, on the
// way back, whatever fails of whose.
func TestAttackABatchAcrossOwnersMixesNobody(t *testing.T) {
	const owners, each = 5, 30
	var spelled []fdstest.Owner
	for range owners {
		spelled = append(spelled, fdstest.Owner{Spelling: fds.NewSubscriptionID().String()})
	}
	p := start(t, fdstest.Options{Devices: -1, Owners: spelled})
	cfg := configure(t, p)
	cfg.Push.HandlerBackoff = push.Backoff{Initial: time.Millisecond, Max: 5 * time.Millisecond}
	client := open(t, cfg)
	all := p.Owners()
	for _, o := range all {
		signIn(t, client, p, o)
	}
	box := &batchbox{}
	several, calls := 0, 0
	done := make(map[fds.SubscriptionID][]string)
	handler := func(_ context.Context, batch []delivery.Message) error {
		box.mu.Lock()
		defer box.mu.Unlock()
		calls++
		v := make(delivery.Verdicts, len(batch))
		for i, m := range batch {
			if !strings.Contains(string(m.Payload), m.Owner.SubscriptionID.String()) {
				t.Errorf("%s is handed over as %s's", m.Payload, m.Owner)
			}
			if m.Owner != batch[0].Owner {
				several++
			}
			if (calls+i)%3 == 0 {
				v[i] = fmt.Errorf("not now")
			}
		}
		if calls%4 == 0 {
			return fmt.Errorf("not now")
		}
		for i, m := range batch {
			if v[i] == nil {
				done[m.Owner.SubscriptionID] = append(done[m.Owner.SubscriptionID], string(m.Payload))
			}
		}
		return v
	}
	stop := runBatches(t, client, &delivery.Batching{Handler: handler, Most: 20, Wait: 5 * time.Millisecond, Across: true})
	for _, o := range all {
		eventually(t, "connected", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 })
	}
	for n := range each {
		for _, o := range all {
			publish(t, p, o, fmt.Sprintf(`{"of":%q,"n":%d}`, o.SubscriptionID, n))
		}
	}
	for _, o := range all {
		eventually(t, "all acknowledged", func() bool { return p.Subscriber(o).Acknowledged == each })
	}
	stop()
	for id, texts := range done {
		slices.Sort(texts)
		if len(texts) != each || len(slices.Compact(texts)) != each {
			t.Errorf("%d of %s are done with", len(texts), id)
		}
	}
	if len(done) != owners || several == 0 {
		t.Errorf("of %d owners, %d messages together with others'", len(done), several)
	}
}

// largest returns how many messages of a source one call had at most.
func (b *batchbox) largest(source delivery.Source) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, call := range b.calls {
		if call[0].Source == source {
			n = max(n, len(call))
		}
	}
	return n
}

func TestARunPollsInBatches(t *testing.T) {
	for _, across := range []bool{false, true} {
		t.Run(fmt.Sprint(across), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				cfg, log := polled(t, p, boxDialect)
				o := p.Owners()[0]
				client := open(t, cfg)
				signIn(t, client, p)
				box := new(batchbox)
				stop := runBatches(t, client, &delivery.Batching{Handler: box.handle, Most: 4, Across: across})
				log.more(t, o, 1)
				e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
				e.publish(9)
				e.arrive(&box.inbox)
				log.more(t, o, 2)
				stop()
				for id, n := range e.times(&box.inbox) {
					if n != 1 {
						t.Errorf("%s was handed over %d times", id, n)
					}
				}
				if n := box.largest(delivery.FromPoll); n != 4 {
					t.Errorf("calls of %d messages at most", n)
				}
			})
		})
	}
}

func TestARunBackfillsInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Provider.Dialect = boxDialect
		o := p.Owners()[0]
		client := open(t, cfg)
		signIn(t, client, p)
		box := new(batchbox)
		batching := &delivery.Batching{Handler: box.handle, Most: 4}
		stop := runBatches(t, client, batching)
		eventually(t, "connected", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 })
		e := &events{t: t, dialect: boxDialect, send: func(item []byte) error { return p.AddEvent(o, item) }}
		e.publish(3)
		e.arrive(&box.inbox)
		time.Sleep(time.Minute)
		stop()
		p.Inject(fdstest.LoseSessions(o))
		e.publish(9)
		runBatches(t, client, batching)
		e.arrive(&box.inbox)
		if n := box.largest(delivery.FromBackfill); n != 4 {
			t.Errorf("calls of %d messages at most", n)
		}
		time.Sleep(10 * time.Minute)
		e.publish(3)
		e.arrive(&box.inbox)
	})
}
