package following

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

var errRefused = errors.New("refused")

// saying is a handler that says another thing of each event, by its ID.
type saying struct {
	mu    sync.Mutex
	calls map[string][]time.Time
	done  []string
	dead  map[string]time.Time
}

func newSaying() *saying {
	return &saying{calls: make(map[string][]time.Time), dead: make(map[string]time.Time)}
}

func (s *saying) nameOf(m delivery.Message) string {
	for _, name := range []string{"never", "away", "later", "fine"} {
		if strings.Contains(string(m.Payload), name) {
			return name
		}
	}
	return ""
}

func (s *saying) handle(_ context.Context, m delivery.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := s.nameOf(m)
	s.calls[name] = append(s.calls[name], time.Now())
	switch n := len(s.calls[name]); {
	case name == "never":
		return delivery.Terminate(errRefused)
	case name == "away" && n <= 10:
		return delivery.NotNow(errRefused)
	case name == "later" && n == 1:
		return delivery.RetryAfter(24*time.Hour, errRefused)
	}
	s.done = append(s.done, name)
	return nil
}

func (s *saying) bury(_ context.Context, m delivery.Message, err error) error {
	if !errors.Is(err, errRefused) {
		return errors.New("another error than the handler's")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead[s.nameOf(m)] = time.Now()
	return nil
}

func (s *saying) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, dead := s.dead["never"]; !dead || len(s.dead) != 1 || len(s.calls["never"]) != 1 || at != s.calls["never"][0] {
		t.Errorf("dead letters %v, called at %v", s.dead, s.calls["never"])
	}
	if len(s.calls["away"]) != 11 {
		t.Errorf("what had to wait for the database was tried %d times", len(s.calls["away"]))
	}
	if later := s.calls["later"]; len(later) != 2 || later[1].Sub(later[0]) < 24*time.Hour || later[1].Sub(later[0]) > 25*time.Hour {
		t.Errorf("called again at %v", later)
	}
	if got := strings.Join(s.done, " "); got != "away later fine" {
		t.Errorf("done: %s", got)
	}
}

func TestWhatIsFilledInGoesByWhatItsHandlerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSaying()
		all := pushing(t, func(c *config) {
			c.Dialect, c.MaxAttempts, c.DeadLetter = byDate, 2, s.bury
		})
		var events []string
		for _, name := range []string{"never", "away", "later", "fine"} {
			events = append(events, dated(name, time.Now()))
		}
		api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
			if kind == pull.Events {
				return 200, "[" + strings.Join(events, ",") + "]"
			}
			return 200, "[]"
		}}
		f := followed(t, all, api, s.handle)
		defer f.Stop()
		outage(t, f)
		pass(2 * time.Hour)
		s.mu.Lock()
		calls := len(s.calls["later"])
		s.mu.Unlock()
		if calls != 1 || !f.open() {
			t.Fatalf("called %d times; the gap is open: %v", calls, f.open())
		}
		closed := outage(t, f) // which does not hurry it
		<-closed
		s.check(t)
	})
}

func TestWhatIsPolledGoesByWhatItsHandlerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSaying()
		all := polled(t, func(c *config) { c.MaxAttempts, c.DeadLetter = 2, s.bury })
		api := &polledAPI{from: true}
		f := poller(t, all, fds.NewSubscriptionID(), api, s.handle)
		defer f.Stop()
		synctest.Wait()
		for _, name := range []string{"never", "away", "later", "fine"} {
			api.event(name, time.Now())
		}
		pass(26 * time.Hour)
		s.check(t)
	})
}
