package handoff_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// owners hand over by one Batching that is Across.
type owners struct {
	t     *testing.T
	b     *delivery.Batching
	hands []*handoff.Hand
	began time.Time

	mu    sync.Mutex
	calls []string // when, and what
}

// newOwners returns n owners whose messages are named after them: a1, a2, b1.
func newOwners(t *testing.T, n int, most int, handler func(batch string) error) *owners {
	o := &owners{t: t, began: time.Now()}
	o.b = &delivery.Batching{Most: most, Wait: time.Second, Across: true, Handler: func(_ context.Context, batch []delivery.Message) error {
		var texts []string
		for _, m := range batch {
			texts = append(texts, string(m.Payload))
		}
		text := strings.Join(texts, " ")
		o.mu.Lock()
		o.calls = append(o.calls, fmt.Sprintf("%v %s", time.Since(o.began), text))
		o.mu.Unlock()
		return handler(text)
	}}
	for range n {
		gathered, release := handoff.Gather(o.b, handoff.Complete(o.b, nil))
		t.Cleanup(release)
		s := settings(nil)
		s.Batch = gathered
		o.hands = append(o.hands, handoff.New(s))
	}
	return o
}

// hand hands over an owner's messages.
func (o *owners) hand(of int, all []*handoff.Item) (hold time.Duration) {
	return o.hands[of].Batch(o.t.Context(), all, nil)
}

func (o *owners) said() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

func TestAcrossOneCallTakesTheMessagesOfSeveralOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwners(t, 4, 5, func(string) error { return nil })
		var all sync.WaitGroup
		for i, batch := range [][]*handoff.Item{items("a1", "a2"), items("b1"), items("c1"), items("d1", "d2")} {
			all.Go(func() { o.hand(i, batch) })
			synctest.Wait()
		}
		all.Wait()
		if want := []string{"0s a1 a2 b1 c1", "1s d1 d2"}; !slices.Equal(o.said(), want) {
			t.Errorf("calls %q, want %q", o.said(), want)
		}
	})
}

func TestAcrossAnOwnerThatFailsIsSplitOffAndNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwners(t, 3, 100, func(batch string) error {
			time.Sleep(time.Minute)
			if strings.Contains(batch, "b2") {
				return errNotNow
			}
			return nil
		})
		batches := [][]*handoff.Item{items("a1"), items("b1", "b2", "b3"), items("c1")}
		var all sync.WaitGroup
		over := make([]time.Duration, 3)
		for i, batch := range batches {
			all.Go(func() { o.hand(i, batch); over[i] = time.Since(o.began) })
			synctest.Wait()
		}
		all.Wait()
		// The whole, then each owner's at the same time, then b's halves, for which nobody waits.
		if over[0] != 2*time.Minute+time.Second || over[2] != over[0] {
			t.Errorf("a was done with after %v, c after %v", over[0], over[2])
		}
		if undone(batches[0]) != nil || undone(batches[2]) != nil || !slices.Equal(undone(batches[1]), []string{"b2"}) {
			t.Errorf("not done with: %v", undone(batches[1]))
		}
		for _, call := range o.said()[1:] {
			if strings.Contains(call, "a") == strings.Contains(call, "b") && !strings.HasSuffix(call, " c1") {
				t.Errorf("calls %q", o.said())
			}
		}
		// What failed alone stays alone.
		again := items("a2")
		all.Go(func() { o.hand(1, []*handoff.Item{batches[1][1]}) })
		all.Go(func() { o.hand(0, again) })
		all.Wait()
		if undone(again) != nil {
			t.Errorf("calls %q", o.said())
		}
		for _, call := range o.said()[len(o.said())-2:] {
			if strings.Contains(call, "a2") && strings.Contains(call, "b2") {
				t.Errorf("calls %q", o.said())
			}
		}
	})
}

