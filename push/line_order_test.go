package push_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

// MQTT 5.0 section 4.6: acknowledgements go out in the order in which the messages
// came, also when the one before the message at work comes again since its
// acknowledgement was lost.
func TestARedeliveryThatJoinsIsAcknowledgedInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			p.publish(1, p.n > 1, "events", `"a"`)
			p.publish(2, p.n > 1, "events", `"b"`)
			if p.n == 1 {
				p.puback(1) // which the broker forgets
				time.Sleep(10 * time.Second)
				return
			}
			time.AfterFunc(time.Second, func() { close(finish) })
			p.puback(1)
			p.puback(2)
			p.stay()
		})
		cfg := b.config()
		cfg.Backoff = push.Backoff{StableAfter: time.Second}
		got := newCollector()
		r := start(t, cfg, func(ctx context.Context, m delivery.Message) error {
			if string(m.Payload) == `"b"` {
				<-finish
			}
			return got.handle(ctx, m)
		})
		got.wait(t, 3)
		r.stop()
	})
}
