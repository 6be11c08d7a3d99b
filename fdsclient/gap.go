package fdsclient

import (
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// Gaps says how Run makes good what an outage may have lost. No broker says
// reliably that it has lost something (Mosquitto reports a session as present
// after its queue's limit dropped messages), so outages open a gap: from the
// position, up to which all messages were handled, to the provider's time once the
// owner is subscribed again. It is removed when what it may lack was fetched from
// the Web API's events and statuses and handed to the handler, as messages of
// delivery.FromBackfill. Live messages wait for that, up to Wait; before they flow
// while the gap is open it is stored, so that a process that dies in between begins
// again.
//
// What Push.Topics does not name is not handed over. Where they name some topics
// only, Provider.Dialect.EventTopic and StatusTopic say on which an item was
// published; without them nothing is fetched and the gap stays open with an error.
// An item that lacks a member that these name is left out, which the log warns of, and
// the gap closes all the same.
//
// A connection that was made anew for another certificate, and whose session the
// broker kept, is no outage. After a restart with a kept session the events alone are
// looked through, and only when one of them was not handled, or they cannot be read,
// is there a gap that hooks and log are told of. Statuses that were dropped from a
// session's queue while no event was are not noticed then.
//
// Provider.Dialect says how much is fetched: with FromParameter, what is dated in
// the gap; without, the whole collection is read, and what TimeMember dates
// outside of the gap is left out; without that too, everything is handed over.
// An item that has no date is always handed over, unless its ID is known. What has
// several pages is read twice, since pages shift when an item goes meanwhile.
//
// A status that was fetched may come after a newer one that was pushed meanwhile:
// where statuses are dated, the later date counts.
type Gaps struct {
	// Margin is how far before the position a gap begins, and how far after its end
	// an item may be dated that is fetched for it: clocks differ, and events may be
	// dated before they are published. Default 1 minute, at most a day.
	Margin time.Duration
	// Wait is how long an owner's live messages wait, unacknowledged, for the
	// backfill. Then they flow, and the gap stays open, is reported, and retried.
	// Default 30 s, at most an hour.
	Wait time.Duration
	// Concurrent is how many owners' backfills read from the Web API at once;
	// default 16. One that waits for its handler for over 5 s does not count.
	Concurrent int
	// Retry spaces the attempts to close a gap: Initial, default 2 s, and Max,
	// default 5 minutes. The rest is not used. What the handler fails on ends an attempt and
	// comes again with the next one; after one that got further the delays begin anew.
	Retry push.Backoff
	// DropDuplicates leaves out messages of the connection that are known to have been
	// handled: events by the ID that Provider.Dialect names, all else when it has a date,
	// is equal to the byte, and nothing else of its device or topic was handled since. By
	// default they are handed over with Duplicate set. What is fetched and known in that
	// way is always left out. Known are the last 200 messages of an owner, also those of
	// an earlier process but for its last second if it was killed (where ten thousand owners
	// have some at once for the 5 s, or more, that Config.State takes for them), and up to 8192
	// while a gap is open and for Margin after it.
	DropDuplicates bool
	// Off: no outage opens a gap, and nothing is fetched. What a broker has lost stays lost.
	Off bool
	// TrustSession: an outage over which the broker says that it kept the session opens no
	// gap. What the broker dropped meanwhile, as from a full queue, stays lost.
	TrustSession bool
}

func (g *Gaps) complete(faults *fds.ConfigError) {
	duration := func(name string, value *time.Duration, standard, most time.Duration) {
		switch {
		case *value == 0:
			*value = standard
		case *value < 0 || *value > most:
			faults.Add("Gaps."+name, fmt.Sprintf("it must lie between 0, for the default, and %v", most), "is %v", *value)
		}
	}
	const day = 24 * time.Hour
	duration("Margin", &g.Margin, time.Minute, day)
	duration("Wait", &g.Wait, 30*time.Second, time.Hour)
	duration("Retry.Initial", &g.Retry.Initial, 2*time.Second, day)
	duration("Retry.Max", &g.Retry.Max, max(5*time.Minute, g.Retry.Initial), day)
	if g.Concurrent == 0 {
		g.Concurrent = 16
	}
	if g.Concurrent < 0 {
		faults.Add("Gaps.Concurrent", "it must be positive, or 0 for the default", "is %d", g.Concurrent)
	}
}

// Gap is a span of time of which messages may have been lost.
type Gap struct {
	From   time.Time `json:"from,omitzero"` // zero: unknown, all that there is may be missing
	To     time.Time `json:"to,omitzero"`   // by the provider's clock; zero until it has told its time
	Since  time.Time `json:"since"`         // when it was opened, by this machine's clock
	Reason string    `json:"why"`           // what the last outage was
}

// GapChange is what happened to a gap.
type GapChange string

// What happens to a gap.
const (
	GapOpened  GapChange = "opened"  // by an outage; or found in the store, or wider after another outage
	GapFailing GapChange = "failing" // an attempt to close it failed
	GapClosed  GapChange = "closed"  // all that was missed was handled
)

// GapEvent is told to HookGap.
type GapEvent struct {
	Owner   fds.OwnerKey
	Change  GapChange
	Gap     Gap
	Fetched int       // messages handed over in the last attempt
	Err     error     // why an attempt failed
	RetryAt time.Time // of a failed attempt; zero: the gap cannot be closed until the configuration is another
}

// HookGap is told what happens to owners' gaps. Events of one owner come in order,
// but that a gap is closed may be told after the opening of the next one, whose
// Since is later.
type HookGap interface{ OnGap(GapEvent) }
