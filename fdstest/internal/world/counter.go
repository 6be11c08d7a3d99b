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
	technology string
	spaceID    string
	perHour    float64
	total      int
	count      int           // in the cycle under way
	lived      time.Duration // of the cycle under way
	visits     int           // since the restroom was last due for cleaning
	past       cycles
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
	c := &counter{technology: sensorTechnologies[n%len(sensorTechnologies)], spaceID: spaceID, perHour: float64(30 + r.IntN(50))}
	c.past.begin(start)
	return c
}

func (c *counter) about() about {
	return about{typeCounter, "COUNTCO", "Count Co", "Eye 4", "People counter"}
}

func (c *counter) live(r *rand.Rand, d time.Duration, at time.Time) (bool, []happening) {
	var events []happening
	n := times(r, c.perHour, d)
	c.total += n
	c.count += n
	c.visits += n
	c.lived += d
	if c.visits >= dueVisits {
		c.visits = 0
		events = append(events, happening{code: codeCleaningDue, spaceID: c.spaceID})
	}
	closed := c.lived >= cycleMinutes*time.Minute
	if closed {
		if c.count >= busyCount {
			events = append(events, happening{code: codeBusy})
		}
		c.past.end(at, c.count)
		c.past.begin(at)
		c.count, c.lived = 0, 0
	}
	return n > 0 || closed, events
}

func (c *counter) specification() any { return counterSpecification{c.technology, cycleMinutes} }

func (c *counter) status() any {
	return counterStatus{c.total, currentCycle{dateTime(c.past.start), c.past.sequence, c.count}}
}

func (c *counter) statistic(from, to time.Time) any {
	s := counterStatistic{Cycles: []countCycle{}}
	for _, past := range c.past.between(from, to) {
		s.Count += past.amount
		s.Cycles = append(s.Cycles, countCycle{past.times(), past.amount})
	}
	return s
}

// diagnostic: FDS V2 has none for people counters.
func (c *counter) diagnostic(time.Time) any { return nil }
