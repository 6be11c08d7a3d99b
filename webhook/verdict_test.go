package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

func TestADeliveryGoesByWhatTheHandlerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		var dead []string
		s := inMemory(t, func(c *webhook.Config) {
			c.MaxAttempts = 2
			c.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
				if dead = append(dead, string(m.Payload)); !errors.Is(err, refused) {
					t.Error(err)
				}
				return nil
			}
		})
		var says error
		calls := 0
		s.handle(func(context.Context, delivery.Message) error { calls++; return says })
		for range 10 {
			says = delivery.NotNow(refused)
			if w := s.answer(`{"n":"away"}`); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "10" {
				t.Error(w.Code, w.Header())
			}
		}
		for _, test := range []struct {
			says error
			want string
		}{
			{delivery.RetryAfter(90*time.Second, refused), "90"},
			{&delivery.VerdictError{Verdict: delivery.Unavailable, After: time.Hour + 1, Err: refused}, "3601"},
			{&delivery.VerdictError{Verdict: delivery.Unavailable, After: 1, Err: refused}, "1"},
		} {
			says = test.says
			if w := s.answer(`{"n":"away"}`); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != test.want {
				t.Error(test.says, w.Code, w.Header())
			}
		}
		if says = nil; s.answer(`{"n":"away"}`).Code != http.StatusOK || len(dead) != 0 || calls != 14 {
			t.Error(dead, calls)
		}
		says = delivery.Terminate(refused)
		if w := s.answer(`{"n":"never"}`); w.Code != http.StatusOK || calls != 15 || len(dead) != 1 || dead[0] != `{"n":"never"}` {
			t.Error(w.Code, calls, dead)
		}
	})
}

func TestAHandlerThatIsOutOfTimeForWantOfItsDatabaseHasMadeNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) {
			c.MaxAttempts = 1
			c.DeadLetter = func(context.Context, delivery.Message, error) error { t.Error("a dead letter"); return nil }
		})
		calls := 0
		s.handle(func(ctx context.Context, _ delivery.Message) error {
			if calls++; calls < 4 {
				<-ctx.Done()
				return delivery.NotNow(ctx.Err())
			}
			return nil
		})
		for range 3 {
			if w := s.answer(`{"n":1}`); w.Code != http.StatusServiceUnavailable {
				t.Error(w.Code)
			}
			time.Sleep(time.Minute)
		}
		if w := s.answer(`{"n":1}`); w.Code != http.StatusOK || calls != 4 {
			t.Error(w.Code, calls)
		}
	})
}

func TestTheKindOfADeliveryIsWhatItsItemsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) {
			c.Dialect = fds.Dialect{KindMember: "kind", EventKind: "event", StatusKind: "status", SequenceMember: "n"}
		})
		for _, body := range []string{
			`{"message_id":"a"}`, `{"message_id":"s","device_id":"d","kind":"status","n":1}`, `{"message_id":"s","device_id":"d","kind":"status","n":2}`, `{"kind":"event"}`, `{"n":1}`,
		} {
			if w := s.answer(body); w.Code != http.StatusOK {
				t.Error(w.Code)
			}
		}
		keys := map[string]bool{}
		for i, want := range []delivery.Kind{delivery.KindEvent, delivery.KindStatus, delivery.KindStatus, delivery.KindEvent, delivery.KindUnknown} {
			if i >= len(s.handed()) { // a status has no event's ID, whatever it has
				t.Fatalf("%d of 5 were handed over", len(s.handed()))
			}
			m := s.handed()[i]
			key, has := m.Key()
			if m.Kind != want || has != (i < 3) || has && keys[key] {
				t.Errorf("%s: kind %q, key %q", m.Payload, m.Kind, key)
			}
			keys[key] = true
		}
	})
}

func TestAttackADevicesIDThatIsCalledAnEventsSuppressesNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) {
			c.Dialect = fds.Dialect{DeviceID: "id", MessageID: "id", KindMember: "kind", EventKind: "event"}
		})
		for _, body := range []string{`{"id":"d","kind":"event","n":1}`, `{"id":"d","kind":"event","n":2}`} {
			if w := s.answer(body); w.Code != http.StatusOK {
				t.Error(w.Code)
			}
		}
		if n := len(s.handed()); n != 2 {
			t.Errorf("%d of 2 events of a device were handed over", n)
		}
	})
}
