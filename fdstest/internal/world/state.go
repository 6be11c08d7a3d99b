package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// State is an owner's part of a world, to be kept. Its fields are for package
// encoding/json.
type State struct {
	Created time.Time
	Made    bool // the sites are made up; without them there is nothing else

	Spaces  []StateItem   `json:",omitempty"`
	Devices []StateDevice `json:",omitempty"`
	Events  []StateItem   `json:",omitempty"`
	Tags    []StateTag    `json:",omitempty"`
}

// StateItem is an item with what requests select it by.
type StateItem struct {
	ID string    `json:",omitempty"`
	At time.Time `json:",omitzero"`
	Of []byte    // its bytes, which RawMessage would not keep as they are
}

// StateDevice is a device.
type StateDevice struct {
	ID, Type                         string
	Kind                             string          `json:",omitempty"` // of Life
	Life                             json.RawMessage `json:",omitempty"` // what it counts
	Held                             bool            `json:",omitempty"`
	Last, StatusAt                   time.Time       `json:",omitzero"`
	Specification, Status, Statistic []byte          `json:",omitempty"`
	Diagnostic                       []byte          `json:",omitempty"`
}

// StateTag is a tag.
type StateTag struct {
	ID             string
	Item, Entities []byte
}

// Changed returns the owners whose state has changed since the last call.
func (w *World) Changed() []fds.SubscriptionID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []fds.SubscriptionID
	for _, o := range w.order {
		if o.changed {
			o.changed = false
			ids = append(ids, o.id)
		}
	}
	return ids
}

// Still runs do while nothing is published.
func (w *World) Still(do func()) {
	w.life.Lock()
	defer w.life.Unlock()
	do()
}

// State returns an owner's state.
func (w *World) State(id fds.SubscriptionID) (State, error) {
	w.mu.Lock() // a reader may be making the owner up
	defer w.mu.Unlock()
	o := w.owners[id]
	if o == nil {
		return State{}, fmt.Errorf("world: state: %w", ErrOwner)
	}
	st := State{Created: o.created, Made: o.random != nil}
	if !st.Made {
		return st, nil
	}
	for _, e := range o.spaces {
		st.Spaces = append(st.Spaces, StateItem{e.id, e.at, e.raw})
	}
	for _, e := range o.events {
		st.Events = append(st.Events, StateItem{e.id, e.at, e.raw})
	}
	for _, t := range o.tags {
		st.Tags = append(st.Tags, StateTag{t.id, t.item, t.entities})
	}
	for _, d := range o.devices {
		kept := StateDevice{
			ID: d.id, Type: d.deviceType, Held: d.held, Last: d.last, StatusAt: d.statusAt,
			Specification: d.specification, Status: d.status, Statistic: d.statistic, Diagnostic: d.diagnostic,
		}
		if d.life != nil {
			kept.Kind, kept.Life = d.life.about().deviceType, mustJSON(d.life)
		}
		st.Devices = append(st.Devices, kept)
	}
	return st, nil
}

// Restore adds an owner as State has told it, in place of AddOwner. What happens from
// then on does not come of Config.Seed: what has happened and is forgotten would come
// again under the same ID.
func (w *World) Restore(id fds.SubscriptionID, name string, st State) error {
	o := newOwner(w.cfg, id, name)
	o.created = st.Created
	if st.Made {
		if err := o.restore(st); err != nil {
			return fmt.Errorf("world: restore owner %s: %w", id, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owners[id] != nil {
		return fmt.Errorf("world: restore owner %s: %w: it is there already", id, ErrOwner)
	}
	o.changed = true
	w.owners[id] = o
	w.order = append(w.order, o)
	return nil
}

func (o *owner) restore(st State) error {
	o.made.Do(func() {})
	o.random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	o.names = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for _, e := range st.Spaces {
		o.spaces = append(o.spaces, entry{e.ID, e.At, e.Of})
	}
	for _, e := range st.Events {
		o.events = append(o.events, entry{e.ID, e.At, e.Of})
	}
	for _, t := range st.Tags {
		if !slices.Contains(t.Item, '}') {
			return errors.New("a tag is no object")
		}
		o.tags = append(o.tags, &tag{t.ID, t.Item, t.Entities})
	}
	for _, kept := range st.Devices {
		d := &device{
			id: kept.ID, deviceType: kept.Type, held: kept.Held, last: kept.Last, statusAt: kept.StatusAt,
			specification: kept.Specification, status: kept.Status, statistic: kept.Statistic, diagnostic: kept.Diagnostic,
		}
		switch kept.Kind {
		case "":
		case typeDispenser:
			d.life = &dispenser{}
		case typeMachine:
			d.life = &machine{}
		case typeCounter:
			d.life = &counter{}
		case typeHandle:
			d.life = &handle{}
		default:
			return fmt.Errorf("device %.64q is of the unknown kind %.64q", kept.ID, kept.Kind)
		}
		if d.life != nil {
			if err := json.Unmarshal(kept.Life, d.life); err != nil {
				return fmt.Errorf("device %.64q: %w", kept.ID, err)
			}
		}
		o.devices = append(o.devices, d)
	}
	return nil
}
