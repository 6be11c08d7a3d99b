package world

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// head is what the world reads of an item given by hand.
type head struct {
	DeviceID ident  `json:"device_id"`
	SpaceID  ident  `json:"space_id"`
	TagID    string `json:"tag_id"`
	Code     ident  `json:"code"`
	DateTime string `json:"date_time"`
	Generic  struct {
		DeviceType string `json:"device_type"`
		DeviceID   ident  `json:"device_id"`
		SpaceID    ident  `json:"space_id"`
		DateTime   string `json:"date_time"`
	} `json:"generic"`
}

// ident is an ID, a string or the text of a number; else it is empty.
type ident string

func (i *ident) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		*i = ident(text)
	} else if c := raw[0]; c == '-' || '0' <= c && c <= '9' {
		*i = ident(raw)
	}
	return nil
}

// readHead takes any JSON object; members of other kinds than the world's own
// count as missing.
func readHead(raw []byte) (head, error) {
	var h head
	if !json.Valid(raw) {
		return h, fmt.Errorf("%w: it is not valid JSON", ErrItem)
	}
	if bytes.TrimLeft(raw, " \t\r\n")[0] != '{' {
		return h, fmt.Errorf("%w: it is not a JSON object", ErrItem)
	}
	err := json.Unmarshal(raw, &h)
	var kind *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &kind) {
		return h, fmt.Errorf("%w: %w", ErrItem, err)
	}
	return h, nil
}

// at returns the item's date-time, or now.
func (h head) at(now time.Time) time.Time {
	for _, s := range []string{h.Generic.DateTime, h.DateTime} {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t
		}
	}
	return now
}

func firstOf[T ~string](values ...T) string {
	for _, v := range values {
		if v != "" {
			return string(v)
		}
	}
	return ""
}

// byHand makes a change to one owner with a copy of raw.
func (w *World) byHand(what string, id fds.SubscriptionID, raw []byte, do func(o *owner, h head, raw json.RawMessage, now time.Time) ([]Publication, error)) error {
	h, err := readHead(raw)
	if err != nil {
		return fmt.Errorf("world: %s: %w", what, err)
	}
	w.change(func(now time.Time) []Publication {
		o := w.owners[id]
		if o == nil {
			err = fmt.Errorf("world: %s: %w: %s", what, ErrOwner, id)
			return nil
		}
		o.settle()
		o.changed = true
		var out []Publication
		if out, err = do(o, h, o.named(bytes.Clone(raw)), now); err != nil {
			err = fmt.Errorf("world: %s: %w", what, err)
		}
		return out
	})
	return err
}

// AddDevice adds the specification of a device, or replaces it. The ID is
// device_id at the root. A device given by hand does nothing by itself; one that
// is replaced keeps its last status. Nothing is published.
//
// This and the following methods serve the bytes exactly as given, white space,
// spelling and duplicate members included, but for Config.SubscriptionMember where
// that is missing. Their errors match ErrOwner or ErrItem.
func (w *World) AddDevice(id fds.SubscriptionID, raw []byte) error {
	return w.byHand("add device", id, raw, func(o *owner, h head, raw json.RawMessage, _ time.Time) ([]Publication, error) {
		if h.DeviceID == "" {
			return nil, fmt.Errorf("%w: it has no device_id", ErrItem)
		}
		dev := o.device(string(h.DeviceID))
		if dev == nil {
			dev = &device{id: string(h.DeviceID)}
			o.devices = append(o.devices, dev)
		}
		dev.specification, dev.deviceType, dev.life = raw, h.Generic.DeviceType, nil
		return nil, nil
	})
}

// SetStatus sets the status of a device that is there, and publishes it. From
// then on the device's life stands still. The date-time is generic.date_time or
// date_time, else now.
func (w *World) SetStatus(id fds.SubscriptionID, raw []byte) error {
	return w.onDevice("set status", id, raw, func(o *owner, dev *device, raw json.RawMessage, at time.Time) []Publication {
		dev.status, dev.statusAt, dev.held = raw, at, true
		return []Publication{o.statusPublication(dev)}
	})
}

