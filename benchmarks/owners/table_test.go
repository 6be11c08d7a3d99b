package main

import "testing"

func TestTheTableHasMediansBoundsAndRatiosOfRounds(t *testing.T) {
	of := func(values ...float64) (rounds []measured) {
		for _, v := range values {
			rounds = append(rounds, measured{figures: figures{latency99: v}})
		}
		return rounds
	}
	ours, others := of(30, 10, 20, 40), of(30, 20, 10, 20)
	if got := spreadOf(valuesOf(ours, latency99)).text("%.0f"); got != "25 (10-40)" {
		t.Errorf("a figure is %q", got)
	}
	if got := spreadOf(ratios(ours, others, latency99)).text("%.2f"); got != "1.50 (0.50-2.00)" {
		t.Errorf("a ratio is %q", got)
	}
	if got := spreadOf(valuesOf(of(3), latency99)).text("%.0f"); got != "3" {
		t.Errorf("of one round it is %q", got)
	}
	if got := spreadOf(valuesOf(ours, latency50)).text("%.0f"); got != "" {
		t.Errorf("what was not measured is %q", got)
	}
	for want, rounds := range map[string]map[string][]measured{
		"<= 1.2 x autopaho, tuned: missed":       {sdk: ours, tuned: others},
		"<= 1.2 x autopaho, tuned: met":          {sdk: ours, tuned: ours},
		"<= 1.2 x autopaho, tuned: not measured": {sdk: ours},
	} {
		g := &goal{bound: 1.2, ofMany: 2.5, of: tuned}
		if got := g.judge(latency99, rounds, many-1); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := (&goal{bound: 1.2, ofMany: 2.5, of: tuned}).judge(latency99, map[string][]measured{sdk: ours, tuned: others}, many); got != "<= 2.5 x autopaho, tuned: met" {
		t.Errorf("of many it is %q", got)
	}
}

func TestAMessageHasItsTimeAndNumber(t *testing.T) {
	payload, sent := newMessage(123)
	if n, at, ok := readMessage(payload); !ok || n != 123 || at != sent || len(payload) != messageBytes {
		t.Errorf("%s has %d, %d, %v; want 123, %d", payload, n, at, ok, sent)
	}
	if _, _, ok := readMessage(payload[:20]); ok {
		t.Error("half a message is taken")
	}
}
