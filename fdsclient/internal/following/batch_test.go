package following

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// batches is a handler of several messages that notes the IDs of its calls.
type batches struct {
	do func(ids []string) error // nil: all are done with

	mu    sync.Mutex
	calls []string
}

func (b *batches) handle(_ context.Context, batch []delivery.Message) error {
	var ids []string
	for _, m := range batch {
		item, _ := m.Item()
		id := textMember(item, "message_id")
		if id == "" {
			id = string(m.Payload)
		}
		if m.Duplicate {
			id += "?"
		}
		ids = append(ids, id)
	}
	b.mu.Lock()
	b.calls = append(b.calls, strings.Join(ids, " "))
	do := b.do
	b.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ids)
}

// set changes what the handler does.
func (b *batches) set(do func([]string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do = do
}

// take returns the calls since it was asked last.
func (b *batches) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	b.calls = nil
	return calls
}

func (b *batches) want(t *testing.T, calls ...string) {
	t.Helper()
	if got := b.take(); !slices.Equal(got, calls) {
		t.Errorf("calls %q, want %q", got, calls)
	}
}

// failOn fails on that ID alone, as long as it is to.
func failOn(id string, fails *atomic.Bool) func([]string) error {
	return func(ids []string) error {
		v := make(delivery.Verdicts, len(ids))
		for i := range ids {
			if strings.TrimSuffix(ids[i], "?") == id && fails.Load() {
				v[i] = delivery.RetryAfter(time.Minute, errors.New("not now"))
			}
		}
		return v
	}
}

// followedInBatches is followed for a handler of several messages.
func followedInBatches(t *testing.T, a *fixture, api *webAPI, b *delivery.Batching) *Follower {
	t.Helper()
	id := fds.NewSubscriptionID()
	key := fds.OwnerKey{Issuer: issuer, SubscriptionID: id}
	a.put(t, key, record{Filters: []string{id.Root().String() + "#"}, Position: time.Now()})
	return a.followBatches(t, a.owner(t, id, api.of(key)), b)
}

func live(payloads ...string) (batch []delivery.Message) {
	for _, payload := range payloads {
		batch = append(batch, delivery.Message{Topic: "events", QoS: 1, Source: delivery.FromPush, ReceivedAt: time.Now(), Payload: []byte(payload)})
	}
	return batch
}

func TestABackfillHandsOverBatchesInTheListsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var events []string
		down := false
		h := new(batches)
		f := followedInBatches(t, all, withoutStatuses(&down, &events), &delivery.Batching{Handler: h.handle, Most: 3, Wait: 10 * time.Second})
		defer f.Stop()
		pass(10 * time.Minute)
		for i := range 7 {
			events = append(events, dated(fmt.Sprint(i), time.Now()))
		}
		began := time.Now()
		<-outage(t, f)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it waited %v for more", took)
		}
		h.want(t, "0 1 2", "3 4 5", "6")
	})
}

func TestWhatABackfillHasDoneBehindAnUndoneOneIsNotHandedOverAgain(t *testing.T) {
	for name, item := range map[string]func(string) string{
		"events with an ID": func(id string) string { return dated(id, time.Now()) },
		"with neither":      func(id string) string { return fmt.Sprintf(`{"n":%q}`, id) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := pushing(t, func(c *config) { c.Dialect = byDate })
				var events []string
				down := false
				h := new(batches)
				var fails atomic.Bool
				fails.Store(true)
				bad := item("2")
				if name != "with neither" {
					bad = "2"
				}
				h.set(failOn(bad, &fails))
				f := followedInBatches(t, all, withoutStatuses(&down, &events), &delivery.Batching{Handler: h.handle, Most: 5})
				defer f.Stop()
				pass(10 * time.Minute)
				for i := range 8 {
					events = append(events, item(fmt.Sprint(i)))
				}
				closed := outage(t, f)
				pass(time.Second)
				if s := f.Seen(); s.Failing == nil || s.Failing.Attempts != 1 {
					t.Errorf("%+v", s)
				}
				if calls := h.take(); len(calls) != 1 || len(strings.Fields(calls[0])) != 5 {
					t.Errorf("calls %q", calls)
				}
				fails.Store(false)
				<-closed
				calls := h.take()
				var handed []string
				for _, call := range calls {
					handed = append(handed, strings.Fields(call)...)
				}
				if len(handed) != 4 || strings.TrimSuffix(handed[0], "?") != bad {
					t.Errorf("calls %q", calls)
				}
				if s := f.Seen(); s.Failing != nil {
					t.Errorf("%+v", s.Failing)
				}
			})
		})
	}
}

