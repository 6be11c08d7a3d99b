package fds_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestTurnsComeInTheOrderInWhichTheyWereAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &fds.Limit{Concurrent: 2}
		var turns []int
		for n := range 5 {
			limit.Ask(func() { turns = append(turns, n) })
		}
		synctest.Wait()
		if len(turns) != 2 {
			t.Fatalf("%v at once, of 2 places", turns)
		}
		for n := 2; n < 5; n++ {
			limit.Release()
			synctest.Wait()
			if len(turns) != n+1 || turns[n] != n {
				t.Fatalf("%v after %d were done", turns, n-1)
			}
		}
	})
}

func TestTurnsKeepTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &fds.Limit{PerSecond: 10, Burst: 1}
		began, turns := time.Now(), make(chan time.Duration, 21)
		for range 21 {
			limit.Ask(func() { turns <- time.Since(began) })
		}
		var last time.Duration
		for range 21 {
			last = <-turns
		}
		if last < 1990*time.Millisecond || last > 2010*time.Millisecond {
			t.Errorf("21 turns at 10 a second took %v", last)
		}
	})
}

func TestATurnThatIsTakenBackIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &fds.Limit{Concurrent: 1}
		first := limit.Ask(func() {})
		synctest.Wait()
		if first() {
			t.Error("a turn that was had was taken back")
		}
		second := limit.Ask(func() { t.Error("a turn that was taken back") })
		if !second() || second() {
			t.Error("it was not taken back once")
		}
		synctest.Wait() // nothing waits any more: the bubble would not end
		third := make(chan bool, 1)
		limit.Ask(func() { third <- true })
		limit.Release()
		<-third
	})
}

func TestNoLimitHasTurnsAtOnce(t *testing.T) {
	for _, limit := range []*fds.Limit{nil, {}} {
		had := false
		if cancel := limit.Ask(func() { had = true }); !had || cancel() {
			t.Error("it was waited for")
		}
	}
}
