package following

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// once fails on each message the first time, and counts what came without being marked.
type once struct {
	seen     map[string]int
	unmarked int // handed over again, and not marked as a duplicate
	marked   int // marked at the first time
}

func (o *once) handle(_ context.Context, m delivery.Message) error {
	n := o.seen[string(m.Payload)]
	o.seen[string(m.Payload)]++
	switch {
	case n == 0:
		if m.Duplicate {
			o.marked++
		}
		return errors.New("not yet")
	case !m.Duplicate:
		o.unmarked++
	}
	return nil
}

func (o *once) check(t *testing.T, messages int) {
	t.Helper()
	if len(o.seen) != messages || o.unmarked > 0 || o.marked > 0 {
		t.Errorf("%d of %d messages; %d came again unmarked, %d were marked at first", len(o.seen), messages, o.unmarked, o.marked)
	}
	for payload, n := range o.seen {
		if n != 2 {
			t.Errorf("%s was handed over %d times", payload, n)
		}
	}
}

func TestAGapWhoseAttemptsGetFurtherIsNotRetriedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pushing(t, func(c *config) { c.Dialect = byDate })
		down := false
		var events []string
		api := withoutStatuses(&down, &events)
		handler := &once{seen: make(map[string]int)}
		f := followed(t, all, api, handler.handle)
		defer f.Stop()
		pass(time.Hour)
		const missed = 40
		for n := range missed {
			events = append(events, dated(fmt.Sprintf("missed %d", n), time.Now()))
		}
		outage(t, f)
		pass(5 * time.Minute) // some 2 s for each message that failed
		if f.open() {
			t.Error("the gap is open still")
		}
		handler.check(t, missed)
	})
}

func TestAPollThatGetsFurtherIsNotRetriedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := &once{seen: make(map[string]int)}
		all, api := polled(t, nil), &polledAPI{from: true}
		f := poller(t, all, fds.NewSubscriptionID(), api, handler.handle)
		defer f.Stop()
		synctest.Wait()
		const fresh = 40
		for n := range fresh {
			api.event(fmt.Sprintf("fresh %d", n), time.Now())
		}
		pass(10 * time.Minute)
		handler.check(t, fresh)
	})
}
