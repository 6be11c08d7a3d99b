package push_test

import (
	"context"
	"runtime"
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

// Whoever was to be acknowledged on the connection of the redelivery is not: that one ends, and
// the broker sends the message once more.
func TestAMessageThatIsGivenUpAfterItsRedeliveryJoinedComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, finish, acknowledged := make(chan struct{}), make(chan struct{}), make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			p.publish(1, p.n > 1, "events", `"a"`)
			switch p.n {
			case 1:
				<-began
			case 2:
				time.AfterFunc(time.Second, func() { close(finish) })
				if packet := p.next(); packet != nil {
					p.fatal("got %v, want the end of the connection", packet)
				}
			default:
				p.puback(1)
				close(acknowledged)
				p.stay()
			}
		})
		calls := 0
		r := start(t, b.config(), func(context.Context, delivery.Message) error {
			if calls++; calls == 1 {
				close(began)
				<-finish
				runtime.Goexit()
			}
			return nil
		})
		<-acknowledged
		if calls != 2 {
			t.Errorf("handed over %d times", calls)
		}
		r.stop()
	})
}

// Once its redelivery is acknowledged, a message is done with: what comes under its number then
// is another one, also when it is the same and marked as a duplicate.
func TestAfterTheAcknowledgementOfARedeliveryNothingJoinsItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, finish, acknowledged := make(chan struct{}), make(chan struct{}), make(chan struct{})
		b := newScripted(t, func(p *peer) {
			p.accept(p.n > 1)
			p.publish(1, p.n > 1, "events", `"a"`)
			if p.n == 1 {
				<-began
				return
			}
			time.AfterFunc(time.Second, func() { close(finish) })
			p.puback(1)
			synctest.Wait()
			p.publish(1, true, "events", `"a"`)
			p.puback(1)
			close(acknowledged)
			p.stay()
		})
		calls := 0
		r := start(t, b.config(), func(context.Context, delivery.Message) error {
			if calls++; calls == 1 {
				close(began)
				<-finish
			}
			return nil
		})
		<-acknowledged
		if calls != 2 {
			t.Errorf("handed over %d times", calls)
		}
		r.stop()
	})
}
