package world

import (
	"math/rand/v2"
	"time"
)

var operatingModes = []string{"walk_behind", "ride_on", "stand_on", "canister", "backpack", "upright"}

// machine cleans until its battery is low, and breaks down now and then.
type machine struct {
	mode    string
	tank    int // litres
	state   string
	battery int // permille
	minutes int // of operation since it was made
	shift   int // minutes of the shift under way
	shifts  cycles
}

const (
	idle     = "idle"
	cleaning = "cleaning"
	charging = "charging"
	fault    = "fault"

	serviceMinutes = 500 * 60 // of operation between two services
)

type machineSpecification struct {
	OperatingMode string `json:"operating_mode"`
	TankCapacity  int    `json:"tank_capacity"`
}

type machineStatus struct {
	State            string  `json:"state"`
	BatteryLevel     float64 `json:"battery_level"`
	OperatingMinutes int     `json:"operating_minutes"`
}

type machineDiagnostic struct {
	NextServiceDate string `json:"next_service_date"`
}

type machineStatistic struct {
	OperatingMinutes int           `json:"operating_minutes"`
	Cycles           []minuteCycle `json:"cycles"`
}

type minuteCycle struct {
	cycleTimes
	Minutes int `json:"minutes"`
}

func newMachine(r *rand.Rand, n int) *machine {
	return &machine{
		mode:    operatingModes[n%len(operatingModes)],
		tank:    20 + 10*r.IntN(9),
		state:   idle,
		battery: 400 + r.IntN(600),
		minutes: r.IntN(serviceMinutes),
	}
}

func (m *machine) about() about {
	return about{typeMachine, "MOPWORKS", "Mop Works", "Glide 70", "Cleaning machine"}
}

func (m *machine) live(r *rand.Rand, d time.Duration, at time.Time) (bool, []happening) {
	minutes := times(r, 60, d)
	switch m.state {
	case idle:
		if happens(r, 1, d) {
			m.state = cleaning
			m.shifts.begin(at)
			return true, []happening{{code: codeStarted}}
		}
		return false, nil
	case cleaning:
		m.minutes += minutes
		m.shift += minutes
		m.battery = max(0, m.battery-5*minutes)
		if happens(r, 0.1, d) {
			m.stop(fault, at)
			return true, []happening{{code: codeFault}}
		}
		if m.battery <= 150 || happens(r, 0.5, d) {
			next := idle
			if m.battery <= 400 {
				next = charging
			}
			m.stop(next, at)
			return true, []happening{{code: codeFinished}}
		}
		return minutes > 0, nil
	case charging:
		m.battery = min(1000, m.battery+8*minutes)
		if m.battery == 1000 {
			m.state = idle
		}
		return minutes > 0, nil
	default:
		if happens(r, 0.5, d) {
			m.state = idle
			return true, []happening{{code: codeFaultCleared}}
		}
		return false, nil
	}
}

func (m *machine) stop(next string, at time.Time) {
	m.state = next
	m.shifts.end(at, m.shift)
	m.shift = 0
}

func (m *machine) specification() any { return machineSpecification{m.mode, m.tank} }

func (m *machine) status() any { return machineStatus{m.state, percent(m.battery, 1000), m.minutes} }

func (m *machine) statistic(from, to time.Time) any {
	s := machineStatistic{Cycles: []minuteCycle{}}
	for _, c := range m.shifts.between(from, to) {
		s.OperatingMinutes += c.amount
		s.Cycles = append(s.Cycles, minuteCycle{c.times(), c.amount})
	}
	return s
}

// diagnostic supposes four hours of operation a day.
func (m *machine) diagnostic(last time.Time) any {
	left := serviceMinutes - m.minutes%serviceMinutes
	return machineDiagnostic{dateTime(last.Add(time.Duration(left) * time.Minute * 24 / 4))}
}
