package world

import (
	"math/rand/v2"
	"time"
)

var sensorTechnologies = []string{"radar", "time_of_flight", "image", "sonar"}

const (
	cycleMinutes = 15
	busyCount    = 25  // people in one cycle that make an event
	dueVisits    = 200 // visits after which a restroom is due for cleaning
)

// counter counts who enters a restroom, in cycles.
type counter struct {
	Technology string
	SpaceID    string
	PerHour    float64
	Total      int
	Count      int           // in the cycle under way
	Lived      time.Duration // of the cycle under way
	Visits     int           // since the restroom was last due for cleaning
	Past       cycles
}

type counterSpecification struct {
	SensorTechnology string `json:"sensor_technology"`
	CycleMinutes     int    `json:"cycle_minutes"`
}

type counterStatus struct {
	Total int          `json:"total"`
	Cycle currentCycle `json:"cycle"`
}

type currentCycle struct {
	Start    string `json:"start"`
	Sequence int    `json:"sequence"`
	Count    int    `json:"count"`
}

type counterStatistic struct {
	Count  int          `json:"count"`
	Cycles []countCycle `json:"cycles"`
}

type countCycle struct {
	cycleTimes
	Count int `json:"count"`
}

func newCounter(r *rand.Rand, n int, spaceID string, start time.Time) *counter {
	c := &counter{Technology: sensorTechnologies[n%len(sensorTechnologies)], SpaceID: spaceID, PerHour: float64(30 + r.IntN(50))}
	c.Past.begin(start)
	return c
}

func (c *counter) about() about {
	return about{typeCounter, "COUNTCO", "Count Co", "Eye 4", "People counter"}
}

func (c *counter) live(r *rand.Rand, d time.Duration, at time.Time) (bool, []happening) {
	var events []happening
	n := times(r, c.PerHour, d)
	c.Total += n
	c.Count += n
	c.Visits += n
	c.Lived += d
	if c.Visits >= dueVisits {
		c.Visits = 0
		events = append(events, happening{code: codeCleaningDue, spaceID: c.SpaceID})
	}
	closed := c.Lived >= cycleMinutes*time.Minute
	if closed {
		if c.Count >= busyCount {
			events = append(events, happening{code: codeBusy})
		}
		c.Past.end(at, c.Count)
		c.Past.begin(at)
		c.Count, c.Lived = 0, 0
	}
	return n > 0 || closed, events
}

func (c *counter) specification() any { return counterSpecification{c.Technology, cycleMinutes} }

func (c *counter) status() any {
	return counterStatus{c.Total, currentCycle{dateTime(c.Past.Start), c.Past.Sequence, c.Count}}
}

func (c *counter) statistic(from, to time.Time) any {
	s := counterStatistic{Cycles: []countCycle{}}
	for _, past := range c.Past.between(from, to) {
		s.Count += past.Amount
		s.Cycles = append(s.Cycles, countCycle{past.times(), past.Amount})
	}
	return s
}

// diagnostic: FDS V2 has none for people counters.
func (c *counter) diagnostic(time.Time) any { return nil }
