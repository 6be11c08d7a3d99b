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

// The rows of the table.
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
	backAll     = "all back, s"
	backPeak    = "most connects within a second"
	backLate    = "owners back after more than 30 s"
	messageRate = "messages a second"
	messageCPU  = "CPU a message, µs"
	steadyCPU   = "CPU a message at 500 a second, µs"
	latency50   = "latency at 500 a second, p50, µs"
	latency99   = "latency at 500 a second, p99, µs"
)

type row struct {
	name   string
	format string
	goal   *goal
}

// goal is a bound for this SDK: a number, or a multiple of another client's figure.
type goal struct {
	bound   float64
	of      string // "": bound itself
	atLeast bool
}

var rows = []row{
	{resident, "%.1f", &goal{bound: 32}},
	{residentNow, "%.1f", nil},
	{heap, "%.1f", nil},
	{stack, "%.1f", nil},
	{goroutines, "%.2f", &goal{bound: 3}},
	{idleCPU, "%.2f", &goal{bound: 0.2}},
	{connectWall, "%.2f", &goal{bound: 1, of: tuned}},
	{connectCPU, "%.0f", &goal{bound: 1.1, of: pahoAlone}},
	{backHalf, "%.1f", nil},
	{backAll, "%.1f", &goal{bound: 30}},
	{backPeak, "%.0f", nil},
	{backLate, "%.0f", nil},
	{messageRate, "%.0f", &goal{bound: 1.25, of: tuned, atLeast: true}},
	{messageCPU, "%.1f", &goal{bound: 0.75, of: tuned}},
	{steadyCPU, "%.1f", nil},
	{latency50, "%.0f", nil},
	{latency99, "%.0f", &goal{bound: 1, of: tuned}},
}

// judge words the goal and reports whether it was met.
func (g *goal) judge(row string, measured map[string]figures) string {
	value, bound := measured[sdk][row], g.bound
	text, word := fmt.Sprintf("<= %g", g.bound), "missed"
	if g.atLeast {
		text = fmt.Sprintf(">= %g", g.bound)
	}
	if g.of != "" {
		bound *= measured[g.of][row]
		text += " x " + g.of
	}
	if value <= bound != g.atLeast || value == bound {
		word = "met"
	}
	return text + ": " + word
}

func printTable(out io.Writer, o options, broker string, measured map[string]figures) error {
	fmt.Fprintf(out, "\n%d owners, broker %s, %d cores, %d messages of %d bytes, QoS 1; idle for %v at keep-alive %v; broker away for %v; medians of %d\n",
		o.owners, broker, runtime.NumCPU(), o.messages, messageBytes, o.idle, o.keepAlive, o.down, o.rounds)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\t")
	for _, c := range contenders {
		fmt.Fprint(table, c.name, "\t")
	}
	fmt.Fprintf(table, "/ %s\t/ %s\tgoal of %s\n", tuned, pahoAlone, sdk)
	for _, r := range rows {
		fmt.Fprint(table, r.name, "\t")
		for _, c := range contenders {
			if value, ok := measured[c.name][r.name]; ok {
				fmt.Fprintf(table, r.format, value)
			}
			fmt.Fprint(table, "\t")
		}
		for _, other := range []string{tuned, pahoAlone} {
			if value := measured[other][r.name]; value > 0 {
				fmt.Fprintf(table, "%.2f", measured[sdk][r.name]/value)
			}
			fmt.Fprint(table, "\t")
		}
		if r.goal != nil {
			fmt.Fprint(table, r.goal.judge(r.name, measured))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// median returns the middle of each figure, of an even number the mean of the two
// in the middle.
func median(rounds []figures) figures {
	middle := make(figures)
	for name := range rounds[0] {
		var values []float64
		for _, f := range rounds {
			values = append(values, f[name])
		}
		slices.Sort(values)
		middle[name] = (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	return middle
}
