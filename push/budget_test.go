package push_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

// Sessions that were kept come back together, each with messages in flight before its
// SUBACK, and all at once are far more than the budget.
func TestSessionsThatAreTakenUpTogetherGetTheirMessagesInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlood(t)
		f.count, f.payload, f.beforeAck, f.window = 40, make([]byte, 64<<10), true, 1
		f.cfg.Budget = push.NewBudget(512 << 10)
		close(f.begin)
		var handled [20]atomic.Int64
		var running []*running
		for i := range handled {
			running = append(running, f.start(func(context.Context, delivery.Message) error { handled[i].Add(1); return nil }))
		}
		time.Sleep(time.Hour)
		for i := range handled {
			if handled[i].Load() < int64(f.count) {
				t.Errorf("owner %d had %d messages handled: %+v", i, handled[i].Load(), running[i].State())
			}
		}
		for _, r := range running {
			r.stop()
		}
		f.connections.Wait()
	})
}

// Whatever becomes of messages, what they took is given back.
func TestTheBudgetIsGivenBackWhateverBecomesOfAMessage(t *testing.T) {
	for name, h := range map[string]func(n int64) error{
		"the handler fails":  func(n int64) error { return fmt.Errorf("call %d", n) },
		"it panics":          func(int64) error { panic("no") },
		"it ends its thread": func(int64) error { runtime.Goexit(); return nil },
		"it succeeds":        func(int64) error { return nil },
	} {
		for _, qos := range []byte{0, 1} {
			t.Run(fmt.Sprint(name, " ", qos), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFlood(t)
					f.count, f.qos, f.payload, f.cfg.Budget = 300, qos, make([]byte, 100), push.NewBudget(8<<10)
					close(f.begin)
					var calls atomic.Int64
					r := f.start(func(context.Context, delivery.Message) error { return h(calls.Add(1)) })
					time.Sleep(5 * time.Minute)
					r.stop()
					f.connections.Wait()
					synctest.Wait()
					if used := push.Used(f.cfg.Budget); used != 0 || calls.Load() < 2 {
						t.Errorf("%d bytes of the budget are never given back after %d calls", used, calls.Load())
					}
				})
			})
		}
	}
}
