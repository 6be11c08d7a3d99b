package fdsclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

var errLease = errors.New("the lease is over")

// lease is a fence: of whom it is closed.
type lease struct{ over sync.Map }

func (l *lease) fence(key fds.OwnerKey) error {
	if _, over := l.over.Load(key.SubscriptionID); over {
		return errLease
	}
	return nil
}

// savedStates counts the saves of states, and is shared by replicas.
type savedStates struct {
	statestore.Memory
	n atomic.Int64
}

func (s *savedStates) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	s.n.Add(1)
	return s.Memory.Save(ctx, key, data, revision)
}

// TestAFenceThatClosesAtWorkHandsTheMessageToTheNextReplica: between hand-over and acknowledgement.
// Nothing of it is acknowledged, saved or handed over here any more, and no other owner is harmed.
func TestAFenceThatClosesAtWorkHandsTheMessageToTheNextReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		states := new(savedStates)
		cfg.State, cfg.Rescan = states, 10*time.Second
		client := open(t, cfg)
		o, other := p.Owners()[0], p.Owners()[1]
		owner := signIn(t, client, p, o)[0]
		signIn(t, client, p, other)
		var l lease
		var got inbox
		working, goOn := make(chan struct{}), make(chan struct{})
		var saves int64
		one, _ := replicate(t, client, func(s *fdsclient.Selection) {
			s.Fence = l.fence
			s.Of = func(key fds.OwnerKey) fdsclient.Delivery {
				if key.SubscriptionID == other.SubscriptionID {
					return fdsclient.Delivery{Handler: ignore}
				}
				return fdsclient.Delivery{Handler: func(ctx context.Context, m delivery.Message) error {
					if string(m.Payload) == "2" {
						close(working)
						<-goOn
					}
					return got.handle(ctx, m)
				}}
			}
		}, o, other)
		eventually(t, "both are connected", func() bool { return p.Subscriber(o).Connected && p.Subscriber(other).Connected })
		for _, text := range []string{"1", "2", "3"} {
			publish(t, p, o, text)
		}
		<-working
		time.Sleep(time.Minute) // the position of the first is saved
		l.over.Store(o.SubscriptionID, true)
		saves = states.n.Load()
		close(goOn)
		why := one.awaitStop(o, 1)
		if !errors.Is(why, fds.ErrFenced) || !errors.Is(why, errLease) || fdsclient.Retryable(why) {
			t.Errorf("it was stopped for %v", why)
		}
		synctest.Wait()
		if all := got.payloads(o.SubscriptionID); all != "1 2" {
			t.Errorf("it had %q", all)
		}
		if n := states.n.Load() - saves; n > 0 {
			t.Errorf("its state was saved %d times", n)
		}
		if s := p.Subscriber(o); s.Connected || !s.Session {
			t.Errorf("the broker has %+v", s)
		}
		if s := owner.Connection(); s.Phase != push.Stopped || !errors.Is(s.Err, fds.ErrFenced) {
			t.Errorf("its state is %+v", s)
		}
		publish(t, p, other, "x")
		eventually(t, "the other owner goes on", func() bool { return p.Subscriber(other).Connected })
		time.Sleep(time.Minute) // it is looked at again, in vain
		if n := p.Subscriber(o).Connects; n != 1 {
			t.Errorf("it connected %d times", n)
		}

		two, stop := replicate(t, open(t, cfg), nil, o)
		eventually(t, "the next replica has what was not acknowledged", func() bool { return two.payloads(o.SubscriptionID) == "2 3" })
		two.choose()
		stop()
		l.over.Delete(o.SubscriptionID)
		publish(t, p, o, "4")
		eventually(t, "the first has it again once the fence is open", func() bool { return got.payloads(o.SubscriptionID) == "1 2 4" })
		if n := len(one.stopsOf(o)); n != 1 {
			t.Errorf("it was stopped %d times", n)
		}
	})
}

