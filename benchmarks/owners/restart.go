package main

import (
	"fmt"
	"slices"
	"time"
)

// restart takes the broker away for a while and watches the owners come back.
func restart(o options, client *child, b *broker, f figures) error {
	if _, err := client.ask(request{Do: "watch"}); err != nil {
		return err
	}
	if err := b.stop(); err != nil {
		return err
	}
	time.Sleep(o.down)
	if err := b.start(); err != nil {
		return err
	}
	began := time.Now()
	a, err := client.ask(request{Do: "back", For: backWithin})
	if err != nil {
		return err
	}
	after := sortedSince(began, a.Ups)
	if len(after) < o.owners {
		return fmt.Errorf("only %d of %d owners were back within %v", len(after), o.owners, backWithin)
	}
	f[backHalf] = percentile(after, 50).Seconds()
	f[back90] = percentile(after, 90).Seconds()
	f[back99] = percentile(after, 99).Seconds()
	f[backAll] = after[len(after)-1].Seconds()
	f[backPeak] = float64(largestSecond(after))
	late, _ := slices.BinarySearch(after, 30*time.Second)
	f[backLate] = float64(len(after) - late)
	if a.CPU > 0 { // an older build does not say
		f[backCPU] = micro(a.CPU) / float64(o.owners)
	}
	if closed := sortedSince(began, a.Closed); len(closed) > 0 {
		f[gapsHalf] = percentile(closed, 50).Seconds()
		f[gapsAll] = closed[len(closed)-1].Seconds()
	}
	return nil
}

func sortedSince(began time.Time, times []time.Time) []time.Duration {
	var after []time.Duration
	for _, t := range times {
		after = append(after, t.Sub(began))
	}
	slices.Sort(after)
	return after
}

// percentile returns one of the sorted durations, of which there is at least one.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*percent/100))]
}

// largestSecond returns the most of the sorted times that lie within any second.
func largestSecond(times []time.Duration) int {
	most, first := 0, 0
	for last, t := range times {
		for t-times[first] >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
