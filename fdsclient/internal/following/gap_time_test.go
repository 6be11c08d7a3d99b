package following

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// pushed hands one message of the connection to the owner's handler, and
// acknowledges it.
func pushed(t *testing.T, f *Follower, topic, payload string, received time.Time) {
	t.Helper()
	if err := f.Live(t.Context(), delivery.Message{Topic: topic, QoS: 1, Source: delivery.FromPush, ReceivedAt: received, Payload: []byte(payload)}); err != nil {
		t.Error(err)
		return
	}
	f.Acknowledged(delivery.Message{})
}

// A page is asked for while the one before is handed over, so that its date is old
// when its turn comes: that is no clock that was set back.
func TestAHandlerSlowerThanThePagesComeClosesAGap(t *testing.T) {
	for _, kind := range []pull.Kind{pull.Events, pull.Statuses} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const pages, aPage = 5, 40
				all := pushing(t, func(c *config) {
					c.Dialect = byDate
					c.Dialect.Paging.PageParameter = "page"
				})
				at := time.Now().Add(time.Minute)
				api := &webAPI{answer: func(_ fds.OwnerKey, k pull.Kind, r *http.Request) (int, string) {
					var page int
					_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page) // none: the first
					if k != kind || page >= pages {
						return 200, "[]"
					}
					var items []string
					for i := range aPage {
						item := dated(fmt.Sprintf("p%d-%d", page, i), at)
						items = append(items, strings.Replace(item, "message_id", "number", 1)) // which is no ID
					}
					return 200, "[" + strings.Join(items, ",") + "]"
				}}
				var got handled
				f := followed(t, all, api, func(ctx context.Context, m delivery.Message) error {
					time.Sleep(time.Second)
					return got.handle(ctx, m)
				})
				defer f.Stop()
				pass(2 * time.Minute)
				select {
				case <-outage(t, f):
				case <-time.After(time.Hour):
					t.Fatal("the gap is still open after an hour")
				}
				if n := len(got.messages); n < (pages-1)*aPage || n > pages*aPage {
					t.Errorf("%d messages were handed over", n)
				}
			})
		})
	}
}

// While a handler is at work the provider's clock turns out to be behind.
func TestAClockThatIsLearntWhileAHandlerIsAtWorkKeepsThePositionBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var events []string
		down := false
		api := withoutStatuses(&down, &events)
		api.ahead = -10 * time.Minute
		var got handled
		f := followed(t, all, api, func(ctx context.Context, m delivery.Message) error {
			if m.Source == delivery.FromPush {
				time.Sleep(time.Minute)
			}
			return got.handle(ctx, m)
		})
		defer f.Stop()
		pass(time.Minute)
		go pushed(t, f, "statuses", `{"device_id":"D","level":1}`, time.Now()) // without a date
		pass(10 * time.Second)
		<-outage(t, f) // the provider's time is learnt
		pass(2 * time.Minute)
		f.mu.Lock()
		over := f.position.at.Sub(time.Now().Add(api.ahead))
		f.mu.Unlock()
		if over > 0 {
			t.Errorf("the position is %v ahead of the provider's clock", over)
		}
		api.change(func() { events = append(events, dated("missed", time.Now().Add(api.ahead))) })
		pass(10 * time.Second)
		<-outage(t, f)
		if n := got.has("missed"); n != 1 {
			t.Errorf("what the outage lost was handed over %d times", n)
		}
	})
}

// What the next process finds of the provider's clock is what the gap goes by.
func TestAStopWhileAClockIsStoredLosesNothing(t *testing.T) {
	for name, wait := range map[string]time.Duration{"before the answer is stored": 500 * time.Millisecond, "once it is stored": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := pushing(t, func(c *config) {
					c.Dialect = byDate
					c.Store = &slowState{slow: func(s record) time.Duration {
						if s.Gap != nil && !s.Gap.To.IsZero() {
							return time.Second
						}
						return 0
					}}
				})
				var events []string
				down := true
				api := withoutStatuses(&down, &events)
				api.ahead = -10 * time.Minute
				var got handled
				f := followed(t, all, api, got.handle)
				pass(time.Minute)
				api.change(func() { events = append(events, dated("missed", time.Now().Add(api.ahead))) })
				outage(t, f)
				pass(wait)
				f.Stop()
				api.change(func() { down = false })
				f = all.follow(t, f.owner, got.handle)
				defer f.Stop()
				<-outage(t, f)
				if got.has("missed") == 0 {
					t.Error("it was never handed over, and the gap is closed")
				}
			})
		})
	}
}

// Without a Date a guess at the provider's time moves no position.
func TestAProviderThatDoesNotTellItsTimeMovesNoPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var events []string
		down := false
		api := withoutStatuses(&down, &events)
		api.noDate = true
		const behind = -10 * time.Minute
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		f.position.at = f.position.at.Add(behind) // by the date of the last event
		pass(time.Hour)
		<-outage(t, f)
		pass(time.Minute)
		api.change(func() { events = append(events, dated("missed", time.Now().Add(behind))) })
		<-outage(t, f)
		if n := got.has("missed"); n != 1 {
			t.Errorf("what the second outage lost was handed over %d times", n)
		}
	})
}
