package fdsclient_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	"github.com/fds-sdk/fds-go/statestore"
)

// replica is a run whose selection a test changes.
type replica struct {
	inbox
	t      *testing.T
	client *fdsclient.Client

	choice struct {
		sync.Mutex
		of map[fds.SubscriptionID]bool
	}
	mu    sync.Mutex
	stops map[fds.SubscriptionID][]error
}

// replicate runs a Client for the owners, until the test ends or stop is called, which waits for that.
func replicate(t *testing.T, client *fdsclient.Client, change func(*fdsclient.Selection), owners ...fdstest.Owner) (r *replica, stop func()) {
	t.Helper()
	r = &replica{t: t, client: client, stops: make(map[fds.SubscriptionID][]error)}
	r.choose(owners...)
	s := fdsclient.Selection{
		Where:   r.where,
		Of:      func(fds.OwnerKey) fdsclient.Delivery { return fdsclient.Delivery{Handler: r.handle} },
		Stopped: r.stopped,
	}
	if change != nil {
		change(&s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.RunWhere(ctx, s) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("RunWhere: %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func (r *replica) where(key fds.OwnerKey) bool {
	r.choice.Lock()
	defer r.choice.Unlock()
	return r.choice.of[key.SubscriptionID]
}

// choose sets whom the replica has from now on, once it asks.
func (r *replica) choose(owners ...fdstest.Owner) {
	r.choice.Lock()
	defer r.choice.Unlock()
	r.choice.of = make(map[fds.SubscriptionID]bool)
	for _, o := range owners {
		r.choice.of[o.SubscriptionID] = true
	}
}

func (r *replica) stopped(owner fds.OwnerKey, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stops[owner.SubscriptionID] = append(r.stops[owner.SubscriptionID], why)
}

// stopsOf returns why an owner was stopped, each time.
func (r *replica) stopsOf(o fdstest.Owner) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stops[o.SubscriptionID])
}

// awaitStop waits until an owner was stopped that often, and returns why the last time.
func (r *replica) awaitStop(o fdstest.Owner, times int) error {
	r.t.Helper()
	eventually(r.t, "stopped", func() bool { return len(r.stopsOf(o)) >= times })
	all := r.stopsOf(o)
	if len(all) != times {
		r.t.Errorf("it was stopped %d times, want %d: %v", len(all), times, all)
	}
	return all[len(all)-1]
}

func TestASelectionStartsAndStopsOwnersAsWhereAnswers(t *testing.T) {
	for _, polls := range []bool{false, true} {
		t.Run(fmt.Sprintf("polled %v", polls), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				cfg := configure(t, p)
				cfg.Provider.Dialect = p.Dialect()
				cfg.Rescan = time.Hour
				var reads pollLog
				if polls {
					polling(&cfg)
					cfg.Hooks = []any{&reads}
				}
				client := open(t, cfg)
				all := p.Owners()
				a, b, c := all[0], all[1], all[2]
				owners := make(map[fds.SubscriptionID]*fdsclient.Owner)
				for _, o := range all {
					owners[o.SubscriptionID] = signIn(t, client, p, o)[0]
				}
				r, stop := replicate(t, client, nil, a, b)
				had := func(o fdstest.Owner) bool {
					if condition := owners[o.SubscriptionID].Condition(); polls {
						return condition.Polled
					} else if connected := p.Subscriber(o).Connected; connected != (condition.Connection.Phase == push.Connected) {
						t.Errorf("at the broker it is connected %v, and %s here", connected, condition.Connection.Phase)
					}
					return p.Subscriber(o).Connected
				}
				expect := func(when string, want ...fdstest.Owner) {
					t.Helper()
					time.Sleep(3 * time.Second)
					synctest.Wait()
					for _, o := range all {
						if got := had(o); got != slices.ContainsFunc(want, func(w fdstest.Owner) bool { return w.SubscriptionID == o.SubscriptionID }) {
							t.Errorf("%s %s is had: %v", when, o.Spelling, got)
						}
					}
				}
				expect("at first", a, b)
				r.choose(b, c)
				expect("before it is asked", a, b)
				client.Reselect()
				expect("after Reselect", b, c)
				if why := r.awaitStop(a, 1); why != nil {
					t.Errorf("one who is left out was stopped for %v", why)
				}
				if s := p.Subscriber(a); !polls && !s.Session {
					t.Error("the broker's session has ended")
				}
				if s := owners[a.SubscriptionID].Connection(); s.Phase != push.Stopped || s.Err != nil {
					t.Errorf("its state is %+v", s)
				}
				r.choose(a)
				time.Sleep(time.Hour)
				expect("after Rescan", a)
				r.choose(a, b, c)
				client.Reselect()
				r.choose(a, b)
				client.Reselect()
				expect("after two in a row", a, b)
				stop()
				for o, want := range map[*fdstest.Owner]int{&a: 2, &b: 2} {
					if why := r.awaitStop(*o, want); why != nil {
						t.Errorf("stopped at the end for %v", why)
					}
				}
				if n := len(r.stopsOf(c)); n < 1 || n > 2 {
					t.Errorf("the third was stopped %d times", n)
				}
			})
		})
	}
}