// TestAFenceHoldsForWhatIsFetched, of a gap or by polling: nothing more is handed over, nor saved.
func TestAFenceHoldsForWhatIsFetched(t *testing.T) {
	for _, source := range []delivery.Source{delivery.FromBackfill, delivery.FromPoll} {
		t.Run(string(source), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l lease
				var closes atomic.Bool
				var states savedStates
				var saves int64
				before := 0
				s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
					cfg.State, cfg.Rescan = &states, time.Hour
					if source == delivery.FromPoll {
						polling(cfg)
					}
				}).furnish().signIn()
				o := s.all[2]
				r, _ := replicate(t, s.client, func(selection *fdsclient.Selection) {
					selection.Fence = l.fence
					selection.Of = func(fds.OwnerKey) fdsclient.Delivery {
						return fdsclient.Delivery{Handler: func(ctx context.Context, m delivery.Message) error {
							if m.Source == source && closes.Load() {
								l.over.Store(o.SubscriptionID, true)
								saves = states.n.Load()
							}
							return s.box.handle(ctx, m)
						}}
					}
				}, o)
				if source == delivery.FromPoll {
					s.polls.next(t, o)
					before = len(s.box.of(o.SubscriptionID, source))
					closes.Store(true)
					s.publish(2)
				} else {
					subscribed(t, s.p, o)
					time.Sleep(time.Minute)
					closes.Store(true)
					s.lose()
				}
				if why := r.awaitStop(o, 1); !errors.Is(why, errLease) {
					t.Errorf("it was stopped for %v", why)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n := len(s.box.of(o.SubscriptionID, source)) - before; n != 1 {
					t.Errorf("%d messages were handed over", n)
				}
				if n := states.n.Load() - saves; n > 0 {
					t.Errorf("the state was saved %d times", n)
				}
				if text := s.log.String(); strings.Contains(text, "cannot be stored") {
					t.Error("that nothing is saved is told")
				}
				l.over.Delete(o.SubscriptionID)
				closes.Store(false)
				s.client.Reselect()
				eventually(t, "the rest is handed over", func() bool { return len(s.box.of(o.SubscriptionID, source))-before >= perList })
			})
		})
	}
}

// TestEachOwnerHasItsOwnTopicsAndHandler, for what is pushed and what is fetched; another answer of
// Of takes effect at the next start.
func TestEachOwnerHasItsOwnTopicsAndHandler(t *testing.T) {
	for _, source := range []delivery.Source{delivery.FromBackfill, delivery.FromPoll} {
		t.Run(string(source), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, certainties[0], func(cfg *fdsclient.Config) {
					cfg.Rescan, cfg.Push.Topics = time.Hour, []string{"spaces/#"}
					if source == delivery.FromPoll {
						polling(cfg)
					}
				}).furnish().signIn()
				topics := map[fds.SubscriptionID][]string{
					s.all[0].SubscriptionID: {"devices/+/events"}, s.all[1].SubscriptionID: {"#"}, s.all[2].SubscriptionID: nil,
				}
				var mu sync.Mutex
				boxes := make(map[fds.SubscriptionID]*inbox)
				for _, o := range s.all {
					boxes[o.SubscriptionID] = new(inbox)
				}
				r, _ := replicate(t, s.client, func(selection *fdsclient.Selection) {
					selection.Of = func(key fds.OwnerKey) fdsclient.Delivery {
						mu.Lock()
						defer mu.Unlock()
						return fdsclient.Delivery{Topics: topics[key.SubscriptionID], Handler: boxes[key.SubscriptionID].handle}
					}
				}, s.all...)
				kinds := func(i int) string {
					box := boxes[s.all[i].SubscriptionID]
					var got []string
					for _, m := range box.from(source) {
						if m.Owner.SubscriptionID != s.all[i].SubscriptionID {
							t.Errorf("owner %d has %v", i, m)
						}
						got = append(got, string(m.Kind))
					}
					box.mu.Lock()
					box.messages = nil
					box.mu.Unlock()
					slices.Sort(got)
					return strings.Join(slices.Compact(got), " ")
				}
				happen := func() {
					t.Helper()
					if source == delivery.FromBackfill {
						s.outage(true)
						time.Sleep(time.Minute)
						return
					}
					for i, o := range s.all {
						s.polls.next(t, o)
						s.publish(i)
						s.statuses(i)
					}
					time.Sleep(time.Minute)
				}
				expect := func(want ...string) {
					t.Helper()
					for i, kind := range want {
						if got := kinds(i); got != kind {
							t.Errorf("owner %d has %q, want %q", i, got, kind)
						}
					}
				}
				if source == delivery.FromBackfill {
					for i, o := range s.all {
						subscribed(t, s.p, o)
						want := []string{o.Topic("devices", "+", "events")}
						if i > 0 {
							want = []string{[]string{"", o.Topic("#"), o.Topic("spaces", "#")}[i]}
						}
						if got := s.p.Subscriber(o).Subscriptions; !slices.Equal(got, want) {
							t.Errorf("owner %d is subscribed to %q, want %q", i, got, want)
						}
					}
				}
				happen()
				expect("event", "event status", "")
				mu.Lock()
				topics[s.all[0].SubscriptionID] = []string{"devices/+/status"}
				mu.Unlock()
				s.client.Reselect()
				time.Sleep(time.Minute)
				kinds(0)
				happen()
				expect("event", "event status", "")
				r.choose(s.all[1:]...)
				s.client.Reselect()
				r.awaitStop(s.all[0], 1)
				r.choose(s.all...)
				s.client.Reselect()
				time.Sleep(time.Minute)
				kinds(0) // what its list held already is new to it
				happen()
				expect("status", "event status", "")
				if got := s.p.Subscriber(s.all[0]).Subscriptions; source == delivery.FromBackfill && !slices.Equal(got, []string{s.all[0].Topic("devices", "+", "status")}) {
					t.Errorf("it is subscribed to %q", got)
				}
				state, err := remembered(t, s.cfg, s.of(0).Key())
				if err != nil || source == delivery.FromBackfill && !slices.Equal(state.Filters, []string{s.all[0].Topic("devices", "+", "status")}) {
					t.Errorf("remembered are the filters %q, %v", state.Filters, err)
				}
			})
		})
	}
}

