package single

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestThoseWhoWaitShareOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Flight[int]
		var wait sync.WaitGroup
		calls := 0
		for range 10 {
			wait.Go(func() {
				n, err := f.Do(t.Context(), time.Minute, func() (int, error) {
					calls++
					time.Sleep(time.Second)
					return calls, nil
				})
				if n != 1 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			})
		}
		wait.Wait()
		if n, err := f.Do(t.Context(), time.Minute, func() (int, error) { return 7, nil }); n != 7 || err != nil {
			t.Errorf("after it: %d, %v", n, err)
		}
	})
}

func TestEachWaitsAsLongAsItIsReadyTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Flight[string]
		hang := make(chan struct{})
		work := func() (string, error) { <-hang; return "at last", nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := f.Do(ctx, time.Hour, work); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, err := f.Do(t.Context(), time.Minute, work); !errors.Is(err, ErrLate) || time.Since(began) != time.Minute+time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.AfterFunc(time.Second, func() { close(hang) })
		if got, err := f.Do(t.Context(), time.Minute, func() (string, error) { return "a second one", nil }); got != "at last" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestWorkThatNeverReturnsIsOver(t *testing.T) {
	var f Flight[int]
	for says, work := range map[string]func() (int, error){
		"panicked":  func() (int, error) { panic("no key") },
		"goroutine": func() (int, error) { runtime.Goexit(); return 0, nil },
	} {
		if _, err := f.Do(t.Context(), time.Minute, work); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q in it", err, says)
		}
	}
}
