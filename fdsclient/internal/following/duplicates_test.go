package following

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// Where each item's own ID and its device's have one name, a device's next status
// is no duplicate of the one before.
func TestAStatusIsNoDuplicateWhereEveryIDHasOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) {
			c.Dialect = fds.Dialect{DeviceID: "id", MessageID: "id", TimeMember: "at"}
			c.Gaps.DropDuplicates = true
		})
		item := func(level string) string {
			return fmt.Sprintf(`{"id":"D","at":%q,"level":%q}`, time.Now().UTC().Format(time.RFC3339), level)
		}
		var fetched string
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events && fetched != "" {
				return 200, "[" + fetched + "]"
			}
			return 200, "[]"
		}}
		var got handled
		f := followed(t, all, api, got.handle)
		defer f.Stop()
		pass(time.Minute)
		fetched = item("fetched")
		<-outage(t, f)
		pushed(t, f, "event", fetched, time.Now())
		for _, level := range []string{"full", "empty"} {
			time.Sleep(time.Second)
			pushed(t, f, "status", item(level), time.Now())
		}
		for _, level := range []string{"fetched", "full", "empty"} {
			if n := got.has(level); n != 1 {
				t.Errorf("%s was handed over %d times", level, n)
			}
		}
	})
}

// What was received while a backfill was at work is its duplicate, however long the
// handler takes to come to it.
func TestABrokersQueueIsMarkedHoweverSlowTheHandlerIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		var events []string
		down := false
		api := withoutStatuses(&down, &events)
		var got handled
		slow := time.Duration(0)
		f := followed(t, all, api, func(ctx context.Context, m delivery.Message) error {
			time.Sleep(slow)
			return got.handle(ctx, m)
		})
		defer f.Stop()
		pass(10 * time.Minute)
		for i := range 3 {
			events = append(events, dated(fmt.Sprintf("e%d", i), time.Now()))
			time.Sleep(time.Second)
		}
		subscribed := time.Now()
		<-outage(t, f)
		slow = 40 * time.Second
		for i := range 3 {
			pushed(t, f, "events", dated(fmt.Sprintf("new%d", i), time.Now()), subscribed)
		}
		for _, e := range events {
			pushed(t, f, "events", e, subscribed)
		}
		for i, m := range got.messages[len(got.messages)-3:] {
			if !m.Duplicate {
				t.Errorf("e%d of the queue is not marked, though it was fetched", i)
			}
		}
	})
}

// With no Web API there is no backfill whose duplicates could come.
func TestWithoutAWebAPINothingIsMarkedADayLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.NoAPI = true })
		var got handled
		f := followed(t, all, &webAPI{}, got.handle)
		defer f.Stop()
		if err := f.Subscribed(t.Context(), push.Subscribed{Last: errors.New("a test")}); err != nil {
			t.Fatal(err)
		}
		pass(24 * time.Hour)
		for range 2 * seenMost {
			pushed(t, f, "heartbeat", `{"pressed":true}`, time.Now())
		}
		if got.messages[1].Duplicate {
			t.Error("a message that came once only is marked")
		}
		if n := cap(f.seen.entries); n > 2*seenUsual {
			t.Errorf("room for %d digests", n)
		}
	})
}
