package following

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// missedWith loses one event and one status, dated in the middle of an hour by a clock
// that is ahead by so much and written by the layout, and says how often each was
// handed over once the gap is closed. The first attempt fails after its first
// answer.
func missedWith(t *testing.T, layout string, ahead time.Duration, api *webAPI) (event, status int) {
	t.Helper()
	all := pushing(t, func(c *config) {
		c.Dialect = fds.Dialect{TimeMember: "at", TimeLayout: layout}
	})
	var item string
	answers := 0
	api.answer = func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
		if answers++; answers == 2 {
			return 500, ""
		}
		if answers == 1 {
			return 200, "[]"
		}
		return 200, "[" + strings.ReplaceAll(item, "KIND", string(kind)) + "]"
	}
	var got handled
	f := followed(t, all, api, got.handle)
	defer f.Stop()
	time.Sleep(90 * time.Minute)
	f.mu.Lock()
	f.position.at = f.clock(time.Now()) // a message of this moment was handled
	f.mu.Unlock()
	time.Sleep(time.Second)
	item = `{"message_id":"KIND","at":"` + time.Now().Add(ahead).UTC().Format(layout) + `"}`
	time.Sleep(100 * time.Millisecond)
	<-outage(t, f)
	return got.has("events"), got.has("statuses")
}

func TestWhatWasMissedIsHandedOverHoweverCoarseItsDateIs(t *testing.T) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15h", time.DateOnly} {
		synctest.Test(t, func(t *testing.T) {
			if event, status := missedWith(t, layout, 0, new(webAPI)); event != 1 || status != 1 {
				t.Errorf("%s: the event was handed over %d times, the status %d", layout, event, status)
			}
		})
	}
}

// A device, or what dates its messages, may be ahead of the Web API as well as
// behind.
func TestWhatWasMissedIsHandedOverThoughItIsDatedAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if event, status := missedWith(t, time.RFC3339Nano, 30*time.Second, new(webAPI)); event != 1 || status != 1 {
			t.Errorf("the event was handed over %d times, the status %d", event, status)
		}
	})
}

func TestAProviderThatDoesNotTellItsTimeIsNotTakenForOneWithOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if event, status := missedWith(t, time.RFC3339Nano, 10*time.Minute, &webAPI{noDate: true}); event != 1 || status != 1 {
			t.Errorf("the event was handed over %d times, the status %d", event, status)
		}
	})
}
