package main

import (
	"strings"
	"testing"
	"time"
)

func TestWhoWasLateIsToldFromTheOtherProcesses(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		stall stall
		want  string
	}{
		"early at the reference":           {stall{took: 50 * ms, reference: ms, acknowledged: ms}, "client"},
		"the client waits for a processor": {stall{took: 50 * ms, reference: ms, acknowledged: ms, waited: map[string]time.Duration{atClient: 30 * ms}}, "client, had no processor"},
		"late everywhere":                  {stall{took: 50 * ms, reference: 50 * ms, acknowledged: 51 * ms}, "broker"},
		"the broker waits for a processor": {stall{took: 50 * ms, reference: 50 * ms, acknowledged: 51 * ms, waited: map[string]time.Duration{atBroker: 40 * ms}}, "broker, had no processor"},
		"the publisher slept":              {stall{took: 50 * ms, reference: 50 * ms, acknowledged: 51 * ms, overslept: 45 * ms}, "publisher"},
		"the publisher slept after it":     {stall{took: 50 * ms, reference: ms, acknowledged: ms, overslept: 45 * ms}, "client"},
		"both subscribers were late":       {stall{took: 50 * ms, reference: 60 * ms, acknowledged: ms}, "client or broker"},
		"both, and the client waited":      {stall{took: 50 * ms, reference: 60 * ms, acknowledged: ms, waited: map[string]time.Duration{atClient: 49 * ms}}, "client, had no processor"},
		"never at the reference":           {stall{took: 50 * ms, acknowledged: ms}, "unknown"},
	} {
		if got, _, _ := strings.Cut(test.stall.whose(), ":"); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestMessagesThatAreSlowAtTheSameTimeAreOneStall(t *testing.T) {
	at := func(ms int64) int64 { return ms * int64(time.Millisecond) }
	var slow []arrival
	sends, reference := make([]send, 100), make([]int64, 100)
	for n := range sends {
		sent := at(1000 + 10*int64(n))
		sends[n], reference[n] = send{Due: sent, Sent: sent, Acknowledged: sent + at(1)}, sent+at(1)
		got := sent + at(1)
		if n >= 40 && n < 45 { // all come once the client goes on
			got = at(1000 + 500)
		}
		if n == 80 {
			got = sent + at(70)
		}
		slow = append(slow, arrival{n, sent, got})
	}
	waits := &processors{pids: map[string]int{atClient: 1}, samples: []sample{
		{at(1390), map[string]time.Duration{atClient: 0}},
		{at(1590), map[string]time.Duration{atClient: 160 * time.Millisecond}},
		{at(2000), map[string]time.Duration{atClient: 160 * time.Millisecond}},
	}}
	stalls := stallsOf(slow, sends, reference, waits)
	if len(stalls) != 2 {
		t.Fatalf("got %d stalls, want 2: %+v", len(stalls), stalls)
	}
	if s := stalls[0]; s.messages < 5 || s.sent != 400*time.Millisecond || s.came != 500*time.Millisecond || s.late != "client, had no processor" {
		t.Errorf("the worst: %+v", s)
	}
	if s := stalls[1]; s.sent != 800*time.Millisecond || s.took != 70*time.Millisecond || s.late != "client" {
		t.Errorf("the second: %+v", s)
	}
}