func TestAcrossTheHalvesOfWhatFailsGoWithNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwners(t, 6, 100, func(batch string) error {
			time.Sleep(time.Minute)
			if strings.Contains(batch, "a2") {
				return errNotNow
			}
			return nil
		})
		var all sync.WaitGroup
		all.Go(func() { o.hand(0, items("a1", "a2", "a3", "a4")) })
		time.Sleep(30 * time.Second) // the whole is at work, for a alone
		for n := range 5 {
			all.Go(func() { o.hand(1+n, items(fmt.Sprint("b", n))) })
			time.Sleep(time.Minute)
		}
		all.Wait()
		for _, call := range o.said() {
			if strings.Contains(call, "a") && strings.Contains(call, "b") {
				t.Errorf("calls %q", o.said())
			}
		}
	})
}

func TestAcrossVerdictsReachTheirOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwners(t, 3, 100, func(batch string) error { return delivery.Verdicts{nil, errNotNow, nil, errNotNow} })
		batches := [][]*handoff.Item{items("a1", "a2"), items("b1"), items("c1")}
		var all sync.WaitGroup
		for i, batch := range batches {
			all.Go(func() { o.hand(i, batch) })
			synctest.Wait()
		}
		all.Wait()
		if !slices.Equal(undone(batches[0]), []string{"a2"}) || undone(batches[1]) != nil || !slices.Equal(undone(batches[2]), []string{"c1"}) || len(o.said()) != 1 {
			t.Errorf("not done with %v, %v, %v", undone(batches[0]), undone(batches[1]), undone(batches[2]))
		}
	})
}

func TestAcrossUnavailableIsOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwners(t, 2, 100, func(batch string) error { return delivery.NotNow(errNotNow) })
		var all sync.WaitGroup
		for i, batch := range [][]*handoff.Item{items("a1", "a2"), items("b1")} {
			all.Go(func() {
				if o.hand(i, batch) <= 0 {
					t.Error("the owner does not wait")
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if len(o.said()) != 1 {
			t.Errorf("calls %q", o.said())
		}
	})
}

func TestAcrossWhatPanicsOrEndsTheGoroutineHoldsUpNoOther(t *testing.T) {
	for name, end := range map[string]func(){"exit": runtime.Goexit, "panic": func() { panic("a defect") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwners(t, 2, 100, func(batch string) error {
					if strings.Contains(batch, "b") {
						end()
					}
					return nil
				})
				for range 2 { // both together, and the one alone
					a, b := items("a1"), items("b1")
					var all sync.WaitGroup
					all.Go(func() { o.hand(0, a) })
					all.Go(func() { o.hand(1, b) })
					all.Wait()
					if undone(a) != nil || undone(b) == nil {
						t.Errorf("calls %q", o.said())
					}
				}
				b := items("b2")
				o.hand(1, b)
				a := items("a2")
				o.hand(0, a)
				if undone(a) != nil || undone(b) == nil {
					t.Errorf("calls %q", o.said())
				}
			})
		})
	}
}

func TestAcrossWhoIsStoppedWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		var first context.Context
		handler := func(ctx context.Context, batch []delivery.Message) error {
			if first == nil {
				first = ctx
				<-finish
			}
			return nil
		}
		o := newOwnersOf(t, 3, handler)
		ctx, cancel := context.WithCancel(t.Context())
		a, b, c := items("a1"), items("b1"), items("c1")
		var all sync.WaitGroup
		all.Go(func() { o.hands[0].Batch(ctx, a, nil) })
		all.Go(func() { o.hands[1].Batch(t.Context(), b, nil) })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		closing := make(chan struct{})
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			o.hands[2].Batch(t.Context(), c, closing)
		}()
		synctest.Wait()
		close(closing)
		<-stopped // though the call before goes on
		if undone(c) == nil {
			t.Error("it was handed over")
		}
		cancel()
		synctest.Wait()
		if first.Err() != nil {
			t.Error("the call's context ended though another owner's goes on")
		}
		close(finish)
		all.Wait()
		if undone(a) != nil || undone(b) != nil {
			t.Error("not done with")
		}
		if f, ok := o.hands[2].Failing(); ok {
			t.Errorf("it fails: %v", f)
		}
	})
}