// SetStatistic sets what a device that is there tells as its statistic, whatever
// the time range asked for.
func (w *World) SetStatistic(id fds.SubscriptionID, raw []byte) error {
	return w.onDevice("set statistic", id, raw, func(_ *owner, dev *device, raw json.RawMessage, _ time.Time) []Publication {
		dev.statistic = raw
		return nil
	})
}

// SetDiagnostic sets what a device that is there tells as its diagnostic.
func (w *World) SetDiagnostic(id fds.SubscriptionID, raw []byte) error {
	return w.onDevice("set diagnostic", id, raw, func(_ *owner, dev *device, raw json.RawMessage, _ time.Time) []Publication {
		dev.diagnostic = raw
		return nil
	})
}

func (w *World) onDevice(what string, id fds.SubscriptionID, raw []byte, do func(o *owner, dev *device, raw json.RawMessage, at time.Time) []Publication) error {
	return w.byHand(what, id, raw, func(o *owner, h head, raw json.RawMessage, now time.Time) ([]Publication, error) {
		dev := o.device(string(h.DeviceID))
		if dev == nil {
			return nil, fmt.Errorf("%w: its device_id %.64q is no device of this owner; add the device first", ErrItem, h.DeviceID)
		}
		return do(o, dev, raw, h.at(now)), nil
	})
}

// AddSpace adds a space, or replaces it. The ID is space_id at the root.
func (w *World) AddSpace(id fds.SubscriptionID, raw []byte) error {
	return w.byHand("add space", id, raw, func(o *owner, h head, raw json.RawMessage, _ time.Time) ([]Publication, error) {
		if h.SpaceID == "" {
			return nil, fmt.Errorf("%w: it has no space_id", ErrItem)
		}
		o.spaces = put(o.spaces, entry{id: string(h.SpaceID), raw: raw})
		return nil, nil
	})
}

// AddEvent appends an event to the history, also when one with its message_id is
// there already, and publishes it at devices/<device_id>/events, or where it names none
// at spaces/<space_id>/events or events. What it is about is generic.device_id or
// device_id, else space_id alike; without any it is listed only when no IDs are asked
// for. The date-time is as for SetStatus; the history
// stays in the order of adding.
func (w *World) AddEvent(id fds.SubscriptionID, raw []byte) error {
	return w.byHand("add event", id, raw, func(o *owner, h head, raw json.RawMessage, now time.Time) ([]Publication, error) {
		event := happening{deviceID: firstOf(h.Generic.DeviceID, h.DeviceID), raw: raw}
		if event.deviceID == "" {
			event.spaceID = firstOf(h.Generic.SpaceID, h.SpaceID)
		}
		o.remember(entry{id: event.about(), at: h.at(now), raw: raw})
		if p, ok := o.publication(event); ok {
			return []Publication{p}, nil
		}
		levels := []string{"events"}
		if event.spaceID != "" {
			levels = []string{"spaces", level(event.spaceID), "events"}
		}
		return []Publication{{Owner: o.id, Levels: levels, Payload: event.raw, QoS: 1}}, nil
	})
}

// AddEventSpecification adds an event specification, or replaces it, for all
// owners. The ID is code at the root.
func (w *World) AddEventSpecification(raw []byte) error {
	h, err := readHead(raw)
	if err == nil && h.Code == "" {
		err = fmt.Errorf("%w: it has no code", ErrItem)
	}
	if err != nil {
		return fmt.Errorf("world: add event specification: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.eventSpecs = put(w.eventSpecs, entry{id: string(h.Code), raw: bytes.Clone(raw)})
	w.specsGiven = append(w.specsGiven, bytes.Clone(raw))
	return nil
}

// EventSpecifications returns those that were given by hand, in their order.
func (w *World) EventSpecifications() []json.RawMessage {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.Clone(w.specsGiven)
}

// put replaces the entry with e's ID, or appends e.
func put(entries []entry, e entry) []entry {
	if i := slices.IndexFunc(entries, func(have entry) bool { return have.id == e.id }); i >= 0 {
		entries[i] = e
		return entries
	}
	return append(entries, e)
}
