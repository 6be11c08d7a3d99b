package fdsclient

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

// Gaps says how Run makes good what an outage may have lost. No broker says
// reliably that it has lost something (Mosquitto reports a session as present
// after its queue's limit dropped messages), so every outage opens a gap: from
// the position, up to which all messages were handled, to the provider's time
// once the owner is subscribed again. The gap is stored before live messages flow,
// and removed when what it may lack was fetched from the Web API's events and
// statuses and handed to the handler, as messages of delivery.FromBackfill. A process
// that dies in between begins again.
//
// Provider.Dialect says how much is fetched: with FromParameter, what is dated in
// the gap; without, the whole collection is read, and what TimeMember dates
// outside of the gap is left out; without that too, everything is handed over.
// An item that has no date is always handed over.
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
	// default 5 minutes. The rest is not used.
	Retry push.Backoff
	// DropDuplicates leaves out what is known to have been handled: events by the
	// ID that Provider.Dialect names, all else when it has a date, is equal to the
	// byte, and nothing else of its device or topic was handled since. By default it
	// is handed over with Duplicate set. Known are the last 200 messages of an owner,
	// and up to 8192 while a gap is open and for Margin after it; what an earlier
	// process handled is not.
	DropDuplicates bool
}

func (g *Gaps) complete(fault func(string, ...any)) {
	duration := func(name string, value *time.Duration, standard, most time.Duration) {
		switch {
		case *value == 0:
			*value = standard
		case *value < 0 || *value > most:
			fault("Push.Gaps.%s is %v; it must lie between 0, for the default, and %v", name, *value, most)
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
		fault("Push.Gaps.Concurrent is %d; it must be positive, or 0 for the default", g.Concurrent)
	}
}

// asWritten gives a time as the dialect's layout can say it, where that is earlier:
// an item of that moment is dated so.
func asWritten(dialect fds.Dialect, t time.Time) time.Time {
	if back, err := time.Parse(dialect.TimeLayout, t.UTC().Format(dialect.TimeLayout)); err == nil && back.Before(t) {
		return back
	}
	return t
}

// Gap is a span of time of which messages may have been lost.
type Gap struct {
	From  time.Time `json:"from,omitzero"` // zero: unknown, all that there is may be missing
	To    time.Time `json:"to,omitzero"`   // by the provider's clock; zero until it has told its time
	Since time.Time `json:"since"`         // when it was opened, by this machine's clock
	Why   string    `json:"why"`           // what the last outage was
}

// GapChange is what happened to a gap.
type GapChange string

// What happens to a gap.
const (
	GapOpened  GapChange = "opened"  // stored; or found in the store, or wider after another outage
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

var gapLines = map[GapChange]string{
	GapOpened:  "messages may have been lost; what was missed is being fetched",
	GapFailing: "what was missed cannot be fetched",
	GapClosed:  "what was missed is fetched",
}

func (c *Client) gapChanged(e GapEvent) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("subscription", e.Owner.SubscriptionID.String()),
		slog.String("why", e.Gap.Why),
	}
	for name, at := range map[string]time.Time{"from": e.Gap.From, "to": e.Gap.To, "retry_at": e.RetryAt} {
		if !at.IsZero() {
			attrs = append(attrs, slog.Time(name, at))
		}
	}
	if e.Change != GapOpened {
		attrs = append(attrs, slog.Int("fetched", e.Fetched))
	}
	if e.Change != GapClosed {
		level = slog.LevelWarn
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	c.log.LogAttrs(context.Background(), level, gapLines[e.Change], attrs...)
	tell(c, func(h HookGap) { h.OnGap(e) })
}

const maxWhyBytes = 256

// whyGap words an outage.
func whyGap(s push.Subscribed) string {
	session := "the broker had not kept the session"
	if s.SessionPresent {
		session = "the broker says it had kept the session"
	}
	cause := "first connection of this run"
	if s.Last != nil {
		if cause = s.Last.Error(); len(cause) > maxWhyBytes {
			cause = strings.ToValidUTF8(cause[:maxWhyBytes], "")
		}
	}
	return fmt.Sprintf("%s; %s", cause, session)
}
