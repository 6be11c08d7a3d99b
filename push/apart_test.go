package push_test

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/push"
)

// What a caller's function does to the goroutine that called it, it does to Run's
// caller, who may have means to live on.
func TestAPanicOrAnExitInOnStateReachesTheCallerOfRun(t *testing.T) {
	b := box(t)
	owner, root := newOwner()
	run := func(onState func(push.State)) (panicked any, returned bool) {
		cfg := b.config(owner, root)
		cfg.OnState = onState
		c, err := push.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { panicked = recover() }()
			_ = c.Run(t.Context(), func(context.Context, push.Message) error { return nil })
			returned = true
		}()
		<-done
		return panicked, returned
	}
	panicked, _ := run(func(push.State) { panic("a defect") })
	if text, _ := panicked.(string); !strings.HasPrefix(text, "a defect") || !strings.Contains(text, "apart_test.go") {
		t.Errorf("the caller of Run sees %v", panicked)
	}
	if panicked, returned := run(func(push.State) { runtime.Goexit() }); panicked != nil || returned {
		t.Errorf("after an exit: panic %v, returned %v", panicked, returned)
	}
}
