package grants

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// TestAGrantMovesAsItsTableSays tries every move in every phase.
func TestAGrantMovesAsItsTableSays(t *testing.T) {
	now := time.Now()
	passing, final := fds.ErrUnavailable, fds.ErrSignInRequired
	moves := []struct {
		name string
		move func(state) state
	}{
		{"renewed", func(s state) state { return s.renewed(&credential{due: now.Add(time.Hour)}) }},
		{"failed", func(s state) state { return s.failed(passing, now, now.Add(time.Minute)) }},
		{"refused", func(s state) state { return s.refused(final, now.Add(time.Minute), now.Add(time.Hour)) }},
		{"ended", func(s state) state { return s.ended(ErrSignedOut) }},
		{"signedIn", func(s state) state { return s.signedIn(&credential{due: now.Add(time.Hour)}) }},
	}
	starts := []state{
		{},
		state{}.signedIn(&credential{}),
		state{}.signedIn(&credential{}).failed(passing, now.Add(-time.Hour), now),
		state{}.refused(final, now, now),
		state{}.ended(ErrSignedOut),
	}
	want := map[string][]Phase{ // from Unread, Fresh, Failing, Lapsed and Gone, in which no renewal begins
		"renewed":  {Fresh, Fresh, Fresh, Fresh},
		"failed":   {Failing, Failing, Failing, Lapsed},
		"refused":  {Lapsed, Lapsed, Lapsed, Lapsed},
		"ended":    {Gone, Gone, Gone, Gone, Gone},
		"signedIn": {Fresh, Fresh, Fresh, Fresh, Fresh},
	}
	for _, m := range moves {
		for i, from := range starts[:len(want[m.name])] {
			from.unsaved = new(pending)
			to := m.move(from)
			fail := func(format string, args ...any) {
				t.Errorf("%s in phase %d: %s", m.name, from.Phase, fmt.Sprintf(format, args...))
			}
			if to.Phase != want[m.name][i] {
				fail("phase %d, want %d", to.Phase, want[m.name][i])
			}
			if kept, wanted := to.unsaved != nil, m.name != "ended" && m.name != "signedIn"; kept != wanted {
				fail("what was not saved is kept: %v", kept)
			}
			at, ever := to.due()
			refusal := to.mayRenew(now)
			switch to.Phase {
			case Fresh:
				if to.credential == nil || to.Err != nil || refusal != nil || !at.Equal(now.Add(time.Hour)) {
					fail("%+v", to)
				}
			case Failing:
				if (to.credential != nil) != (from.credential != nil) || !errors.Is(refusal, passing) || !at.Equal(now.Add(time.Minute)) {
					fail("%+v", to)
				}
				since := now
				if from.Phase == Failing {
					since = now.Add(-time.Hour)
				}
				if !to.Since.Equal(since) {
					fail("failing since %v", to.Since)
				}
			case Lapsed:
				if to.credential != nil || !errors.Is(refusal, final) || to.mayRenew(now.Add(2*time.Minute)) != nil || at.Before(now.Add(time.Minute)) {
					fail("%+v", to)
				}
			case Gone:
				if to.credential != nil || ever || !errors.Is(to.mayRenew(now.Add(time.Hour)), fds.ErrNoOwner) {
					fail("%+v", to)
				}
			}
		}
	}
}
