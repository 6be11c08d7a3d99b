package world

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/google/uuid"
)

// entry is an item as it is served: its bytes, and what requests select by.
type entry struct {
	id  string    // the item's own ID, or for an event the device or space it is about
	at  time.Time // zero when the item has no date-time
	raw json.RawMessage
}

// owner is one resource owner's part of the world. World.mu guards it.
type owner struct {
	id      fds.SubscriptionID
	name    string
	cfg     Config
	created time.Time
	changed bool // since it was last kept

	made   sync.Once
	random *rand.Rand // moves life only
	names  *rand.Rand // names tags, so that requests do not change life

	spaces  []entry
	devices []*device
	events  []entry
	tags    []*tag
}

func newOwner(cfg Config, id fds.SubscriptionID, name string) *owner {
	return &owner{id: id, name: name, cfg: cfg, created: cfg.Now()}
}

// fingerprint tells owners apart, in the seeds and in the IDs of devices.
func (o *owner) fingerprint() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(o.id.String())) // a hash never fails
	return h.Sum64()
}

// settle makes up the owner's sites and past, once.
func (o *owner) settle() {
	o.made.Do(func() {
		o.changed = true
		o.random = rand.New(rand.NewPCG(o.cfg.Seed, o.fingerprint()))
		o.names = rand.New(rand.NewPCG(^o.cfg.Seed, o.fingerprint()))
		if o.cfg.Devices < 0 {
			return
		}
		o.build()
		for i := range o.spaces {
			o.spaces[i].raw = o.named(o.spaces[i].raw)
		}
		for at := o.created.Add(-history + slice); !at.After(o.created); at = at.Add(slice) {
			for _, dev := range o.devices {
				o.live(dev, slice, at)
			}
		}
		for _, dev := range o.devices {
			o.renderStatus(dev)
		}
	})
}

// device returns the device with an ID, or nil.
func (o *owner) device(id string) *device {
	for _, dev := range o.devices {
		if dev.id == id {
			return dev
		}
	}
	return nil
}

// written returns a made-up device's ID as JSON has it.
func (o *owner) written(deviceID string) any {
	switch {
	case deviceID == "":
		return nil
	case o.cfg.NumericIDs:
		return json.Number(deviceID)
	}
	return deviceID
}

// named returns an item as the owner's own.
func (o *owner) named(item json.RawMessage) json.RawMessage {
	if o.cfg.SubscriptionMember == "" {
		return item
	}
	return withMember(item, o.cfg.SubscriptionMember, o.cfg.Spelling(o.id))
}

// pick returns a device that lives, or nil.
func (o *owner) pick() *device {
	var alive []*device
	for _, dev := range o.devices {
		if dev.alive() {
			alive = append(alive, dev)
		}
	}
	if len(alive) == 0 {
		return nil
	}
	return alive[o.random.IntN(len(alive))]
}

// move lets a device live through d and returns what is to be published; always
// asks for its status even if nothing changed.
func (o *owner) move(dev *device, d time.Duration, now time.Time, always bool) []Publication {
	if !dev.alive() || d <= 0 {
		return nil
	}
	changed, events := o.live(dev, d, now)
	var out []Publication
	for _, e := range events {
		if p, ok := o.publication(e); ok {
			out = append(out, p)
		}
	}
	if changed || len(events) > 0 || always {
		o.renderStatus(dev)
		out = append(out, o.statusPublication(dev))
	}
	return out
}

// live moves a device in slices, whose dates are spread from its last move to
// now, and records the events.
func (o *owner) live(dev *device, d time.Duration, now time.Time) (changed bool, events []happening) {
	from := dev.last
	if from.After(now) {
		from = now
	}
	n := int((d + slice - 1) / slice)
	for i := range n {
		at := from.Add(now.Sub(from) / time.Duration(n) * time.Duration(i+1))
		if i == n-1 {
			at = now
		}
		did, happened := dev.life.live(o.random, d/time.Duration(n), at)
		changed = changed || did
		for _, h := range happened {
			if h.spaceID == "" {
				h.deviceID = dev.id
			}
			h.raw = o.named(h.render(newUUID(o.random), at, o.written(h.deviceID)))
			o.remember(entry{id: h.about(), at: at, raw: h.raw})
			events = append(events, h)
		}
	}
	dev.last = now
	return changed, events
}

// remember keeps an event and lets the oldest go.
func (o *owner) remember(e entry) {
	o.events = append(o.events, e)
	if over := len(o.events) - MaxEvents; over > 0 {
		clear(o.events[:over])
		o.events = o.events[over:]
	}
}

// publication is the push message of an event; events about spaces have none.
func (o *owner) publication(h happening) (Publication, bool) {
	if h.deviceID == "" {
		return Publication{}, false
	}
	return Publication{Owner: o.id, Levels: []string{"devices", level(h.deviceID), "events"}, Payload: h.raw, QoS: 1}, true
}

func (o *owner) statusPublication(dev *device) Publication {
	return Publication{Owner: o.id, Levels: []string{"devices", level(dev.id), "status"}, Payload: dev.status, QoS: 1, Retain: o.cfg.RetainStatuses}
}

// level writes an ID as one topic level: what a topic name does not allow there
// (MQTT 5.0 section 4.7), and %, is percent-encoded. The box's own IDs need none
// of it, those given by hand may.
func level(id string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		if c < ' ' || strings.IndexByte("%/+#\x7f", c) >= 0 || c == '$' && i == 0 {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// newUUID makes a UUID of version 4 from a seeded source.
func newUUID(r *rand.Rand) string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(r.Uint64())
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// dateTime writes a point in time as this box does everywhere.
func dateTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// mustJSON is for the box's own structs, which always can be written.
func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("world: a struct of this package cannot be written as JSON: " + err.Error())
	}
	return raw
}
