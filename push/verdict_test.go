package push_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

// verdictsOf has a handler that is done with every message but those that are told apart by their
// topic, and returns a channel that is closed when it is done with "done".
func verdictsOf(b *scripted, calls map[string]int, says func(topic string, call int) error) (push.Config, delivery.Handler, chan struct{}) {
	done := make(chan struct{})
	cfg := b.config()
	cfg.KeepAlive = 65535 * time.Second // the script has no answer to a ping
	return cfg, func(_ context.Context, m delivery.Message) error {
		topic := m.Levels[0]
		if topic == "done" {
			close(done)
			return nil
		}
		calls[topic]++
		return says(topic, calls[topic])
	}, done
}

func TestAPushedMessageGoesByWhatItsHandlerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for i, topic := range []string{"never", "away", "later", "done"} {
				p.publish(uint16(i+1), false, topic, "{}")
			}
			for i := range 4 {
				p.puback(uint16(i + 1))
			}
			p.stay()
		})
		refused := errors.New("refused")
		began, calls, dead := time.Now(), map[string]int{}, map[string]int{}
		var later time.Time
		cfg, handler, done := verdictsOf(b, calls, func(topic string, call int) error {
			switch {
			case topic == "never":
				return delivery.Terminate(refused)
			case topic == "away" && call <= 20:
				return delivery.NotNow(refused)
			case topic == "later" && call == 1:
				later = time.Now()
				return delivery.RetryAfter(time.Hour, refused)
			case topic == "later" && time.Since(later) != time.Hour:
				t.Errorf("called again after %v", time.Since(later))
			}
			return nil
		})
		cfg.MaxAttempts = 3
		cfg.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
			if dead[m.Levels[0]]++; !errors.Is(err, refused) || time.Since(began) > time.Second {
				t.Errorf("a dead letter after %v: %v", time.Since(began), err)
			}
			return nil
		}
		start(t, cfg, handler)
		<-done
		if calls["never"] != 1 || calls["away"] != 21 || calls["later"] != 2 || len(dead) != 1 || dead["never"] != 1 {
			t.Errorf("calls %v, dead letters %v", calls, dead)
		}
		synctest.Wait()
	})
}

func TestDeadLettersAreForTerminalAloneWithoutMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			for i, topic := range []string{"fails", "never", "done"} {
				p.publish(uint16(i+1), false, topic, "{}")
			}
			for i := range 3 {
				p.puback(uint16(i + 1))
			}
			p.stay()
		})
		calls, dead := map[string]int{}, 0
		cfg, handler, done := verdictsOf(b, calls, func(topic string, call int) error {
			if topic == "never" {
				return delivery.Terminate(nil)
			} else if call < 20 {
				return errors.New("it fails")
			}
			return nil
		})
		cfg.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error {
			if dead++; m.Levels[0] != "never" {
				t.Errorf("%v is dead", m)
			}
			return nil
		}
		start(t, cfg, handler)
		<-done
		if calls["fails"] != 20 || calls["never"] != 1 || dead != 1 {
			t.Errorf("calls %v, %d dead letters", calls, dead)
		}
		synctest.Wait()
	})
}
