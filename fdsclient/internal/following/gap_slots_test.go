package following

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// oneEach answers with an event and a status.
func oneEach(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
	return 200, "[" + dated(string(kind), time.Now()) + "]"
}

func TestAHandlerThatHangsOnALiveMessageHoldsUpNoOtherOwnersBackfill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Gaps.Concurrent = 1 })
		api := &webAPI{answer: oneEach}
		goOn := make(chan struct{})
		stuck := followed(t, all, api, func(_ context.Context, m delivery.Message) error {
			if m.Source == delivery.FromPush {
				<-goOn
			}
			return nil
		})
		defer stuck.Stop()
		live := make(chan error)
		go func() {
			live <- stuck.Live(t.Context(), delivery.Message{Source: delivery.FromPush, QoS: 1, ReceivedAt: time.Now()})
		}()
		synctest.Wait()
		held := outage(t, stuck) // the message that the handler has is of the connection before
		other := followed(t, all, api, new(handled).handle)
		defer other.Stop()
		select {
		case <-outage(t, other):
		case <-time.After(time.Minute):
			t.Error("the other owner's gap is open as long as the handler hangs")
		}
		close(goOn)
		if err := <-live; err != nil {
			t.Error(err)
		}
		<-held
		synctest.Wait()
		if all.readers.mu.Lock(); all.readers.busy != 0 {
			t.Errorf("afterwards %d readers are counted", all.readers.busy)
		}
		all.readers.mu.Unlock()
	})
}

func TestADeadLetterFunctionThatPanicsOrHangsInABackfillHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		calls := 0
		all := pushing(t, func(c *config) {
			c.Gaps.Concurrent = 1
			c.MaxAttempts = 1
			c.DeadLetter = func(context.Context, delivery.Message, error) error {
				switch calls++; calls {
				case 1:
					panic("there is no room")
				case 2:
					<-goOn
				}
				return nil
			}
		})
		api := &webAPI{answer: oneEach}
		bad := followed(t, all, api, func(context.Context, delivery.Message) error { return errors.New("never") })
		defer bad.Stop()
		held := outage(t, bad)
		pass(time.Minute) // it has panicked, and now hangs
		other := followed(t, all, api, new(handled).handle)
		defer other.Stop()
		select {
		case <-outage(t, other):
		case <-time.After(time.Minute):
			t.Error("the other owner's gap is open as long as the dead-letter function hangs")
		}
		close(goOn)
		<-held
		if calls != 3 { // the event again, and the status
			t.Errorf("it was called %d times, want 3", calls)
		}
	})
}

func TestTwoItemsThatTheHandlerNeverTakesDoNotKeepAGapOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead handled
		all := pushing(t, func(c *config) {
			c.MaxAttempts = 3
			c.DeadLetter = func(ctx context.Context, m delivery.Message, _ error) error { return dead.handle(ctx, m) }
		})
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, "[]"
			}
			return 200, "[" + dated("first", time.Time{}) + "," + dated("second", time.Time{}) + "," + dated("last", time.Time{}) + "]"
		}}
		var got handled
		f := followed(t, all, api, func(ctx context.Context, m delivery.Message) error {
			if item, err := m.Item(); err != nil || textMember(item, "device_id") != "last" {
				return errors.New("never")
			}
			return got.handle(ctx, m)
		})
		defer f.Stop()
		outage(t, f)
		pass(time.Hour)
		if f.open() || dead.has("first") != 1 || dead.has("second") != 1 || got.has("last") != 1 {
			t.Errorf("after an hour: open %v; dead letters %d and %d, want 1 each; what comes after them was handed over %d times",
				f.open(), dead.has("first"), dead.has("second"), got.has("last"))
		}
	})
}

func TestOutagesWhileAGapCannotBeClosedDoNotMultiplyTheAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, nil)
		requests := 0
		api := &webAPI{answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) {
			requests++
			return 500, ""
		}}
		f := followed(t, all, api, new(handled).handle)
		defer f.Stop()
		for range 100 {
			outage(t, f)
			synctest.Wait()
		}
		pass(time.Hour) // until attempts are rare
		api.change(func() { requests = 0 })
		pass(10 * time.Hour)
		api.mu.Lock()
		defer api.mu.Unlock()
		if requests > 10*60 { // one each 2.5 minutes on average
			t.Errorf("%d attempts in ten hours", requests)
		}
	})
}

// exits ends its goroutine when a gap is closed, as a test does that fails.
func exits(e GapEvent) {
	if e.Change == Closed {
		runtime.Goexit()
	}
}

func TestAHookThatEndsItsGoroutineWhenAGapIsClosedHoldsUpNoMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.OnGap = exits })
		f := followed(t, all, &webAPI{answer: oneEach}, new(handled).handle)
		defer f.Stop()
		select {
		case <-outage(t, f):
		case <-time.After(time.Minute):
			t.Error("live messages still wait")
		}
	})
}
