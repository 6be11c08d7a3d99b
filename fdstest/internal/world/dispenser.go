package world

import (
	"math/rand/v2"
	"time"
)

var categories = []string{"toilet_paper", "paper_towel", "cotton_towel", "soap", "lotion", "disinfectant", "room_fragrance"}

// dispenser gives portions away and is refilled some time after it ran low.
type dispenser struct {
	Category string
	Capacity int     // portions
	Left     int     // portions
	PerHour  float64 // portions given away
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
	return &dispenser{Category: category, Capacity: capacity, Left: capacity - r.IntN(capacity*3/4), PerHour: float64(8 + r.IntN(12))}
}

func (d *dispenser) about() about {
	return about{typeDispenser, "SOAPINC", "Soap Inc", "Flow 2", "Dispenser"}
}

func (d *dispenser) live(r *rand.Rand, took time.Duration, _ time.Time) (bool, []happening) {
	var events []happening
	if d.low() && happens(r, 0.4, took) {
		d.Left = d.Capacity
		return true, append(events, happening{code: codeRefilled})
	}
	wasLow, wasEmpty := d.low(), d.Left == 0
	used := min(times(r, d.PerHour, took), d.Left)
	d.Left -= used
	if d.Left == 0 && !wasEmpty {
		events = append(events, happening{code: codeEmpty})
	} else if d.low() && !wasLow {
		events = append(events, happening{code: codeLow})
	}
	return used > 0, events
}

func (d *dispenser) low() bool { return d.Left*100 <= d.Capacity*lowPercent }

func (d *dispenser) specification() any { return dispenserSpecification{d.Category, d.Capacity} }

func (d *dispenser) status() any { return dispenserStatus{percent(d.Left, d.Capacity)} }

// statistic: FDS V2 has none for dispensers.
func (d *dispenser) statistic(_, _ time.Time) any { return nil }

func (d *dispenser) diagnostic(last time.Time) any {
	hours := float64(d.Left) / d.PerHour
	return dispenserDiagnostic{dateTime(last.Add(time.Duration(hours * float64(time.Hour))))}
}
