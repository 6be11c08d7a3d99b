package following

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// A broker that lets one message be unacknowledged (Mosquitto's
// max_inflight_messages 1), or many with a handler that is faster than the
// network, sends the next of a long queue just after the one before is done: its
// arrival says nothing of when it was published.
func TestThePositionStaysBehindWhatTheBrokerHasQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = fds.Dialect{FromParameter: "from"} })
		api := &webAPI{answer: func(fds.OwnerKey, pull.Kind, *http.Request) (int, string) { return 200, "[]" }}
		takes := time.Duration(0)
		f := followed(t, all, api, func(ctx context.Context, m delivery.Message) error {
			time.Sleep(takes)
			return nil
		})
		defer f.Stop()
		deliver := func() (arrived time.Time) {
			t.Helper()
			time.Sleep(50 * time.Millisecond) // on its way
			m := delivery.Message{Owner: f.owner.Key, Topic: root(f) + "a", QoS: 1, Source: delivery.FromPush, ReceivedAt: time.Now(), Payload: []byte(`1`)}
			if err := f.Live(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			f.Acknowledged(m)
			return m.ReceivedAt
		}
		position := func() time.Time {
			time.Sleep(2 * positionInterval)
			return all.state(t, f.owner.Key).Position
		}
		pass(time.Hour)
		takes = 10 * time.Minute
		first := deliver() // meanwhile two more are published
		takes = 0
		deliver()
		if got := position(); got.After(first.Add(time.Minute)) {
			t.Errorf("the position is %v after the first of the queue came, whose last is not here", got.Sub(first))
		}
		deliver()
		pass(time.Minute)
		if last := deliver(); !position().Equal(last) {
			t.Errorf("after a quiet minute the position is %v, want the arrival of the last message %v", position(), last)
		}
	})
}