// A handler that says of the whole that it failed has the one found, in the backfill as elsewhere.
func TestTheOneItemOfABackfillThatFailsGoesToTheDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead []string
		all := pushing(t, func(c *config) {
			c.Dialect = byDate
			c.MaxAttempts = 3
			c.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
				item, _ := m.Item()
				dead = append(dead, textMember(item, "message_id"))
				return nil
			}
		})
		var events []string
		down, done := false, make(map[string]int)
		h := new(batches)
		h.do = func(ids []string) error {
			if slices.ContainsFunc(ids, func(id string) bool { return strings.TrimSuffix(id, "?") == "11" }) {
				return errors.New("not now")
			}
			for _, id := range ids {
				done[strings.TrimSuffix(id, "?")]++
			}
			return nil
		}
		f := followedInBatches(t, all, withoutStatuses(&down, &events), &delivery.Batching{Handler: h.handle, Most: 10})
		defer f.Stop()
		pass(10 * time.Minute)
		for i := range 30 {
			events = append(events, dated(fmt.Sprint(i), time.Now()))
		}
		<-outage(t, f)
		if !slices.Equal(dead, []string{"11"}) || len(done) != 29 {
			t.Errorf("dead letters %v, %d done with", dead, len(done))
		}
		for id, n := range done {
			if n != 1 {
				t.Errorf("%s was done with %d times", id, n)
			}
		}
	})
}

func TestAnItemThatIsTwiceInABatchIsHandedOverOnceAndNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var events []string
		down := false
		var fails atomic.Bool
		fails.Store(true)
		h := &batches{do: failOn("a", &fails)}
		f := followedInBatches(t, all, withoutStatuses(&down, &events), &delivery.Batching{Handler: h.handle, Most: 10})
		defer f.Stop()
		pass(10 * time.Minute)
		a, b := dated("a", time.Now()), dated("b", time.Now())
		events = []string{a, b, a, b}
		closed := outage(t, f)
		pass(time.Second)
		h.want(t, "a b")
		fails.Store(false)
		<-closed
		h.want(t, "a?")
	})
}

func TestWhatALiveBatchRepeatsIsMarkedOrLeftOut(t *testing.T) {
	for _, drop := range []bool{false, true} {
		t.Run(fmt.Sprint(drop), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := pushing(t, func(c *config) { c.Dialect, c.Gaps.DropDuplicates = byDate, drop })
				var events []string
				down := false
				h := new(batches)
				f := followedInBatches(t, all, withoutStatuses(&down, &events), &delivery.Batching{Handler: h.handle})
				defer f.Stop()
				pass(10 * time.Minute)
				events = []string{dated("a", time.Now()), dated("b", time.Now())}
				received := time.Now()
				<-outage(t, f)
				h.want(t, "a b")
				batch := live(events[0], dated("c", time.Now()), events[1], dated("d", time.Now()))
				for i := range batch {
					batch[i].ReceivedAt = received
				}
				again := dated("c", time.Now())
				batch = append(batch, live(again, again)...)
				batch[4].ReceivedAt, batch[5].ReceivedAt = received, received
				h.do = func(ids []string) error {
					v := make(delivery.Verdicts, len(ids))
					v[slices.Index(ids, "d")] = errLost
					if !drop {
						v = v[:len(v)-1] // of the last there is none
					}
					return v
				}
				err := f.LiveBatch(t.Context(), batch)
				var v delivery.Verdicts
				if !errors.As(err, &v) || len(v) != 6 || v[0] != nil || v[1] != nil || v[2] != nil || !errors.Is(v[3], errLost) {
					t.Fatalf("%#v", err)
				}
				if drop {
					h.want(t, "c d")
				} else {
					h.want(t, "a? c b? d c? c?")
					if v[4] != nil || v[5] == nil {
						t.Errorf("%v", v)
					}
				}
			})
		})
	}
}

// The position is up to where all was handled: a batch moves it as its acknowledgements come.
func TestABatchMovesThePositionWithItsAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		down := false
		h := new(batches)
		f := followedInBatches(t, all, withoutStatuses(&down, new([]string)), &delivery.Batching{Handler: h.handle})
		defer f.Stop()
		subscribed(t, f, push.Subscribed{SessionPresent: true})
		began := time.Now()
		pass(time.Hour)
		batch := live(dated("a", began.Add(10*time.Minute)), dated("b", began.Add(20*time.Minute)), dated("c", began.Add(30*time.Minute)))
		if err := f.LiveBatch(t.Context(), batch); err != nil {
			var v delivery.Verdicts
			if !errors.As(err, &v) || slices.ContainsFunc(v, func(err error) bool { return err != nil }) {
				t.Fatal(err)
			}
		}
		at := func() time.Duration {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.position.at.Sub(began)
		}
		if got := at(); got > 9*time.Minute {
			t.Errorf("before any acknowledgement it is at %v", got)
		}
		for i, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute} {
			f.Acknowledged(batch[i])
			if got := at(); got != want {
				t.Errorf("after %d acknowledgements it is at %v, want %v", i+1, got, want)
			}
		}
	})
}

