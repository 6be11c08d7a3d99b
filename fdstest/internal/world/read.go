package world

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Kind is a kind of information, named as its path in the Web API.
type Kind string

// The kinds of FDS V2.
const (
	Specifications      Kind = "specifications"
	Statuses            Kind = "statuses"
	Statistics          Kind = "statistics"
	Diagnostics         Kind = "diagnostics"
	Spaces              Kind = "spaces"
	Events              Kind = "events"
	EventSpecifications Kind = "event_specifications"
	Tags                Kind = "tag"
)

// ErrNotImplemented says that FDS V2 does not have this kind of information for
// any of the devices asked for, as statistics of dispensers.
var ErrNotImplemented = errors.New("not implemented for these devices")

// Query narrows what is read.
type Query struct {
	// IDs are those of devices, spaces or tags, as the kind has it; of events
	// the device or space they are about; of event specifications the code. An
	// unknown ID, or another owner's, selects nothing. nil means all.
	IDs []string

	// From and To select statuses and events dated from From on and before To,
	// and statistics over that time. A zero time is no bound; statistics are
	// then over the 24 hours before To, or before now.
	From, To time.Time
}

// Read returns the items of some owners, an owner after the other, each list in
// its order: events the oldest first, all else as it was added. Unknown owners
// have nothing. The bytes must not be changed. The error is ErrNotImplemented
// or nil.
func (w *World) Read(owners []fds.SubscriptionID, kind Kind, q Query) ([]json.RawMessage, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	wanted := func(string) bool { return true }
	if q.IDs != nil {
		ids := make(map[string]bool, len(q.IDs))
		for _, id := range q.IDs {
			ids[id] = true
		}
		wanted = func(id string) bool { return ids[id] }
	}
	inRange := func(at time.Time) bool {
		return (q.From.IsZero() || !at.Before(q.From)) && (q.To.IsZero() || at.Before(q.To))
	}

	items := []json.RawMessage{}
	add := func(entries []entry, dated bool) {
		for _, e := range entries {
			if wanted(e.id) && (!dated || inRange(e.at)) {
				items = append(items, e.raw)
			}
		}
	}
	if kind == EventSpecifications {
		add(w.eventSpecs, false)
		return items, nil
	}
	asked, offered := false, false
	for _, o := range w.known(owners) {
		switch kind {
		case Spaces:
			add(o.spaces, false)
		case Events:
			add(o.events, true)
		case Tags:
			add(o.tagEntries(), false)
		default:
			for _, dev := range o.devices {
				if !wanted(dev.id) {
					continue
				}
				asked = true
				raw := o.read(dev, kind, q, w.cfg.Now)
				offered = offered || raw != nil || offers(kind, dev.deviceType)
				if raw != nil && (kind != Statuses || inRange(dev.statusAt)) {
					items = append(items, raw)
				}
			}
		}
	}
	if asked && !offered {
		return nil, ErrNotImplemented
	}
	for i, item := range items {
		items[i] = w.cfg.Alter(item)
	}
	return items, nil
}

// known returns the owners that exist, each once, made up if need be.
func (w *World) known(ids []fds.SubscriptionID) []*owner {
	var found []*owner
	for _, id := range ids {
		if o := w.owners[id]; o != nil && !slices.Contains(found, o) {
			o.settle()
			found = append(found, o)
		}
	}
	return found
}

func (o *owner) read(d *device, kind Kind, q Query, now func() time.Time) json.RawMessage {
	switch kind {
	case Specifications:
		return d.specification
	case Statuses:
		return d.status
	case Diagnostics:
		return o.diagnosticOf(d)
	case Statistics:
		from, to := q.From, q.To
		if to.IsZero() {
			to = now()
		}
		if from.IsZero() {
			from = to.Add(-history)
		}
		return o.statisticOf(d, from, to)
	}
	return nil
}