// renewals counts those of each owner.
type renewals struct {
	mu sync.Mutex
	of map[fds.SubscriptionID]int
}

func (r *renewals) OnRenewed(e fdsclient.GrantEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = make(map[fds.SubscriptionID]int)
	}
	for _, o := range e.Owners {
		r.of[o.SubscriptionID]++
	}
}

// since returns who was renewed since it was last asked.
func (r *renewals) since() map[fds.SubscriptionID]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.of
	r.of = nil
	return was
}

// TestWhoIsLeftOutIsNotRenewed, unless another owner of the same grant is not, or somebody asks for
// the token.
func TestWhoIsLeftOutIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{AccessTokenLifetime: 10 * time.Minute})
		cfg := configure(t, p)
		var renewed renewals
		cfg.Hooks = []any{&renewed}
		client := open(t, cfg)
		all := p.Owners()
		a, b, c := all[0], all[1], all[2]
		signIn(t, client, p, a, b) // together
		alone := signIn(t, client, p, c)[0]
		r, stop := replicate(t, client, func(s *fdsclient.Selection) { s.Of = nil }, a)
		within := func(want ...fdstest.Owner) {
			t.Helper()
			renewed.since()
			time.Sleep(time.Hour)
			synctest.Wait()
			got := renewed.since()
			for _, o := range all {
				wanted := slices.ContainsFunc(want, func(w fdstest.Owner) bool { return w.SubscriptionID == o.SubscriptionID })
				if n := got[o.SubscriptionID]; wanted != (n > 0) || n > 15 {
					t.Errorf("%s was renewed %d times, wanted %v", o.Spelling, n, wanted)
				}
			}
		}
		choose := func(owners ...fdstest.Owner) {
			r.choose(owners...)
			client.Reselect()
			time.Sleep(time.Second) // what is under way lands
			synctest.Wait()
		}
		within(a, b) // by a
		choose(b, c)
		within(a, b, c) // by b
		choose(c)
		within(c)
		choose()
		within()
		if _, err := alone.Token(t.Context()); err != nil {
			t.Errorf("the token of one who is left out: %v", err)
		}
		within(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- client.Run(ctx, nil) }() // who renews all
		within(a, b, c)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		within()
		signIn(t, client, p, c)
		time.Sleep(time.Second)
		within()
		choose(a)
		within(a, b)
		stop()
		if len(r.stops) != 0 {
			t.Errorf("there was nothing to stop: %v", maps.Keys(r.stops))
		}
	})
}

