package backoff

import (
	"testing"
	"testing/synctest"
	"time"
)

var policy = Policy{Initial: time.Second, Max: time.Minute, StableAfter: 2 * time.Minute}

// meanOf returns the mean of the nth delay over many runs of prepare.
func meanOf(prepare func(*Backoff)) time.Duration {
	const runs = 2000
	var sum time.Duration
	for range runs {
		b := New(policy)
		prepare(b)
		sum += b.Next()
	}
	return sum / runs
}

// failing has attempts fail for as long as it takes to fail n times.
func failing(n int) func(*Backoff) {
	return func(b *Backoff) {
		for range n {
			time.Sleep(b.Next())
		}
	}
}

func TestDelaysGrowAndAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if first, fourth := meanOf(failing(0)), meanOf(failing(3)); first < 800*time.Millisecond || first > 1200*time.Millisecond || fourth < 4*first {
			t.Errorf("mean of the first delay %v, of the fourth %v; want about 1s and 6s", first, fourth)
		}
		for _, p := range []Policy{policy, {Initial: time.Second, Max: time.Second}} {
			b := New(p)
			for range 1000 {
				d := b.Next()
				if d < 0 || d > p.Max {
					t.Fatalf("delay %v is outside 0..%v", d, p.Max)
				}
				time.Sleep(d)
			}
		}
	})
}

// Of many who lose the same peer for two seconds, some fail five times meanwhile: all
// are back soon after it is.
func TestAShortOutageMakesNobodyWaitLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage = 2 * time.Second
		var last time.Duration
		for range 20_000 {
			b, began := New(policy), time.Now()
			for time.Since(began) < outage {
				time.Sleep(b.Next())
			}
			last = max(last, time.Since(began))
		}
		if last > 3*outage {
			t.Errorf("after an outage of %v the last came back at %v", outage, last)
		}
	})
}

func TestDelaysAtTheCapAreSpreadToo(t *testing.T) {
	b := New(policy)
	for range 20 {
		b.Next()
	}
	b.failed = b.failed.Add(-time.Hour)
	const runs, parts = 2000, 4
	var counts [parts + 1]int
	for range runs {
		counts[int(b.Next()*parts/policy.Max)]++
	}
	for i, n := range counts[:parts] {
		if n < runs/parts*8/10 || n > runs/parts*12/10 {
			t.Errorf("%d of %d delays lie in quarter %d of 0..%v", n, runs, i+1, policy.Max)
		}
	}
	if counts[parts] > 1 {
		t.Errorf("%d of %d delays are %v exactly: who failed together comes again together", counts[parts], runs, policy.Max)
	}
}

func TestOnlyAStableSuccessResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := func(held time.Duration) time.Duration {
			return meanOf(func(b *Backoff) {
				failing(6)(b)
				b.Up()
				time.Sleep(held)
			})
		}
		if short := after(policy.StableAfter - time.Second); short < 10*time.Second {
			t.Errorf("a success of a moment brought the mean delay down to %v", short)
		}
		if long := after(policy.StableAfter); long > 2*time.Second {
			t.Errorf("after a stable success the mean delay is still %v", long)
		}
	})
}

// A success that is repeated more often than StableAfter is one that holds.
func TestSuccessesInARowResetTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mean := meanOf(func(b *Backoff) {
			failing(12)(b)
			for held := time.Duration(0); held < policy.StableAfter; held += policy.StableAfter / 4 {
				b.Up()
				time.Sleep(policy.StableAfter / 4)
			}
			b.Up()
		})
		if mean > 1200*time.Millisecond {
			t.Errorf("the first failure after that is waited for %v in the mean, want about 1s", mean)
		}
	})
}

// Who failed together a short while ago does not come again together, though the time
// that has passed bounds all their delays.
func TestDelaysThatTheTimePassedBoundsAreSpread(t *testing.T) {
	const runs, parts = 2000, 4
	var counts [parts]int
	var over int
	synctest.Test(t, func(t *testing.T) {
		for range runs {
			b := New(policy)
			for range 30 { // at once: each delay is bounded by twice the first
				b.Next()
			}
			delay := b.Next()
			if delay >= 2*policy.Initial {
				over++
				continue
			}
			counts[int(delay*parts/(2*policy.Initial))]++
		}
	})
	if over > 0 {
		t.Errorf("%d of %d delays are at the bound or beyond", over, runs)
	}
	for i, n := range counts {
		if n < runs/parts*8/10 || n > runs/parts*12/10 {
			t.Errorf("%d of %d delays lie in quarter %d of the bound", n, runs, i+1)
		}
	}
}

// A success counts once: what fails long after it is not taken for its end.
func TestASuccessThatHasEndedDoesNotResetTheDelayAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mean := meanOf(func(b *Backoff) {
			b.Up()
			time.Sleep(policy.StableAfter)
			failing(20)(b)
		})
		if mean < 20*time.Second {
			t.Errorf("after 20 failures in a row the mean delay is %v", mean)
		}
	})
}
