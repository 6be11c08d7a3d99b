package following

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
)

// The gap ends at the first answer's time, so what an attempt hours later has
// fetched reaches no farther: the connection may be gone again, or the handler
// behind.
func TestALateAttemptMovesThePositionNoFartherThanItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		down := true
		var events []string
		api := withoutStatuses(&down, &events)
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		pass(time.Hour)
		outage(t, f)
		synctest.Wait()
		pass(5 * time.Minute)

		// The connection is lost once more, and an event with it.
		api.change(func() { events = append(events, dated("missed", time.Now())) })
		pass(30 * time.Minute)
		api.change(func() { down = false })
		pass(10 * time.Minute)
		if f.open() {
			t.Fatal("the first gap is not closed")
		}
		if got.has("missed") > 0 {
			t.Fatal("the first gap holds what was published after it")
		}
		<-outage(t, f)
		if got.has("missed") != 1 {
			t.Errorf("what the second outage lost was handed over %d times", got.has("missed"))
		}
	})
}

// slowState is a store that takes its time for some states, and obeys its context.
type slowState struct {
	statestore.Memory
	slow func(record) time.Duration
}

func (s *slowState) Save(ctx context.Context, key statestore.Key, data []byte, revision string) (string, error) {
	var state record
	if err := json.Unmarshal(data, &state); err != nil {
		return "", err
	}
	select {
	case <-time.After(s.slow(state)):
		return s.Memory.Save(ctx, key, data, revision)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func TestAnAttemptThatBeginsWhileAnotherOutageIsStoredDoesNotCloseItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) {
			c.Dialect = byDate
			c.Store = &slowState{slow: func(s record) time.Duration {
				if s.Gap != nil && s.Gap.Reason == "the second" {
					return 10 * time.Minute // over Retry.Max
				}
				return 0
			}}
		})
		down := true
		var events []string
		api := withoutStatuses(&down, &events)
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		outage(t, f)
		pass(time.Hour)
		api.change(func() { events, down = append(events, dated("missed", time.Now())), false })
		<-outageOf(t, f, push.Subscribed{})
		if got.has("missed") != 1 {
			t.Errorf("what the second outage lost was handed over %d times", got.has("missed"))
		}
	})
}

func TestAProvidersClockThatIsSetBackIsNotForgottenInAnotherOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		status := 500
		events := ""
		api := &webAPI{answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) { return status, "[" + events + "]" }}
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		outage(t, f)
		synctest.Wait()
		if err := f.storeGap(t.Context()); err != nil { // live messages were let through
			t.Fatal(err)
		}
		api.change(func() {
			api.ahead = -10 * time.Minute
			events, status = dated("missed", time.Now().Add(time.Second+api.ahead)), 200
		})
		f.saving.lock() // the store is at work
		again := make(chan struct{})
		go func() {
			outageOf(t, f, push.Subscribed{})
			close(again)
		}()
		pass(time.Hour) // an attempt has found out, and waits for the store as well
		f.saving.unlock()
		<-again
		synctest.Wait()
		if f.open() || got.has("missed") == 0 {
			t.Errorf("open %v; what was missed was handed over %d times", f.open(), got.has("missed"))
		}
	})
}

func TestAnAnswerFromBeforeAnotherOutageDoesNotEndItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		events := ""
		api := &webAPI{takes: 30 * time.Second, answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, "[" + events + "]"
			}
			return 200, "[]"
		}}
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		outage(t, f)
		pass(20 * time.Second) // the answer is under way
		api.change(func() { events = dated("missed", time.Now()) })
		<-outage(t, f)
		if got.has("missed") != 1 {
			t.Errorf("what the second outage lost was handed over %d times", got.has("missed"))
		}
	})
}

// The broker may have subscribed an attempt whose SUBACK got errLost, and then queued,
// and dropped or forgotten.
func TestAFirstSubscriptionThatTookTwoConnectionsIsAnOutageAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var events []string
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, "[" + strings.Join(events, ",") + "]"
			}
			return 200, "[]"
		}}
		for _, c := range []struct {
			failed, present bool
			want            int
		}{{true, true, 1}, {true, false, 1}, {false, true, 1}, {false, false, 0}} {
			var got handled
			f := newcomer(t, all, api, got.handle)
			f.ConnectionIs(push.Connecting)
			f.ConnectionIs(push.BackingOff) // the broker could not be reached
			f.ConnectionIs(push.Connecting)
			if err := f.SaveFilters(t.Context(), []string{root(f) + "#"}); err != nil {
				t.Fatal(err)
			}
			if c.failed {
				f.ConnectionIs(push.BackingOff)
				f.ConnectionIs(push.Connecting)
			}
			time.Sleep(10 * time.Minute)
			api.change(func() { events = []string{dated("missed", time.Now())} })
			time.Sleep(10 * time.Minute)
			f.ConnectionIs(push.Connected)
			if err := f.Subscribed(t.Context(), push.Subscribed{SessionPresent: c.present}); err != nil {
				t.Fatal(err)
			}
			if got.has("missed") != c.want {
				t.Errorf("%+v: what the broker did not keep was handed over %d times", c, got.has("missed"))
			}
			f.Stop()
		}
	})
}

func TestAGapSaysWhetherTheBrokerKeptTheSessionOverAllOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told gaps
		all := pushing(t, func(c *config) { c.Dialect = byDate; told.on(c) })
		down, events := true, []string(nil)
		f := followed(t, all, withoutStatuses(&down, &events), new(handled).handle)
		for _, session := range []bool{true, false, true} { // of outages of one gap
			subscribed(t, f, push.Subscribed{SessionPresent: session, Last: errLost})
		}
		f.Stop()
		told.mu.Lock()
		defer told.mu.Unlock()
		var kept []bool
		for _, e := range told.events {
			if e.Change == Opened {
				kept = append(kept, e.Kept)
			}
		}
		if want := []bool{true, false, false}; !slices.Equal(kept, want) {
			t.Errorf("kept %v, want %v", kept, want)
		}
	})
}
