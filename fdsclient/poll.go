package fdsclient

import (
	"cmp"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Poll has Run read the owners' events and statuses from the Web API at an
// interval, for a provider without a broker: what is new since the last read goes
// to the same handler, as messages of delivery.FromPoll, in the order of the lists and
// one at a time per owner. What the handler fails on ends the read and comes again
// with the next one; Push.MaxAttempts and Push.DeadLetter hold. Gaps.Concurrent
// bounds the owners that are read at once, Pull.Limit the requests.
//
// New is what the last read did not hold: an event whose ID, which
// Dialect.MessageID names, or else whose bytes are others; a status whose bytes
// are. Which those are, Config.State remembers, so a restart neither misses nor repeats
// anything; after a crash what was handled since the last save, within a second, and what
// was in hand may come again. While that store fails nothing more is handed over. At an
// owner's first read all statuses are handed over, and no event but those dated since it
// was first tried, should that have failed for a while: before, there was nobody to
// receive them. With Dialect.FromParameter events are asked for from the date of the last
// one that came, or else of its read, less Margin; without, the whole collection is read,
// which costs one HTTP 304 as long as nothing has changed and the provider has entity
// tags. Push.Topics bounds what is handed over, as Gaps says.
type Poll struct {
	// Interval is the time from a read to the next one, give or take a tenth, so that
	// owners do not come together. 0: no polling; at least 1 second, at most 30 days.
	Interval time.Duration
	// Margin is how long before one that the provider has shown an event may be dated
	// that it shows only later. Default 5 minutes, at most 30 days.
	Margin time.Duration
}

func (p *Poll) complete(provider *Provider, faults *fds.ConfigError) {
	p.Margin = cmp.Or(p.Margin, 5*time.Minute)
	const most = 30 * 24 * time.Hour
	switch {
	case p.Interval == 0:
		return
	case p.Interval < time.Second:
		faults.Add("Poll.Interval", "it must be at least 1s, or 0 for no polling", "is %v", p.Interval)
	case p.Interval > most:
		faults.Add("Poll.Interval", "it must be at most 720h", "is %v", p.Interval)
	case provider.BrokerURL != "":
		faults.Add("Poll.Interval", "a provider with a broker pushes: take one of the two away", "is set, and a broker too").Other = "Provider.BrokerURL"
	case provider.APIURL == "":
		faults.Add("Poll.Interval", "give the URL of the Web API too", "is set, and nothing to read from").Other = "Provider.APIURL"
	}
	if p.Margin < 0 || p.Margin > most {
		faults.Add("Poll.Margin", "it must lie between 0, for the default, and 720h", "is %v", p.Margin)
	}
}

// PollEvent is one read of an owner's lists, told to HookPoll.
type PollEvent struct {
	Owner            fds.OwnerKey
	Events, Statuses int       // handed over
	Err              error     // why the read ended early; nil: all was read
	NextAt           time.Time // when the next one begins
}

// HookPoll is told of each read in poll mode.
type HookPoll interface{ OnPoll(PollEvent) }