func newOwnersOf(t *testing.T, n int, handler delivery.BatchHandler) *owners {
	o := &owners{t: t, b: &delivery.Batching{Wait: time.Second, Across: true, Handler: handler}}
	for range n {
		gathered, release := handoff.Gather(o.b, handoff.Complete(o.b, nil))
		t.Cleanup(release)
		s := settings(nil)
		s.Batch = gathered
		o.hands = append(o.hands, handoff.New(s))
	}
	return o
}

func TestAcrossKeepsWhatAHandlerChangedFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // the parts of owners go at the same time
		var got []string
		o := newOwnersOf(t, 2, func(_ context.Context, batch []delivery.Message) error {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range batch {
				got = append(got, string(m.Payload))
				m.Payload[0] = '!'
			}
			if len(batch) > 1 {
				return errors.New("no")
			}
			return nil
		})
		var all sync.WaitGroup
		for i, name := range []string{"a", "b"} {
			all.Go(func() { o.hand(i, items(name)) })
			synctest.Wait()
		}
		all.Wait()
		slices.Sort(got)
		if want := []string{"a", "a", "b", "b"}; !slices.Equal(got, want) {
			t.Errorf("handed over %q", got)
		}
	})
}

func TestAcrossALongPayloadThatAHandlerChangedIsNotHandedOverChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // the parts of owners go at the same time
		var got []string
		o := newOwnersOf(t, 2, func(_ context.Context, batch []delivery.Message) error {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range batch {
				got = append(got, string(m.Payload[:1]))
				m.Payload[0] = '!'
			}
			if len(batch) > 2 {
				return errors.New("no")
			}
			return nil
		})
		a, b := items("a"+strings.Repeat("x", 5000), "c"), items("b")
		var all sync.WaitGroup
		all.Go(func() { o.hand(0, a) })
		synctest.Wait()
		all.Go(func() { o.hand(1, b) })
		all.Wait()
		slices.Sort(got)
		if want := []string{"a", "b", "b", "c", "c"}; !slices.Equal(got, want) {
			t.Errorf("handed over %q", got)
		}
		if !errors.Is(a[0].Err, handoff.ErrChanged) || a[1].Err != nil || b[0].Err != nil {
			t.Errorf("the long one: %v, the others: %v, %v", a[0].Err, a[1].Err, b[0].Err)
		}
	})
}

func TestAcrossVerdictsAreThoseOfTheirCallThoughTheHandlerUsesItsSliceAgain(t *testing.T) {
	for name, owners := range map[string]int{"alone": 1, "of several owners": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var verdicts delivery.Verdicts // no two calls are at work at once
				o := newOwnersOf(t, owners+1, func(_ context.Context, batch []delivery.Message) error {
					verdicts = verdicts[:0]
					for _, m := range batch {
						var err error
						if string(m.Payload) != "good" {
							err = delivery.RetryAfter(time.Hour, errNotNow)
						}
						verdicts = append(verdicts, err)
					}
					return verdicts
				})
				settings := settings(nil)
				settings.Handled = func(delivery.Message, time.Duration, error) { time.Sleep(time.Minute) } // a hook may
				var release func()
				settings.Batch, release = handoff.Gather(o.b, handoff.Complete(o.b, nil))
				defer release()
				var all sync.WaitGroup
				bad := make([][]*handoff.Item, owners)
				for i := range owners {
					bad[i] = items(fmt.Sprint("bad", i))
					all.Go(func() { handoff.New(settings).Batch(t.Context(), bad[i], nil) })
				}
				time.Sleep(1500 * time.Millisecond) // they wait for others for a second
				all.Go(func() { o.hand(owners, items("good", "good", "good")) })
				all.Wait()
				for i := range owners {
					if bad[i][0].Err == nil {
						t.Error("what the handler failed on counts as done with")
					}
				}
			})
		})
	}
}