// TestAPanicInAFunctionOfASelectionHarmsItsOwnerAlone.
func TestAPanicInAFunctionOfASelectionHarmsItsOwnerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = time.Hour
		log := logged(&cfg)
		client := open(t, cfg)
		all := p.Owners()
		a, b := all[0], all[1]
		owners := []*fdsclient.Owner{signIn(t, client, p, a)[0], signIn(t, client, p, b)[0]}
		var panics atomic.Value
		panics.Store("")
		fail := func(what string, key fds.OwnerKey) {
			if panics.Load() == what && key.SubscriptionID == a.SubscriptionID {
				panic("alas: " + what)
			}
		}
		r, stop := replicate(t, client, func(s *fdsclient.Selection) {
			of, stopped, where := s.Of, s.Stopped, s.Where
			s.Where = func(key fds.OwnerKey) bool { fail("Where", key); return where(key) }
			s.Of = func(key fds.OwnerKey) fdsclient.Delivery { fail("Of", key); return of(key) }
			s.Fence = func(key fds.OwnerKey) error { fail("Fence", key); return nil }
			s.Stopped = func(key fds.OwnerKey, why error) { stopped(key, why); fail("Stopped", key) }
		}, b)
		had := func(when string, wantA bool) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := p.Subscriber(a).Connected; got != wantA || !p.Subscriber(b).Connected {
				t.Errorf("%s: it is had: %v; the other: %v", when, got, p.Subscriber(b).Connected)
			}
		}
		choose := func(owners ...fdstest.Owner) {
			r.choose(owners...)
			client.Reselect()
		}
		had("at first", false)
		panics.Store("Where")
		choose(a, b)
		had("while Where panics", false)
		panics.Store("Of")
		choose(a, b)
		had("while Of panics", false)
		if err := owners[0].Connection().Err; err == nil || !strings.Contains(err.Error(), "alas: Of") {
			t.Errorf("the reason is %v", err)
		}
		panics.Store("Fence")
		choose(a, b)
		had("while Fence panics", false)
		if err := owners[0].Connection().Err; !errors.Is(err, fds.ErrFenced) {
			t.Errorf("the reason is %v", err)
		}
		panics.Store("")
		choose(a, b)
		had("once nothing panics", true)
		panics.Store("Where")
		choose(b)
		had("while Where panics of one who is connected", true)
		panics.Store("Fence")
		publish(t, p, a, "1")
		if why := r.awaitStop(a, 1); !errors.Is(why, fds.ErrFenced) {
			t.Errorf("stopped for %v", why)
		}
		panics.Store("")
		choose(a, b)
		had("again", true)
		panics.Store("Stopped")
		choose(b)
		r.awaitStop(a, 2)
		panics.Store("")
		choose(a, b)
		had("after Stopped has panicked", true)
		stop()
		if got := r.payloads(a.SubscriptionID); got != "1" {
			t.Errorf("it had %q", got)
		}
		for _, what := range []string{"Where", "Of", "Fence", "Stopped"} {
			if !strings.Contains(log.String(), "Selection."+what+" panicked") {
				t.Errorf("that %s panicked is not in the log", what)
			}
		}
	})
}

