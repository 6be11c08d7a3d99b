package world

import (
	"math/rand/v2"
	"time"
)

var operatingModes = []string{"walk_behind", "ride_on", "stand_on", "canister", "backpack", "upright"}

// machine cleans until its battery is low, and breaks down now and then.
type machine struct {
	Mode    string
	Tank    int // litres
	State   string
	Battery int // permille
	Minutes int // of operation since it was made
	Shift   int // minutes of the shift under way
	Shifts  cycles
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
		Mode:    operatingModes[n%len(operatingModes)],
		Tank:    20 + 10*r.IntN(9),
		State:   idle,
		Battery: 400 + r.IntN(600),
		Minutes: r.IntN(serviceMinutes),
	}
}

func (m *machine) about() about {
	return about{typeMachine, "MOPWORKS", "Mop Works", "Glide 70", "Cleaning machine"}
}

func (m *machine) live(r *rand.Rand, d time.Duration, at time.Time) (bool, []happening) {
	minutes := times(r, 60, d)
	switch m.State {
	case idle:
		if happens(r, 1, d) {
			m.State = cleaning
			m.Shifts.begin(at)
			return true, []happening{{code: codeStarted}}
		}
		return false, nil
	case cleaning:
		m.Minutes += minutes
		m.Shift += minutes
		m.Battery = max(0, m.Battery-5*minutes)
		if happens(r, 0.1, d) {
			m.stop(fault, at)
			return true, []happening{{code: codeFault}}
		}
		if m.Battery <= 150 || happens(r, 0.5, d) {
			next := idle
			if m.Battery <= 400 {
				next = charging
			}
			m.stop(next, at)
			return true, []happening{{code: codeFinished}}
		}
		return minutes > 0, nil
	case charging:
		m.Battery = min(1000, m.Battery+8*minutes)
		if m.Battery == 1000 {
			m.State = idle
		}
		return minutes > 0, nil
	default:
		if happens(r, 0.5, d) {
			m.State = idle
			return true, []happening{{code: codeFaultCleared}}
		}
		return false, nil
	}
}

func (m *machine) stop(next string, at time.Time) {
	m.State = next
	m.Shifts.end(at, m.Shift)
	m.Shift = 0
}

func (m *machine) specification() any { return machineSpecification{m.Mode, m.Tank} }

func (m *machine) status() any { return machineStatus{m.State, percent(m.Battery, 1000), m.Minutes} }

func (m *machine) statistic(from, to time.Time) any {
	s := machineStatistic{Cycles: []minuteCycle{}}
	for _, c := range m.Shifts.between(from, to) {
		s.OperatingMinutes += c.Amount
		s.Cycles = append(s.Cycles, minuteCycle{c.times(), c.Amount})
	}
	return s
}

// diagnostic supposes four hours of operation a day.
func (m *machine) diagnostic(last time.Time) any {
	left := serviceMinutes - m.Minutes%serviceMinutes
	return machineDiagnostic{dateTime(last.Add(time.Duration(left) * time.Minute * 24 / 4))}
}
