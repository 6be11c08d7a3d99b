package world

import (
	"math/rand/v2"
	"time"
)

var categories = []string{"toilet_paper", "paper_towel", "cotton_towel", "soap", "lotion", "disinfectant", "room_fragrance"}

// dispenser gives portions away and is refilled some time after it ran low.
type dispenser struct {
	category string
	capacity int     // portions
	left     int     // portions
	perHour  float64 // portions given away
}

type dispenserSpecification struct {
	Category string `json:"category"`
	Capacity int    `json:"capacity"`
}

type dispenserStatus struct {
	FillLevel float64 `json:"fill_level"`
}

type dispenserDiagnostic struct {
	ExpectedEmptyDate string `json:"expected_empty_date"`
}

const lowPercent = 20

func newDispenser(r *rand.Rand, category string) *dispenser {
	capacity := 200 + 50*r.IntN(5)
	return &dispenser{category: category, capacity: capacity, left: capacity - r.IntN(capacity*3/4), perHour: float64(8 + r.IntN(12))}
}

func (d *dispenser) about() about {
	return about{typeDispenser, "SOAPINC", "Soap Inc", "Flow 2", "Dispenser"}
}

func (d *dispenser) live(r *rand.Rand, took time.Duration, _ time.Time) (bool, []happening) {
	var events []happening
	if d.low() && happens(r, 0.4, took) {
		d.left = d.capacity
		return true, append(events, happening{code: codeRefilled})
	}
	wasLow, wasEmpty := d.low(), d.left == 0
	used := min(times(r, d.perHour, took), d.left)
	d.left -= used
	if d.left == 0 && !wasEmpty {
		events = append(events, happening{code: codeEmpty})
	} else if d.low() && !wasLow {
		events = append(events, happening{code: codeLow})
	}
	return used > 0, events
}

func (d *dispenser) low() bool { return d.left*100 <= d.capacity*lowPercent }

func (d *dispenser) specification() any { return dispenserSpecification{d.category, d.capacity} }

func (d *dispenser) status() any { return dispenserStatus{percent(d.left, d.capacity)} }

// statistic: FDS V2 has none for dispensers.
func (d *dispenser) statistic(_, _ time.Time) any { return nil }

func (d *dispenser) diagnostic(last time.Time) any {
	hours := float64(d.left) / d.perHour
	return dispenserDiagnostic{dateTime(last.Add(time.Duration(hours * float64(time.Hour))))}
}
