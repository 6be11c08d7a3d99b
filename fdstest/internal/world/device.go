package world

import (
	"encoding/json"
	"math/rand/v2"
	"time"
)

// The types of devices. Only the first string is published by FDS.
const (
	typeDispenser = "dispenser"
	typeMachine   = "cleaning_machine"
	typeCounter   = "people_counter"
	typeHandle    = "smart_handle"
)

// life is what one kind of device does.
type life interface {
	about() about

	// live lets d pass, of which the end is dated at. It reports whether the
	// status is another now, and what happened.
	live(r *rand.Rand, d time.Duration, at time.Time) (changed bool, events []happening)

	specification() any // nil: the type has no specific specification
	status() any
	statistic(from, to time.Time) any // nil: the type has no statistics
	diagnostic(last time.Time) any    // nil: the type has no diagnostics
}

// about is what the generic object tells of a kind of device.
type about struct {
	deviceType, brand, manufacturer, model, name string
}

// device is one device. What was given by hand is served as it is and life
// leaves it alone.
type device struct {
	id, deviceType string
	life           life // nil: it was given by hand and does nothing
	held           bool // its status was set by hand: life stands still
	last           time.Time

	specification         json.RawMessage
	status                json.RawMessage
	statusAt              time.Time
	statistic, diagnostic json.RawMessage // by hand only
}

type statusGeneric struct {
	DeviceType string `json:"device_type"`
	DateTime   string `json:"date_time"`
}

type statisticGeneric struct {
	DeviceType string `json:"device_type"`
	From       string `json:"from"`
	To         string `json:"to"`
}

func (d *device) alive() bool { return d.life != nil && !d.held }

func (o *owner) renderStatus(d *device) {
	d.status = o.named(mustJSON(deviceItem{o.written(d.id), statusGeneric{d.deviceType, dateTime(d.last)}, d.life.status()}))
	d.statusAt = d.last
}

// statisticOf returns the KPIs of a time range, or nil.
func (o *owner) statisticOf(d *device, from, to time.Time) json.RawMessage {
	if d.statistic != nil || d.life == nil {
		return d.statistic
	}
	specific := d.life.statistic(from, to)
	if specific == nil {
		return nil
	}
	return o.named(mustJSON(deviceItem{o.written(d.id), statisticGeneric{d.deviceType, dateTime(from), dateTime(to)}, specific}))
}

// diagnosticOf returns the future state, or nil.
func (o *owner) diagnosticOf(d *device) json.RawMessage {
	if d.diagnostic != nil || d.life == nil {
		return d.diagnostic
	}
	specific := d.life.diagnostic(d.last)
	if specific == nil {
		return nil
	}
	return o.named(mustJSON(deviceItem{o.written(d.id), statusGeneric{d.deviceType, dateTime(d.last)}, specific}))
}

// offers reports whether FDS V2 has this kind of information for this type of
// device; of an unknown type everything is thought possible.
func offers(kind Kind, deviceType string) bool {
	switch kind {
	case Statistics:
		return deviceType != typeDispenser && deviceType != typeHandle
	case Diagnostics:
		return deviceType != typeCounter && deviceType != typeHandle
	}
	return true
}

// times says how often something happened in d that happens about so many times
// an hour.
func times(r *rand.Rand, perHour float64, d time.Duration) int {
	x := perHour * d.Hours() * (0.5 + r.Float64())
	n := int(x)
	if r.Float64() < x-float64(n) {
		n++
	}
	return n
}

// happens reports whether something that happens so many times an hour did in d.
func happens(r *rand.Rand, perHour float64, d time.Duration) bool {
	return r.Float64() < perHour*d.Hours()
}

// percent returns part of whole in percent with one decimal.
func percent(part, whole int) float64 { return float64(part*1000/whole) / 10 }
