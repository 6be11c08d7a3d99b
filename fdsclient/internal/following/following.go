// Package following sees to it that an owner's handler has all that was published: it
// remembers up to where messages were handled, fetches from the Web API what an outage may
// have lost, and polls where there is no broker.
package following

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
)

// Settings are what all followers of a Client share. Every field is set, but where it says
// otherwise.
type Settings struct {
	ClientID string
	Store    statestore.Store
	Dialect  fds.Dialect // with its defaults
	Topics   []string    // below an owner's root: they bound what is fetched, too; see Owner.Topics
	HasAPI   bool        // there is a Web API to fetch from

	Margin       time.Duration // how far before the position a gap begins, and after its end an item may be dated
	Wait         time.Duration // how long live messages wait for a backfill
	Concurrent   int           // owners that are read at once
	RetryInitial time.Duration // between attempts to close a gap
	RetryMax     time.Duration
	GapsOff      bool // no outage opens a gap
	TrustSession bool // nor does one over which the broker kept the session

	DropDuplicates bool // live messages that are known to have been handled are left out

	PollInterval time.Duration // 0: owners are pushed to
	PollMargin   time.Duration

	Log    *slog.Logger
	Gap    func(GapEvent)
	Polled func(PollEvent)
	// Discarded is told of a live message that was not handed over.
	Discarded func(owner fds.OwnerKey, reason error)
}

// Followers are those of a Client's owners.
type Followers struct {
	Settings
	readers   readers
	positions positions
	turns     turns
	selection *selection // by Topics
}

// New returns the followers of a Client: none yet.
func New(s Settings) *Followers {
	a := &Followers{Settings: s, readers: readers{most: s.Concurrent}}
	a.selection = selectionOf(s.Topics, &a.Dialect)
	return a
}

// Owner is who is followed.
type Owner struct {
	Key fds.OwnerKey
	// Topics stand in the place of Settings.Topics for this owner; none: they do not.
	Topics []string
	// Items reads a collection of the owner's own items, and no others: those of which it
	// is not certain have an error that matches fds.ErrOwner in their place.
	Items func(context.Context, pull.Kind, pull.Query) iter.Seq2[fds.Item, error]
}

func (a *Followers) retries() *backoff.Backoff {
	return backoff.New(backoff.Policy{Initial: a.RetryInitial, Max: a.RetryMax, StableAfter: time.Minute})
}

func (a *Followers) pollRetries() *backoff.Backoff {
	return backoff.New(backoff.Policy{Initial: a.RetryInitial, Max: max(a.RetryMax, a.PollInterval), StableAfter: time.Nanosecond})
}

// key names an owner's record of that name.
func (a *Followers) key(owner fds.OwnerKey, name string) statestore.Key {
	return statestore.Key{ClientID: a.ClientID, Owner: owner, Name: name}
}

// Gap is a span of time of which messages may have been lost.
type Gap struct {
	From   time.Time `json:"from,omitzero"` // zero: unknown, all that there is may be missing
	To     time.Time `json:"to,omitzero"`   // by the provider's clock; zero until it has told its time
	Since  time.Time `json:"since"`         // when it was opened, by this machine's clock
	Reason string    `json:"why"`           // what the last outage was
}

// Change is what happened to a gap.
type Change string

// What happens to a gap.
const (
	Opened  Change = "opened"
	Failing Change = "failing"
	Closed  Change = "closed"
)

// GapEvent tells of a gap.
type GapEvent struct {
	Owner   fds.OwnerKey
	Change  Change
	Gap     Gap
	Kept    bool      // the broker says that it kept the session over all of it
	Fetched int       // messages handed over in the last attempt
	Err     error     // why an attempt failed
	RetryAt time.Time // of a failed attempt; zero: there will be none
}

// PollEvent tells of a read of an owner's lists.
type PollEvent struct {
	Owner            fds.OwnerKey
	Events, Statuses int
	Err              error
	NextAt           time.Time
}

// Seen is what can be seen of an owner from outside.
type Seen struct {
	Gap     *Gap      // that is open; nil: none is
	Last    time.Time // when a message was handled last, by this machine's clock; zero: none was in this run
	Failing *delivery.Failing
}

// ownerAttr names the owner in the log.
func ownerAttr(key fds.OwnerKey) slog.Attr { return slog.Any("owner", key) }

// Follow returns the follower of an owner, to be stopped. What the handler is called with
// may be nil when only the broker's session is to be ended. Its fence is asked before each save
// too; whoever made it ends the follower once it forbids something.
func (a *Followers) Follow(ctx context.Context, o Owner, calling *handoff.Settings) *Follower {
	f := &Follower{shared: a, owner: o, began: time.Now(), saving: newBaton(), turn: a.turns.use(o.Key)}
	f.calling, f.selection = calling, a.selection
	if len(o.Topics) > 0 && !slices.Equal(o.Topics, a.Topics) {
		f.selection = selectionOf(o.Topics, &a.Dialect)
	}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := f.load(ctx); err != nil {
		// Filters of an earlier run that are no longer wanted may go on delivering, and
		// everything is fetched anew; that is no reason to deliver nothing.
		a.Log.LogAttrs(ctx, slog.LevelWarn, "an owner's state cannot be read", ownerAttr(o.Key), slog.Any("error", err))
	}
	return f
}

// Filters returns the topic filters that the broker's session may hold.
func (f *Follower) Filters() []string { return slices.Clone(f.stored.Filters) }

// Seen returns what can be seen at this moment.
func (f *Follower) Seen() Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := Seen{Last: f.last}
	open := f.gap.earlier
	if f.gap.phase == holding || f.gap.phase == passing {
		open = f.gap.open
	}
	if open != nil {
		gap := *open
		seen.Gap = &gap
	}
	if f.hand != nil {
		if failing, ok := f.hand.Failing(); ok {
			seen.Failing = &failing
		}
	}
	return seen
}

// wantedKinds are the collections that may hold what an owner would be pushed.
var wantedKinds = []pull.Kind{pull.Events, pull.Statuses}

// message makes one of an item of the Web API.
func (f *Follower) message(source delivery.Source, kind pull.Kind, item fds.Item) *delivery.Message {
	m := &delivery.Message{Owner: f.owner.Key, Source: source, Kind: delivery.KindEvent, ReceivedAt: time.Now(), Payload: item.Raw()}
	if kind == pull.Statuses {
		m.Kind = delivery.KindStatus
	}
	*m = m.In(&f.shared.Dialect)
	return m
}
