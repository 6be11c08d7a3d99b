package push_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/push"
)

// Where many connections have messages at once, each gives its stack up for the next one as soon
// as there is nothing more to read, and not only at its next ping.
func TestABurstLeavesSmallStacks(t *testing.T) {
	if !push.CanWait || runtime.GOMAXPROCS(0) == 1 {
		t.Skip("waiting is reading on this system, or its one processor is always at work")
	}
	for _, c := range []struct {
		name string
		busy bool
	}{{"a message now and then", false}, {"many at once", true}} {
		t.Run(c.name, func(t *testing.T) {
			b := box(t)
			if c.busy {
				defer push.Busy()()
			}
			owner, root := newOwner()
			got := newCollector()
			cfg := b.config(owner, root)
			cfg.KeepAlive = time.Hour
			r := start(t, cfg, got.handle)
			r.waitPhase(push.Connected)
			b.mustPublish(t, root, "events", `{}`)
			got.wait(t, 1)
			kept := func() bool {
				all := make([]byte, 1<<20)
				all = all[:runtime.Stack(all, true)]
				return bytes.Contains(all, []byte("push.(*wire).read("))
			}
			if c.busy {
				for deadline := time.Now().Add(testTimeout); kept(); time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("the reader keeps its stack")
					}
				}
				return
			}
			b.mustPublish(t, root, "events", `{}`) // handled by the same goroutine
			got.wait(t, 2)
			if !kept() {
				t.Error("a new goroutine for a single message")
			}
		})
	}
}