func TestALiveBatchGivesNobodyAMessageThatNamesAnotherOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.NoAPI, c.Dialect = true, fds.Dialect{SubscriptionMember: "subscription_id"} })
		discarded := 0
		all.Discarded = func(fds.OwnerKey, error) { discarded++ }
		h := new(batches)
		f := followedInBatches(t, all, &webAPI{}, &delivery.Batching{Handler: h.handle})
		defer f.Stop()
		foreign := fmt.Sprintf(`{"subscription_id":%q}`, fds.NewSubscriptionID())
		if err := f.LiveBatch(t.Context(), live(foreign, "{}", foreign)); err.Error() != (delivery.Verdicts{}).Error() {
			t.Error(err)
		}
		if err := f.LiveBatch(t.Context(), live(foreign)); err.Error() != (delivery.Verdicts{}).Error() {
			t.Error(err)
		}
		h.want(t, "{}")
		if discarded != 3 {
			t.Errorf("told of %d", discarded)
		}
	})
}

func TestAPollHandsOverBatchesAndRemembersWhatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events, statuses []string
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, "[" + strings.Join(events, ",") + "]"
			}
			return 200, "[" + strings.Join(statuses, ",") + "]"
		}}
		var mu sync.Mutex
		var polled []PollEvent
		all := pushing(t, func(c *config) {
			c.Poll.Interval = time.Minute
			c.OnPoll = func(e PollEvent) {
				mu.Lock()
				defer mu.Unlock()
				polled = append(polled, e)
			}
		})
		h := new(batches)
		id := fds.NewSubscriptionID()
		f := all.followBatches(t, all.owner(t, id, api.of(fds.OwnerKey{Issuer: issuer, SubscriptionID: id})), &delivery.Batching{Handler: h.handle, Most: 3, Wait: 10 * time.Second})
		defer f.Stop()
		f.Poll()
		pass(2 * time.Second)
		h.want(t)
		api.mu.Lock()
		for i := range 8 {
			events = append(events, fmt.Sprintf(`{"message_id":"%d"}`, i))
		}
		events = slices.Insert(events, 1, events[0])
		// Of one device, in this order: the last one is news again.
		statuses = []string{`{"device_id":"d","level":1}`, `{"device_id":"d","level":2}`, `{"device_id":"d","level":1}`}
		api.mu.Unlock()
		var fails atomic.Bool
		fails.Store(true)
		h.set(failOn("1", &fails))
		mu.Lock()
		polled = nil
		mu.Unlock()
		f.ReadNow()
		pass(time.Second)
		h.want(t, "0 1 2")
		mu.Lock()
		if len(polled) != 1 || polled[0].Events != 2 || !errors.Is(polled[0].Err, errHandler) {
			t.Errorf("told %+v", polled)
		}
		mu.Unlock()
		if s := f.Seen(); s.Failing == nil {
			t.Error("nothing fails")
		}
		fails.Store(false)
		f.ReadNow()
		pass(time.Second)
		h.want(t, "1? 3 4", "5 6 7", strings.Join(statuses, " "))
		if s := f.Seen(); s.Failing != nil {
			t.Errorf("%+v", s.Failing)
		}
		f.ReadNow()
		pass(time.Second)
		for _, call := range h.take() {
			if strings.ContainsAny(call, "01234567") && !strings.Contains(call, "device") {
				t.Errorf("again: %q", call)
			}
		}
	})
}

func TestWhatALiveBatchLeavesOutIsDoneWithWhenThatIsWhichItRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect, c.Gaps.DropDuplicates = byDate, true })
		down := false
		h := new(batches)
		f := followedInBatches(t, all, withoutStatuses(&down, new([]string)), &delivery.Batching{Handler: h.handle})
		defer f.Stop()
		one := dated("a", time.Now())
		batch := live(one, one) // by two subscriptions of which the first may be of quality of service 0
		batch[0].QoS, batch[1].Duplicate = 0, true
		h.set(func(ids []string) error { return delivery.Verdicts{errLost} })
		v, _ := f.LiveBatch(t.Context(), batch).(delivery.Verdicts)
		if len(v) != 2 || !errors.Is(v[0], errLost) || !errors.Is(v[1], errLost) {
			t.Fatalf("%#v", v)
		}
		h.set(nil)
		if v, _ := f.LiveBatch(t.Context(), batch).(delivery.Verdicts); len(v) != 2 || v[0] != nil || v[1] != nil {
			t.Fatalf("%#v", v)
		}
		h.want(t, "a", "a")
	})
}

