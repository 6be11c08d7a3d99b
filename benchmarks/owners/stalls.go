package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// arrival is a message that a client got: nanoseconds of the clocks that all processes share.
type arrival struct {
	N         int // its number
	Sent, Got int64
}

func (a arrival) took() time.Duration { return time.Duration(a.Got - a.Sent) }

const (
	slowest  = 100 // messages of a client that are looked at
	mostRows = 3   // stalls of a client and round that are told
)

// The processes of a phase.
const (
	atPublisher = "publisher"
	atBroker    = "broker"
	atClient    = "client"
	atReference = "reference"
)

// stall is what is known of messages that were slow at the same time. Times are those of
// the slowest of them.
type stall struct {
	messages     int
	sent, came   time.Duration // since the phase began
	took         time.Duration
	reference    time.Duration            // until it was at the reference; 0: it never was
	acknowledged time.Duration            // until the publisher had the broker's word
	overslept    time.Duration            // by the publisher, at worst while the message was on its way
	waited       map[string]time.Duration // for a processor, by all threads of a process together, as a share of the samples around
	late         string
}

// stallsOf sorts the slowest messages of a phase into stalls, the worst one first. Those
// less than half as bad are left out.
func stallsOf(slowest []arrival, sends []send, reference []int64, waits *processors) (stalls []stall) {
	left := slices.SortedFunc(slices.Values(slowest), func(a, b arrival) int { return cmp.Compare(b.took(), a.took()) })
	for len(left) > 0 && len(stalls) < mostRows {
		worst := left[0]
		if worst.N >= len(sends) || len(stalls) > 0 && worst.took() < stalls[0].took/2 {
			break
		}
		all := len(left)
		left = slices.DeleteFunc(left, func(a arrival) bool { return a.Sent <= worst.Got && worst.Sent <= a.Got })
		sent := sends[worst.N]
		s := stall{
			messages:     all - len(left),
			sent:         time.Duration(worst.Sent - sends[0].Due),
			came:         time.Duration(worst.Got - sends[0].Due),
			took:         worst.took(),
			acknowledged: time.Duration(sent.Acknowledged - sent.Sent),
			waited:       waits.within(worst.Sent, worst.Got),
		}
		if worst.N < len(reference) && reference[worst.N] > 0 {
			s.reference = time.Duration(reference[worst.N] - worst.Sent)
		}
		for _, other := range sends {
			// It should have woken up while the message was on its way, or it slept past its end.
			if other.Due <= worst.Got && other.Due+int64(other.Overslept) >= worst.Sent {
				s.overslept = max(s.overslept, other.Overslept)
			}
		}
		s.late = s.whose()
		stalls = append(stalls, s)
	}
	return stalls
}

// whose returns who was late for at least half of the time, as far as that can be told.
func (s stall) whose() string {
	half := s.took / 2
	starved := func(who string) bool { return s.waited[who] >= half }
	who := atBroker
	switch {
	case s.reference == 0:
		return "unknown: it never came to the reference"
	case s.took-s.reference >= half:
		who = atClient
	case s.acknowledged < half && starved(atClient):
		who = atClient
	case s.acknowledged < half && !starved(atBroker):
		return "client or broker: late at the reference, too, and acknowledged early"
	case s.acknowledged >= half && s.overslept >= half:
		who = atPublisher
	}
	if starved(who) {
		who += ", had no processor"
	}
	return who
}

func printStalls(out io.Writer, o options, rounds map[string][]measured) error {
	fmt.Fprintf(out, "\nSlowest messages of each round at %d a second: when, and who was late; offsets in s, all else in ms\n", latencyRate)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	names := []string{atPublisher, atBroker, atClient, atReference}
	fmt.Fprintf(table, "\tround\tslow\tsent at\tcame at\ttook\tto the reference\tacknowledged\tpublisher overslept\tno processor: %s\tlate\n", strings.Join(names, "\t"))
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
	for _, c := range o.contenders {
		for i, m := range rounds[c.name] {
			for _, s := range m.stalls {
				cells := []string{c.name, fmt.Sprint(i + 1), fmt.Sprint(s.messages), fmt.Sprintf("%.3f", s.sent.Seconds()), fmt.Sprintf("%.3f", s.came.Seconds()),
					ms(s.took), ms(s.reference), ms(s.acknowledged), ms(s.overslept)}
				for _, name := range names {
					cells = append(cells, ms(s.waited[name]))
				}
				fmt.Fprintln(table, strings.Join(append(cells, s.late), "\t"))
			}
		}
	}
	return table.Flush()
}
