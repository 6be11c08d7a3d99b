package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

const (
	// MaxEvents bounds the events kept for an owner; the oldest go first.
	MaxEvents = 10_000

	// MaxDevices is how many devices an owner may get in New.
	MaxDevices = 10_000

	// MaxStep bounds one step; a longer one counts as this.
	MaxStep = 30 * 24 * time.Hour

	defaultDevices = 40
	history        = 24 * time.Hour   // what has happened before an owner was added
	slice          = 15 * time.Minute // life is computed in pieces of this
	tickLife       = 20 * time.Minute // what a device lives through in one message of Run
	defaultEvery   = 500 * time.Millisecond
)

// ErrOwner is the class of errors about an owner that the world does not know,
// knows already, or could not know.
var ErrOwner = errors.New("no such owner")

// ErrItem is the class of errors about an item given by hand.
var ErrItem = errors.New("unusable item")

// Config says what a world is like. The zero value is a good one.
type Config struct {
	// Seed decides everything but the dates.
	Seed uint64

	// Now is the clock; default time.Now.
	Now func() time.Time

	// Devices is how many devices an owner gets, MaxDevices at most: 40 by default.
	// A negative number makes owners without spaces and devices, to be filled
	// by hand.
	Devices int

	// NumericIDs has made-up devices be called by numbers.
	NumericIDs bool

	// SubscriptionMember is the member in which every item but event
	// specifications names its owner, below the root with dots; default none.
	// Spelling writes the subscription ID; default in lower case. An item given by
	// hand, or a tag, that has such a member keeps it.
	SubscriptionMember string
	Spelling           func(fds.SubscriptionID) string

	// Alter changes an owner's item before it is read or published, as a fault
	// does; it must not change the bytes that it is given. May be nil.
	Alter func(item json.RawMessage) json.RawMessage

	// Kept is called after a change that a client is about to be answered, with the
	// owner whom it concerns, while nothing is locked. May be nil.
	Kept func(fds.SubscriptionID)

	// RetainStatuses asks for statuses to be published as retained messages.
	RetainStatuses bool

	// Publish takes what is pushed, in order and one call at a time, after the
	// Web API can show it. It must not change payload and must not call methods
	// of World that publish. May be nil.
	Publish func(owner fds.SubscriptionID, levels []string, payload []byte, qos byte, retain bool)
}

// Publication is one pushed message: Levels are the topic's, below the root of
// the owner.
type Publication struct {
	Owner   fds.SubscriptionID
	Levels  []string
	Payload []byte
	QoS     byte
	Retain  bool
}

// World holds the sites of all owners. It is safe for concurrent use.
type World struct {
	cfg Config

	life sync.Mutex // from a change to the end of its publication, so that both have one order
	turn int        // whose turn it is in Run; guarded by life

	mu         sync.RWMutex // everything below, and all owners
	owners     map[fds.SubscriptionID]*owner
	order      []*owner
	eventSpecs []entry
	specsGiven []json.RawMessage // of these, by hand
}

// New makes a world without owners.
func New(cfg Config) *World {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Devices == 0 {
		cfg.Devices = defaultDevices
	}
	if cfg.Spelling == nil {
		cfg.Spelling = fds.SubscriptionID.String
	}
	if cfg.Kept == nil {
		cfg.Kept = func(fds.SubscriptionID) {}
	}
	if cfg.Alter == nil {
		cfg.Alter = func(item json.RawMessage) json.RawMessage { return item }
	}
	return &World{cfg: cfg, owners: make(map[fds.SubscriptionID]*owner), eventSpecs: eventSpecifications()}
}

// AddOwner returns an owner sites with spaces, devices and a day of history. They
// are made up when first needed, so that thousands of silent owners cost little.
// Errors match ErrOwner.
func (w *World) AddOwner(id fds.SubscriptionID, name string) error {
	if id.IsZero() {
		return fmt.Errorf("world: add owner %q: %w: it has no subscription ID", name, ErrOwner)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owners[id] != nil {
		return fmt.Errorf("world: add owner %q: %w: %s is there already", name, ErrOwner, id)
	}
	o := newOwner(w.cfg, id, name)
	o.changed = true
	w.owners[id] = o
	w.order = append(w.order, o)
	return nil
}

// Now reads the world's clock.
func (w *World) Now() time.Time { return w.cfg.Now() }

// Owners returns the subscription IDs of all owners in the order they were added.
func (w *World) Owners() []fds.SubscriptionID {
	w.mu.RLock()
	defer w.mu.RUnlock()
	ids := make([]fds.SubscriptionID, len(w.order))
	for i, o := range w.order {
		ids[i] = o.id
	}
	return ids
}

// Step lets all devices of all owners live through d, publishes what came of
// it, events before the status they led to, and returns it. A device that did
// not change is silent.
func (w *World) Step(d time.Duration) []Publication {
	return w.change(func(now time.Time) []Publication {
		var out []Publication
		for _, o := range w.order {
			o.settle()
			o.changed = true
			for _, dev := range o.devices {
				out = append(out, o.move(dev, min(d, MaxStep), now, false)...)
			}
		}
		return out
	})
}

// Tick moves one device of one owner, taking the owners in turn, and publishes
// its status and what events came of it.
func (w *World) Tick() []Publication {
	return w.change(func(now time.Time) []Publication {
		for range w.order {
			o := w.order[w.turn%len(w.order)]
			w.turn++
			o.settle()
			if dev := o.pick(); dev != nil {
				o.changed = true
				return o.move(dev, tickLife, now, true)
			}
		}
		return nil
	})
}

// Run calls Tick every so often until ctx ends, the first time after at most
// half a second. Without a positive duration it is every half second.
func (w *World) Run(ctx context.Context, every time.Duration) {
	if every <= 0 {
		every = defaultEvery
	}
	timer := time.NewTimer(min(every, defaultEvery))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		w.Tick()
		timer.Reset(every)
	}
}

// change makes one change, which then shows in the Web API, and publishes it.
func (w *World) change(do func(now time.Time) []Publication) []Publication {
	w.life.Lock()
	defer w.life.Unlock()
	w.mu.Lock()
	out := func() []Publication {
		defer w.mu.Unlock()
		return do(w.cfg.Now())
	}()
	for i := range out {
		out[i].Payload = w.cfg.Alter(out[i].Payload)
	}
	if w.cfg.Publish != nil {
		for _, p := range out {
			w.cfg.Publish(p.Owner, p.Levels, p.Payload, p.QoS, p.Retain)
		}
	}
	return out
}