// TestADeliveryThatCannotBeUsedIsToldAndStartsNobody, until Reselect finds a better one.
func TestADeliveryThatCannotBeUsedIsToldAndStartsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = 50 * time.Millisecond
		client := open(t, cfg)
		o := p.Owners()[0]
		owner := signIn(t, client, p, o)[0]
		var d atomic.Pointer[fdsclient.Delivery]
		var asked atomic.Int64
		d.Store(&fdsclient.Delivery{Topics: []string{"devices/#/events"}, Handler: ignore})
		replicate(t, client, func(s *fdsclient.Selection) {
			s.Of = func(fds.OwnerKey) fdsclient.Delivery { asked.Add(1); return *d.Load() }
		}, o)
		for name, bad := range map[string]fdsclient.Delivery{
			"a topic":  {Topics: []string{"devices/#/events"}, Handler: ignore},
			"nobody":   {Topics: []string{"devices/#"}},
			"a batch":  {Batch: &delivery.Batching{Most: -1, Handler: func(context.Context, []delivery.Message) error { return nil }}},
			"two ways": {Handler: ignore, Batch: &delivery.Batching{Handler: func(context.Context, []delivery.Message) error { return nil }}},
		} {
			d.Store(&bad)
			before := asked.Load()
			client.Reselect()
			eventually(t, name, func() bool { return asked.Load() > before && errors.Is(owner.Connection().Err, fds.ErrConfig) })
		}
		before := asked.Load()
		time.Sleep(3 * cfg.Rescan)
		if n := asked.Load() - before; n > 0 {
			t.Errorf("it is asked again %d times", n)
		}
		d.Store(&fdsclient.Delivery{})
		client.Reselect()
		eventually(t, "nobody is connected, and that is no fault", func() bool { return owner.Connection().Err == nil })
		if n := p.Subscriber(o).Connects; n != 0 {
			t.Errorf("it connected %d times", n)
		}
		d.Store(&fdsclient.Delivery{Handler: ignore})
		client.Reselect()
		subscribed(t, p, o)
		if err := fmt.Sprint(owner.Connection().Err); err != "<nil>" {
			t.Error(err)
		}
	})
}

// TestAFenceTakesOneOwnerOutOfABatchAcrossOwners: it closes while the owner's message waits for the
// others' and for the call before; they are handed over without it, and it is the next replica's.
func TestAFenceTakesOneOwnerOutOfABatchAcrossOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = time.Hour
		client := open(t, cfg)
		all := p.Owners()
		for _, o := range all {
			signIn(t, client, p, o)
		}
		var l lease
		working, goOn := make(chan struct{}), make(chan struct{})
		box := &batchbox{}
		b := &delivery.Batching{Across: true, Wait: time.Second, Handler: func(ctx context.Context, batch []delivery.Message) error {
			if string(batch[0].Payload) == "first" {
				close(working)
				<-goOn
			}
			return box.handle(ctx, batch)
		}}
		one, _ := replicate(t, client, func(s *fdsclient.Selection) {
			s.Fence = l.fence
			s.Of = func(fds.OwnerKey) fdsclient.Delivery { return fdsclient.Delivery{Batch: b} }
		}, all...)
		for _, o := range all {
			subscribed(t, p, o)
		}
		publish(t, p, all[2], "first")
		<-working
		publish(t, p, all[0], "a")
		publish(t, p, all[1], "b")
		time.Sleep(time.Minute) // both wait for the call
		l.over.Store(all[0].SubscriptionID, true)
		close(goOn)
		if why := one.awaitStop(all[0], 1); !errors.Is(why, errLease) {
			t.Errorf("it was stopped for %v", why)
		}
		eventually(t, "the other's message", func() bool { return box.payloads(all[1].SubscriptionID) == "b" })
		two, _ := replicate(t, open(t, cfg), nil, all[0])
		eventually(t, "the next replica has it", func() bool { return two.payloads(all[0].SubscriptionID) == "a" })
		if got := box.payloads(all[0].SubscriptionID); got != "" {
			t.Errorf("it had %q", got)
		}
	})
}