// TestReplicasHandAnOwnerOver, again and again, in the way of a scheduler: Stopped of the one, then
// Where of the other.
func TestReplicasHandAnOwnerOver(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	folder, err := statestore.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.State, cfg.Rescan = folder, time.Hour
	first := open(t, cfg)
	o, bystander := p.Owners()[0], p.Owners()[1]
	signIn(t, first, p, o)
	signIn(t, first, p, bystander)
	var mu sync.Mutex
	var got []string
	by := make(map[string]bool) // replicas that had something
	atWork := 0
	handlerOf := func(name string) func(*fdsclient.Selection) {
		return func(s *fdsclient.Selection) {
			handler := func(_ context.Context, m delivery.Message) error {
				if m.Owner.SubscriptionID != o.SubscriptionID {
					return nil
				}
				mu.Lock()
				if atWork++; atWork > 1 {
					t.Error("two handlers at once")
				}
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				atWork--
				by[name] = true
				got = append(got, string(m.Payload))
				return nil
			}
			s.Of = func(fds.OwnerKey) fdsclient.Delivery { return fdsclient.Delivery{Handler: handler} }
		}
	}
	one, _ := replicate(t, first, handlerOf("one"), o)
	two, _ := replicate(t, open(t, cfg), handlerOf("two"), bystander)
	subscribed(t, p, o)
	const messages, moves = 300, 6
	published := make(chan struct{})
	go func() {
		defer close(published)
		for n := range messages {
			if err := p.Publish(t.Context(), o, []string{"devices", "status"}, fmt.Appendf(nil, "%d", n), 1, false); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	from, to := one, two
	stops := make(map[*replica]int)
	for range moves {
		time.Sleep(30 * time.Millisecond)
		from.choose()
		to.choose(o)
		from.client.Reselect()
		stops[from]++
		if why := from.awaitStop(o, stops[from]); why != nil {
			t.Error(why)
		}
		mu.Lock()
		if atWork != 0 {
			t.Error("the handler is at work after Stopped")
		}
		mu.Unlock()
		if s := p.Subscriber(o); s.Connected {
			t.Error("it is connected after Stopped")
		}
		to.client.Reselect()
		eventually(t, "the other has it", func() bool { return p.Subscriber(o).Connected })
		from, to = to, from
	}
	<-published
	eventually(t, "all is handed over", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) >= messages
	})
	mu.Lock()
	defer mu.Unlock()
	for n, text := range got {
		if text != fmt.Sprint(n) {
			t.Fatalf("message %d is %s; %d in all", n, text, len(got))
		}
	}
	if len(by) != 2 {
		t.Errorf("by %v alone", by)
	}
}

// TestTwoSelectionsOfOneClientShareNoOwner: one that both want is the first's, and the second's at
// once when the first lets go.
func TestTwoSelectionsOfOneClientShareNoOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = time.Hour
		log := logged(&cfg)
		client := open(t, cfg)
		all := p.Owners()
		for _, o := range all {
			signIn(t, client, p, o)
		}
		var mu sync.Mutex
		var order []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		handler := func(name string) func(*fdsclient.Selection) {
			return func(s *fdsclient.Selection) {
				s.Of = func(fds.OwnerKey) fdsclient.Delivery {
					return fdsclient.Delivery{Handler: func(_ context.Context, m delivery.Message) error {
						note(name + " " + string(m.Payload))
						return nil
					}}
				}
				stopped := s.Stopped
				s.Stopped = func(key fds.OwnerKey, why error) {
					time.Sleep(time.Second) // the other waits for it
					note(name + " stopped")
					stopped(key, why)
				}
			}
		}
		one, stopOne := replicate(t, client, handler("one"), all[0], all[1])
		eventually(t, "the first has its own", func() bool { return p.Subscriber(all[0]).Connected && p.Subscriber(all[1]).Connected })
		_, stopTwo := replicate(t, client, handler("two"), all[1], all[2])
		eventually(t, "the second has its own", func() bool { return p.Subscriber(all[2]).Connected })
		publish(t, p, all[1], "a")
		time.Sleep(time.Minute)
		one.choose(all[0])
		client.Reselect()
		synctest.Wait()
		publish(t, p, all[1], "b")
		time.Sleep(time.Minute)
		if s := p.Subscriber(all[1]); !s.Connected || s.Connects != 2 {
			t.Errorf("it is %+v", s)
		}
		stopTwo()
		one.choose(all...)
		client.Reselect()
		time.Sleep(time.Minute)
		publish(t, p, all[1], "c")
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		got := strings.Join(order, ", ")
		mu.Unlock()
		if want := "one a, one stopped, two b, two stopped, two stopped, one c"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if lines := strings.Count(log.String(), "an owner is had by another Run of this Client"); lines != 1 {
			t.Errorf("that is told %d times", lines)
		}
		if err := client.Run(t.Context(), ignore); !errors.Is(err, fds.ErrRunning) {
			t.Errorf("a Run of nobody else: %v", err)
		}
		stopOne()
	})
}

func TestARunThatEndsWhileItStartsOwnersStartsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		client := open(t, configure(t, p))
		for _, o := range p.Owners() {
			signIn(t, client, p, o)
		}
		ctx, end := context.WithCancel(t.Context())
		starts := 0
		if err := client.RunWhere(ctx, fdsclient.Selection{Of: func(fds.OwnerKey) fdsclient.Delivery {
			starts++
			end()
			return fdsclient.Delivery{Handler: func(context.Context, delivery.Message) error { return nil }}
		}}); err != nil {
			t.Error(err)
		}
		if starts != 1 {
			t.Errorf("%d owners were started", starts)
		}
	})
}