func TestAHandlerMayAskForAnyTime(t *testing.T) {
	asked := askedToWait(fmt.Errorf("%w: %w", errHandler, delivery.RetryAfter(math.MaxInt64, errLost)))
	if delay := asked + time.Hour; delay < 100*365*24*time.Hour {
		t.Errorf("it waits %v", delay)
	}
}

func TestAttackWhatIsNotFetchedAgainIsNotRememberedForItsFailure(t *testing.T) {
	for name, poll := range map[string]bool{"poll": true, "backfill": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reads := 0
				api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
					if kind == pull.Events {
						return 200, "[]"
					}
					reads++ // each time all statuses are others
					var all []string
					for i := range 10 {
						all = append(all, fmt.Sprintf(`{"device_id":"%d","level":%d}`, i, reads))
					}
					return 200, "[" + strings.Join(all, ",") + "]"
				}}
				all := pushing(t, func(c *config) { c.Poll.Interval = time.Minute })
				known := make(map[uint64]bool) // what a hand knows the messages by
				handler := func(_ context.Context, batch []delivery.Message) error {
					for _, m := range batch {
						item, _ := m.Item()
						d, _ := digestsOf(&m, item, all.Dialect)
						_, polled := stableDigests(&m, item, false, all.Dialect)
						known[d.what], known[polled] = true, true
					}
					return delivery.NotNow(errLost)
				}
				f := followedInBatches(t, all, api, &delivery.Batching{Handler: handler})
				defer f.Stop()
				if poll {
					f.Poll()
				} else {
					outage(t, f)
				}
				time.Sleep(5 * time.Hour)
				f.Stop()
				remembered := 0
				for of := range known {
					if _, ok := f.hand.FailingOf(of); ok {
						remembered++
					}
				}
				if reads < 20 || remembered == 0 || remembered > 10 {
					t.Errorf("after %d reads the failures of %d messages are remembered", reads, remembered)
				}
			})
		})
	}
}

// Providers may number each owner's events: one that names another owner says nothing of this
// owner's of the same ID.
func TestAttackAMessageThatNamesAnotherOwnerHidesNoneOfThisOwners(t *testing.T) {
	for name, drop := range map[string]bool{"duplicates are left out": true, "or not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := pushing(t, func(c *config) {
					c.Dialect, c.Gaps.DropDuplicates = byDate, drop
					c.Dialect.SubscriptionMember = "subscription_id"
				})
				all.Discarded = func(fds.OwnerKey, error) {}
				var events []string
				down := false
				h := new(batches)
				f := followedInBatches(t, all, withoutStatuses(&down, &events), &delivery.Batching{Handler: h.handle})
				defer f.Stop()
				time.Sleep(10 * time.Minute)
				of := func(owner fds.SubscriptionID, id string) string {
					return fmt.Sprintf(`{"subscription_id":%q,%s`, owner, strings.TrimPrefix(dated(id, time.Now()), "{"))
				}
				own, other := f.owner.Key.SubscriptionID, fds.NewSubscriptionID()
				batch := live(of(other, "7"), of(own, "7"), of(other, "8"))
				batch[1].Duplicate = true // of another connection, on which nobody had it
				if v, _ := f.LiveBatch(t.Context(), batch).(delivery.Verdicts); len(v) != 3 || v[0] != nil || v[1] != nil || v[2] != nil {
					t.Fatalf("%#v", v)
				}
				if calls := h.take(); len(calls) != 1 || calls[0] != "7?" {
					t.Errorf("pushed: %q", calls)
				}
				events = []string{of(own, "7"), of(own, "8")}
				<-outage(t, f)
				h.want(t, "8")
			})
		})
	}
}

func TestOfItemsThatAreTheSameToTheByteAsManyAreHandedOverAsThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, nil)
		events := []string{`{"n":"same"}`, `{"n":"bad"}`, `{"n":"same"}`, `{"n":"same"}`}
		down := false
		var fails atomic.Bool
		fails.Store(true)
		h := &batches{do: failOn(events[1], &fails)}
		f := followedInBatches(t, all, withoutStatuses(&down, &events), &delivery.Batching{Handler: h.handle, Most: 2})
		defer f.Stop()
		closed := outage(t, f)
		time.Sleep(time.Second)
		fails.Store(false)
		<-closed
		same := 0
		for _, call := range h.take() {
			same += strings.Count(call, "same")
		}
		if same != 3 {
			t.Errorf("of 3 that are the same %d were handed over", same)
		}
	})
}
