package live

import (
	"container/list"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// MaxDevices are shown, at most, and of each an item of MaxItem bytes, besides its messages.
const (
	MaxDevices = 10_000
	MaxItem    = 4 << 10
)

// What else the view keeps, at most.
const (
	maxMessages  = 2000
	maxEvents    = 1000
	maxEntries   = 8 << 20  // bytes of each of the two
	maxHistory   = 50       // messages of a device
	maxHistories = 16 << 20 // bytes of those of all
	maxPoints    = 64       // of a device's sparkline
	maxReadings  = 16       // of a device
	maxNotices   = 200
	rateSeconds  = 60
)

// data is what is shown. It is not safe for concurrent use.
type data struct {
	owners   []Owner
	names    map[fds.OwnerKey]string
	devices  map[deviceKey]*device
	more     int // devices for which there was no room
	messages ring[*entry]
	events   ring[*entry]

	kept  *list.List // of *entry: those that devices have in their histories, the oldest first
	costs int        // of them

	fared  uint64 // how often owners were told of
	placed uint64 // how often devices, and where they are, have changed

	total  uint64
	counts [rateSeconds]int // messages by second, that of now at the end
	second int64
}

type deviceKey struct {
	owner fds.OwnerKey
	id    string
}

// device is what is known of one.
type device struct {
	Device
	key     deviceKey
	last    time.Time // its last message, or else the time of its readings
	point   string    // the name of the reading that points are of
	points  ring[float64]
	history []*list.Element // of data.kept, the oldest first
	event   *entry          // its last
	text    string          // in lower case, for the filter
}

func newData() *data {
	cost := (*entry).cost
	return &data{devices: make(map[deviceKey]*device), kept: list.New(), messages: newRing(maxMessages, maxEntries, cost), events: newRing(maxEvents, maxEntries, cost)}
}

// freeze returns a copy that nothing changes any more.
func (d *data) freeze() *data {
	c := *d
	c.messages, c.events = d.messages.clone(), d.events.clone()
	c.devices = make(map[deviceKey]*device, len(d.devices))
	c.kept = list.New()
	for key, of := range d.devices {
		copied := *of
		copied.points = of.points.clone()
		copied.history = nil
		for _, e := range of.history {
			copied.history = append(copied.history, c.kept.PushBack(e.Value))
		}
		c.devices[key] = &copied
	}
	return &c
}

// add takes a message.
func (d *data) add(e *entry, now time.Time) {
	d.total++
	e.seq = d.total
	d.tick(now)
	d.counts[rateSeconds-1]++
	d.messages.add(e)
	if e.event() && !d.knows(e) {
		d.events.add(e)
	}
	if e.Device == "" {
		return
	}
	of := d.device(deviceKey{e.owner, e.Device})
	if of == nil {
		return
	}
	of.last = e.at
	if e.event() {
		of.event = e
	} else if len(e.Readings) > 0 && !of.Time.After(e.moment()) {
		of.read(e.Readings, e.moment(), e.raw)
	}
	of.history = append(of.history, d.kept.PushBack(e))
	d.costs += e.cost()
	if len(of.history) > maxHistory {
		d.forget(of)
	}
	for d.costs > maxHistories && d.kept.Len() > 1 {
		oldest := d.kept.Front().Value.(*entry)
		d.forget(d.devices[deviceKey{oldest.owner, oldest.Device}])
	}
}

// knows reports whether an event has come before.
func (d *data) knows(e *entry) bool {
	return e.key != "" && slices.ContainsFunc(d.events.all(), func(o *entry) bool { return o.key == e.key && o.owner == e.owner })
}

// moment is the entry's own time, or else when it came.
func (e *entry) moment() time.Time {
	if e.Time.IsZero() {
		return e.at
	}
	return e.Time
}

// forget takes the oldest message out of a device's history.
func (d *data) forget(of *device) {
	oldest := of.history[0]
	of.history[0] = nil
	of.history = of.history[1:]
	d.costs -= oldest.Value.(*entry).cost()
	d.kept.Remove(oldest)
}

// device returns one, which may be new; nil: there is no room.
func (d *data) device(key deviceKey) *device {
	of := d.devices[key]
	if of == nil {
		if len(d.devices) == MaxDevices {
			d.more++
			return nil
		}
		of = &device{key: key, Device: Device{ID: key.id}, points: newRing[float64](maxPoints, 0, nil)}
		of.describe()
		d.devices[key] = of
		d.placed++
	}
	return of
}

// describe makes the text that a filter looks at.
func (of *device) describe() {
	of.text = strings.ToLower(strings.Join(append([]string{of.ID, of.Name, of.Type, of.Room}, of.Place...), " "))
}

// read takes a device's readings, with the item that they are from.
func (of *device) read(readings []Reading, at time.Time, raw []byte) {
	of.Readings, of.Time, of.Raw = readings[:min(len(readings), maxReadings)], at, nil
	if len(raw) <= MaxItem {
		of.Raw = raw
	}
	main, ok := of.main()
	if !ok || !main.Number {
		return
	}
	if main.Name != of.point {
		of.point, of.points = main.Name, newRing[float64](maxPoints, 0, nil)
	}
	of.points.add(main.Value)
}

// main returns the reading that a device is known by: a level, else a number, else the first.
func (of *device) main() (Reading, bool) {
	for _, wanted := range []func(Reading) bool{
		func(r Reading) bool { return r.Level },
		func(r Reading) bool { return r.Number },
		func(Reading) bool { return true },
	} {
		if i := slices.IndexFunc(of.Readings, wanted); i >= 0 {
			return of.Readings[i], true
		}
	}
	return Reading{}, false
}

// list takes an owner's devices as they were read. What messages have said since holds.
func (d *data) list(owner fds.OwnerKey, devices []Device) {
	d.more = 0
	d.placed++
	for _, listed := range devices {
		of := d.device(deviceKey{owner, listed.ID})
		if of == nil {
			continue
		}
		of.Name, of.Type, of.Place, of.Room = listed.Name, listed.Type, listed.Place, listed.Room
		if of.Readings == nil || listed.Time.After(of.Time) {
			of.read(listed.Readings, listed.Time, listed.Raw)
		}
		if of.last.IsZero() {
			of.last = listed.Time
		}
		of.describe()
	}
}

// tick moves the counts of messages on to the second of now.
func (d *data) tick(now time.Time) {
	second := now.Unix()
	switch past := second - d.second; {
	case past <= 0:
	case past >= rateSeconds:
		d.counts = [rateSeconds]int{}
		d.second = second
	default:
		copy(d.counts[:], d.counts[past:])
		clear(d.counts[rateSeconds-past:])
		d.second = second
	}
}

// rate is messages a second, of the last ten whole ones.
func (d *data) rate() float64 {
	const over = 10
	n := 0
	for _, count := range d.counts[rateSeconds-1-over : rateSeconds-1] {
		n += count
	}
	return float64(n) / over
}

// of returns the devices of an owner, or of all, in no order.
func (d *data) of(owner *fds.OwnerKey) []*device {
	list := make([]*device, 0, len(d.devices))
	for of := range maps.Values(d.devices) {
		if owner == nil || of.key.owner == *owner {
			list = append(list, of)
		}
	}
	return list
}

// fare takes how the owners fare.
func (d *data) fare(owners []Owner) {
	names := make(map[fds.OwnerKey]string, len(owners))
	for _, o := range owners {
		names[o.Key] = o.Name
	}
	if !maps.Equal(names, d.names) {
		d.placed++
	}
	d.owners, d.names = owners, names
	d.fared++
}

// name returns that of an owner.
func (d *data) name(key fds.OwnerKey) string {
	if name, ok := d.names[key]; ok {
		return name
	}
	return key.SubscriptionID.String()[:8]
}
