package following

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Devices that report each quarter of an hour, a queue on the provider's side, or a
// gateway whose clock, by which the answers are dated, is ahead of the events'.
func TestEventsThatAreAllDatedLongBeforeTheyShowArePolled(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"by the same clock": 0, "by a clock that is behind that of the answers": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, api, h, id := polled(t, nil), &polledAPI{from: true, ahead: ahead}, new(had), fds.NewSubscriptionID()
				api.event("before", time.Now().Add(-15*time.Minute))
				f := poller(t, all, id, api, h.handle)
				for i := range 6 {
					time.Sleep(3 * time.Minute)
					api.event(fmt.Sprint("event ", i), time.Now().Add(-15*time.Minute))
					time.Sleep(3 * time.Minute)
					expect(t, h, fmt.Sprint("event ", i))
					if i == 3 {
						f.Stop()
						f = poller(t, all, id, api, h.handle)
					}
				}
				f.Stop()
			})
		})
	}
}

func TestAnEventOfTheFutureHidesNothingWhereTheProviderDoesNotTellItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, api, h := polled(t, nil), &polledAPI{from: true, noDate: true}, new(had)
		api.event("of the future", time.Now().Add(24*time.Hour))
		f := poller(t, all, fds.NewSubscriptionID(), api, h.handle)
		defer f.Stop()
		expectLate(t, api, h)
	})
}
