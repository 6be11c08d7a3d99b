package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
)

// figures are those of one run, by the names of rows.
type figures map[string]float64

// The rows of a table.
const (
	firstRate     = "deliveries a second, first of each token"
	firstCPU      = "  CPU each, µs"
	knownRate     = "deliveries a second, token sent before"
	knownCPU      = "  CPU each, µs "
	latency50     = "latency p50, µs"
	latency99     = "latency p99, µs"
	pacedCPU      = "  CPU each, µs  "
	resident      = "resident memory, MiB"
	residentOwner = "  grown, an owner, KiB"
)

// rows in their order, with how their figures are written and whether they have a goal.
var rows = []struct {
	name, format string
	goal         bool
}{
	{firstRate, "%.0f", true}, {firstCPU, "%.1f", false}, {knownRate, "%.0f", true}, {knownCPU, "%.1f", false},
	{latency50, "%.0f", false}, {latency99, "%.0f", false}, {pacedCPU, "%.0f", false}, {resident, "%.1f", false}, {residentOwner, "%.1f", false},
}

func header(o options) {
	fmt.Printf("%d cores, %d deliveries in hand, latency at %d a second, medians of %d\n", runtime.NumCPU(), o.connections, o.rate, o.rounds)
}

// table prints what was measured under a load, with ratios to the handler by hand.
func table(to io.Writer, l load, runs map[string][]figures) error {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\n%s\t", l.name)
	for _, name := range endpoints {
		fmt.Fprint(out, name, "\t")
	}
	fmt.Fprint(out, "ratio\tratio, folder\tgoal of both\n")
	for _, row := range rows {
		middle := make(map[string]float64)
		for name, all := range runs {
			if value, ok := median(all, row.name); ok {
				middle[name] = value
			}
		}
		if len(middle) == 0 {
			continue
		}
		fmt.Fprint(out, row.name, "\t")
		for _, name := range endpoints {
			if value, ok := middle[name]; ok {
				fmt.Fprintf(out, row.format, value)
			}
			fmt.Fprint(out, "\t")
		}
		theirs := middle[byHand]
		for _, name := range []string{sdk, sdkFolder} {
			if value, ok := middle[name]; ok && theirs > 0 {
				fmt.Fprintf(out, "%.2f", value/theirs)
			}
			fmt.Fprint(out, "\t")
		}
		if row.goal && theirs > 0 {
			verdict := "met"
			if min(middle[sdk], middle[sdkFolder]) < theirs {
				verdict = "missed"
			}
			fmt.Fprint(out, ">= 1: ", verdict)
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// median returns the middle of a figure; false: it was not measured.
func median(all []figures, name string) (float64, bool) {
	var values []float64
	for _, f := range all {
		if value, ok := f[name]; ok {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2, true
}
