package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
)

// figures are what was measured of one client, by the names of rows.
type figures map[string]float64

func (f figures) add(more figures) {
	for name, value := range more {
		f[name] = value
	}
}

// The rows of the table. Processes of older builds answer by these names.
const (
	resident    = "resident memory an owner, KiB"
	residentNow = "  right after connecting, KiB"
	heap        = "  Go heap, KiB"
	stack       = "  Go stacks, KiB"
	goroutines  = "goroutines an owner"
	idleCPU     = "idle CPU of 1000 owners, % of a core"
	connectWall = "all connected, s"
	connectCPU  = "CPU a connect, µs"
	backHalf    = "half back after a restart, s"
	back90      = "  p90, s"
	back99      = "  p99, s"
	backAll     = "all back, s"
	backPeak    = "most connects within a second"
	backLate    = "owners back after more than 30 s"
	backCPU     = "CPU to come back, µs an owner"
	gapsHalf    = "half of the gaps closed after a restart, s"
	gapsAll     = "all gaps closed, s"
	messageRate = "messages a second"
	messageCPU  = "CPU a message, µs"
	steadyCPU   = "CPU a message at 500 a second, µs"
	latency50   = "latency at 500 a second, p50, µs"
	latency99   = "latency at 500 a second, p99, µs"
	latency999  = "  p99.9, µs"
	latencyMax  = "  maximum, µs"

	publisherLate = "  publisher behind its schedule at most, µs"
)

type row struct {
	name   string
	format string
	goal   *goal
}

// goal is a bound for this SDK: a number, or a multiple of another client's figure.
type goal struct {
	bound   float64
	ofMany  float64 // bound of ten thousand owners and more; 0: the same
	of      string  // "": bound itself
	atLeast bool
}

// many is from how many owners on goal.ofMany counts.
const many = 10_000

var rows = []row{
	{resident, "%.1f", &goal{bound: 25, ofMany: 23}},
	{residentNow, "%.1f", &goal{bound: 45, ofMany: 34}},
	{heap, "%.1f", nil},
	{stack, "%.1f", nil},
	{goroutines, "%.2f", &goal{bound: 1.01}},
	{idleCPU, "%.2f", &goal{bound: 0.2}},
	{connectWall, "%.2f", &goal{bound: 1, of: tuned}},
	{connectCPU, "%.0f", &goal{bound: 0.95, of: tuned}},
	{backHalf, "%.1f", nil},
	{back90, "%.1f", nil},
	{back99, "%.1f", nil},
	{backAll, "%.1f", &goal{bound: 1, of: tuned}},
	{backPeak, "%.0f", nil},
	{backLate, "%.0f", nil},
	{backCPU, "%.0f", nil},
	{gapsHalf, "%.1f", nil},
	{gapsAll, "%.1f", nil},
	{messageRate, "%.0f", &goal{bound: 1.8, ofMany: 2.5, of: tuned, atLeast: true}},
	{messageCPU, "%.1f", &goal{bound: 0.55, of: tuned}},
	{steadyCPU, "%.1f", &goal{bound: 1, of: tuned}},
	{latency50, "%.0f", &goal{bound: 1, of: tuned}},
	{latency99, "%.0f", &goal{bound: 1.2, of: tuned}},
	{latency999, "%.0f", &goal{bound: 1.2, of: tuned}},
	{latencyMax, "%.0f", &goal{bound: 1.2, of: tuned}},
	{publisherLate, "%.0f", nil},
}

// judge words the goal, and whether it was met.
func (g *goal) judge(row string, rounds map[string][]measured, owners int) string {
	bound := g.bound
	if owners >= many && g.ofMany > 0 {
		bound = g.ofMany
	}
	text, word := fmt.Sprintf("<= %g", bound), "missed"
	if g.atLeast {
		text = fmt.Sprintf(">= %g", bound)
	}
	is := spreadOf(valuesOf(rounds[sdk], row))
	if g.of != "" {
		text += " x " + g.of
		is = spreadOf(ratios(rounds[sdk], rounds[g.of], row))
	}
	switch {
	case is.of == 0:
		word = "not measured"
	case is.median <= bound != g.atLeast || is.median == bound:
		word = "met"
	}
	return text + ": " + word
}

func printTable(out io.Writer, o options, broker string, rounds map[string][]measured) error {
	fmt.Fprintf(out, "\n%d owners, broker %s, %d cores, %d messages of %d bytes, QoS 1; idle for %v at keep-alive %v; broker away for %v; medians (least to most) of %d\n",
		o.owners, broker, runtime.NumCPU(), o.messages, messageBytes, o.idle, o.keepAlive, o.down, o.rounds)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	others := []string{tuned, pahoAlone}
	if o.old != "" {
		others = append(others, old)
	}
	fmt.Fprint(table, "\t")
	for _, c := range o.contenders {
		fmt.Fprint(table, c.name, "\t")
	}
	for _, other := range others {
		fmt.Fprintf(table, "/ %s\t", other)
	}
	fmt.Fprintf(table, "goal of %s\n", sdk)
	for _, r := range rows {
		if !slices.ContainsFunc(o.contenders, func(c contender) bool { return len(valuesOf(rounds[c.name], r.name)) > 0 }) {
			continue
		}
		fmt.Fprint(table, r.name, "\t")
		for _, c := range o.contenders {
			fmt.Fprint(table, spreadOf(valuesOf(rounds[c.name], r.name)).text(r.format), "\t")
		}
		for _, other := range others {
			fmt.Fprint(table, spreadOf(ratios(rounds[sdk], rounds[other], r.name)).text("%.2f"), "\t")
		}
		if r.goal != nil {
			fmt.Fprint(table, r.goal.judge(r.name, rounds, o.owners))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// valuesOf returns a figure of all rounds that have it.
func valuesOf(rounds []measured, row string) (values []float64) {
	for _, m := range rounds {
		if value, ok := m.figures[row]; ok {
			values = append(values, value)
		}
	}
	return values
}

// ratios returns those of the figures of the same rounds.
func ratios(rounds, others []measured, row string) (values []float64) {
	for i := range min(len(rounds), len(others)) {
		value, ok := rounds[i].figures[row]
		if other := others[i].figures[row]; ok && other > 0 {
			values = append(values, value/other)
		}
	}
	return values
}

// spread is the middle of some figures, of an even number the mean of the two in the
// middle, and their bounds.
type spread struct {
	of                  int
	median, least, most float64
}

func spreadOf(values []float64) spread {
	n := len(values)
	if n == 0 {
		return spread{}
	}
	slices.Sort(values)
	return spread{n, (values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// text is empty without figures, and has no bounds of a single one.
func (s spread) text(format string) string {
	switch s.of {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(format, s.median)
	}
	return fmt.Sprintf(format+" ("+format+"-"+format+")", s.median, s.least, s.most)
}
