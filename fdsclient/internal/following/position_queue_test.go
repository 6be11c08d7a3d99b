package following

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

func TestTheFirstMessageOfAKeptSessionDoesNotSayThatItsQueueIsHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []push.Subscribed{{SessionPresent: true}, {SessionPresent: true, Planned: true}} {
			a := pushing(t, func(cfg *config) { cfg.Gaps.TrustSession, cfg.NoAPI = !s.Planned, true })
			f := followed(t, a, new(webAPI), new(handled).handle)
			before := f.position.at
			time.Sleep(3 * time.Hour) // in which the broker queues
			if err := f.Subscribed(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			m := delivery.Message{Owner: f.owner.Key, Topic: f.owner.Key.SubscriptionID.Root().String() + "x", QoS: 1, Payload: []byte(`{"n":1}`), ReceivedAt: time.Now()}
			if err := f.Live(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			f.Acknowledged(m)
			if at := f.position.at; !at.Equal(before) {
				t.Errorf("%+v: the position moved by %v", s, at.Sub(before))
			}
			f.Stop()
		}
	})
}
