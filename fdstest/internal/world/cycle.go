package world

import "time"

// maxCycles bounds the cycles kept for a device; the oldest go first.
const maxCycles = 1000

// cycles are the periods a device counted in: the one under way and those past.
type cycles struct {
	Start    time.Time
	Sequence int // of the one under way, from 1
	Past     []cycle
}

type cycle struct {
	Start, End time.Time
	Sequence   int
	Amount     int
}

type cycleTimes struct {
	Start    string `json:"start"`
	End      string `json:"end"`
	Sequence int    `json:"sequence"`
}

func (c *cycles) begin(at time.Time) {
	c.Start = at
	c.Sequence++
}

func (c *cycles) end(at time.Time, amount int) {
	c.Past = append(c.Past, cycle{c.Start, at, c.Sequence, amount})
	if over := len(c.Past) - maxCycles; over > 0 {
		c.Past = c.Past[over:]
	}
}

// between returns the cycles that ended from from on and before to.
func (c *cycles) between(from, to time.Time) []cycle {
	var in []cycle
	for _, past := range c.Past {
		if !past.End.Before(from) && past.End.Before(to) {
			in = append(in, past)
		}
	}
	return in
}

func (c cycle) times() cycleTimes {
	return cycleTimes{dateTime(c.Start), dateTime(c.End), c.Sequence}
}
