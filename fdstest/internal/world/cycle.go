package world

import "time"

// maxCycles bounds the cycles kept for a device; the oldest go first.
const maxCycles = 1000

// cycles are the periods a device counted in: the one under way and those past.
type cycles struct {
	start    time.Time
	sequence int // of the one under way, from 1
	past     []cycle
}

type cycle struct {
	start, end time.Time
	sequence   int
	amount     int
}

type cycleTimes struct {
	Start    string `json:"start"`
	End      string `json:"end"`
	Sequence int    `json:"sequence"`
}

func (c *cycles) begin(at time.Time) {
	c.start = at
	c.sequence++
}

func (c *cycles) end(at time.Time, amount int) {
	c.past = append(c.past, cycle{c.start, at, c.sequence, amount})
	if over := len(c.past) - maxCycles; over > 0 {
		c.past = c.past[over:]
	}
}

// between gives the cycles that ended from from on and before to.
func (c *cycles) between(from, to time.Time) []cycle {
	var in []cycle
	for _, past := range c.past {
		if !past.end.Before(from) && past.end.Before(to) {
			in = append(in, past)
		}
	}
	return in
}

func (c cycle) times() cycleTimes {
	return cycleTimes{dateTime(c.start), dateTime(c.end), c.sequence}
}
