package fdsclient_test

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
)

// TestAFenceEndsWhoHasNoMessages, at Reselect and each Rescan: else an owner who has none would be
// connected, and claimed, for ever.
func TestAFenceEndsWhoHasNoMessages(t *testing.T) {
	for _, polls := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := start(t, fdstest.Options{})
			cfg := configure(t, p)
			cfg.Provider.Dialect = p.Dialect()
			cfg.Rescan = 5 * time.Minute
			if polls {
				polling(&cfg)
			}
			states := new(statestore.Memory)
			cfg.State = states
			client := open(t, cfg)
			o, other := p.Owners()[0], p.Owners()[1]
			owner := signIn(t, client, p, o)[0]
			bystander := signIn(t, client, p, other)[0]
			var l lease
			r, _ := replicate(t, client, func(s *fdsclient.Selection) { s.Fence = l.fence }, o, other)
			has := func(o *fdsclient.Owner) bool {
				release, err := states.Claim(t.Context(), o.Key())
				if err != nil {
					return true
				}
				release()
				return false
			}
			expect := func(when string, want bool) {
				t.Helper()
				synctest.Wait()
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if has(owner) != want || !has(bystander) {
					t.Errorf("%s they are claimed: %v, %v", when, has(owner), has(bystander))
				}
				if connected := p.Subscriber(o).Connected; !polls && connected != want {
					t.Errorf("%s it is connected: %v", when, connected)
				}
			}
			expect("at first", true)
			for n, wait := range []func(){client.Reselect, func() { time.Sleep(5 * time.Minute) }} {
				l.over.Store(o.SubscriptionID, true)
				expect("before the fence is asked", true)
				wait()
				expect("once the fence is closed", false)
				if why := r.awaitStop(o, n+1); !errors.Is(why, fds.ErrFenced) || !errors.Is(why, errLease) {
					t.Errorf("it was stopped for %v", why)
				}
				l.over.Delete(o.SubscriptionID)
				wait()
				expect("once the fence is open", true)
			}
		})
	}
}

// TestALeaseThatMovesTakesItsOwnerWithIt, to and fro between processes that share no state: who was
// taken over, and has the lease again, has the owner again.
func TestALeaseThatMovesTakesItsOwnerWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = time.Minute
		var holder atomic.Int64
		var o fdstest.Owner
		var replicas [2]*replica
		for n := range replicas {
			cfg.State = new(statestore.Memory)
			client := open(t, cfg)
			if n == 0 {
				o = p.Owners()[0]
				signIn(t, client, p, o)
			}
			replicas[n], _ = replicate(t, client, func(s *fdsclient.Selection) {
				s.Where = nil
				s.Fence = func(fds.OwnerKey) error {
					if holder.Load() != int64(n) {
						return errLease
					}
					return nil
				}
			})
		}
		starts := 0
		for move := range 6 {
			n := move % 2
			holder.Store(int64(n))
			if move >= 2 {
				replicas[n].client.Reselect() // and the other one, which is connected, knows of nothing
			}
			time.Sleep(3 * time.Minute)
			publish(t, p, o, string(rune('a'+move)))
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := replicas[n].payloads(o.SubscriptionID); got == "" || got[len(got)-1] != byte('a'+move) {
				t.Errorf("move %d: who has the lease had %q", move, got)
			}
			if s := p.Subscriber(o); !s.Connected {
				t.Errorf("move %d: nobody is connected", move)
			}
			starts++
		}
		stops := append(replicas[0].stopsOf(o), replicas[1].stopsOf(o)...)
		if len(stops) != starts-1 || slices.Contains(stops, nil) {
			t.Errorf("of %d starts %d were stopped: %v", starts, len(stops), stops)
		}
	})
}

// TestASelectionThatFlipsStopsEachStartOnce, and has no two of one owner at work.
func TestASelectionThatFlipsStopsEachStartOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = 3 * time.Second
		client := open(t, cfg)
		o := p.Owners()[0]
		signIn(t, client, p, o)
		var flips, starts, stops, alive atomic.Int64
		var storm sync.WaitGroup
		_, stop := replicate(t, client, func(s *fdsclient.Selection) {
			s.Where = func(fds.OwnerKey) bool { return flips.Add(1)%3 != 0 }
			s.Of = func(fds.OwnerKey) fdsclient.Delivery {
				starts.Add(1)
				if n := alive.Add(1); n != 1 {
					t.Errorf("%d are at work", n)
				}
				return fdsclient.Delivery{Handler: ignore}
			}
			s.Stopped = func(key fds.OwnerKey, why error) {
				client.Reselect() // as who looks for more
				stops.Add(1)
				alive.Add(-1)
				if why != nil {
					t.Errorf("it was stopped for %v", why)
				}
			}
		})
		for n := range 4 {
			storm.Go(func() {
				for m := range 500 {
					client.Reselect()
					if m%7 == n {
						time.Sleep(time.Duration(m) * time.Millisecond)
					}
				}
			})
		}
		storm.Wait()
		stop()
		if starts.Load() < 10 || starts.Load() != stops.Load() {
			t.Errorf("%d starts, %d times Stopped", starts.Load(), stops.Load())
		}
	})
}

// TestAStoppedThatEndsItsGoroutineHarmsNobody, as a test's does that fails: the owner starts again.
func TestAStoppedThatEndsItsGoroutineHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		cfg.Rescan = time.Hour
		client := open(t, cfg)
		o := p.Owners()[0]
		signIn(t, client, p, o)
		var stops atomic.Int64
		r, _ := replicate(t, client, func(s *fdsclient.Selection) {
			s.Stopped = func(fds.OwnerKey, error) {
				stops.Add(1)
				runtime.Goexit()
			}
		}, o)
		for n := range int64(2) {
			time.Sleep(time.Minute)
			if !p.Subscriber(o).Connected {
				t.Fatal("it is not connected")
			}
			r.choose()
			client.Reselect()
			time.Sleep(time.Minute)
			if s := p.Subscriber(o); s.Connected || stops.Load() != n+1 {
				t.Errorf("it is connected: %v, and was stopped %d times", s.Connected, stops.Load())
			}
			r.choose(o)
			client.Reselect()
		}
	})
}
