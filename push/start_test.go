package push_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

func TestStartReturnsAtOnceAndTellsOfTheEndOnce(t *testing.T) {
	b := box(t)
	owner, root := newOwner()
	for name, end := range map[string]func(stop, cancel func()){
		"stop":             func(stop, _ func()) { stop() },
		"the context":      func(_, cancel func()) { cancel() },
		"both, repeatedly": func(stop, cancel func()) { stop(); cancel(); stop() },
	} {
		t.Run(name, func(t *testing.T) {
			connected := make(chan struct{}, 1)
			cfg := b.config(owner, root)
			cfg.OnState = func(s push.State) {
				if s.Phase == push.Connected {
					connected <- struct{}{}
				}
			}
			c, err := push.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ignore := func(context.Context, delivery.Message) error { return nil }
			for range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 2)
				stop, err := c.Start(ctx, ignore, func(err error) { ended <- err })
				if err != nil {
					t.Fatal(err)
				}
				<-connected
				if _, err := c.Start(ctx, ignore, func(error) { t.Error("what has not begun has ended") }); !errors.Is(err, fds.ErrRunning) {
					t.Errorf("a second Start: %v", err)
				}
				end(stop, cancel)
				if err := <-ended; err != nil {
					t.Errorf("ended with %v", err)
				}
				if s := c.State(); s.Phase != push.Stopped {
					t.Errorf("%s once it has ended", s.Phase)
				}
				cancel()
				stop()
				if len(ended) > 0 {
					t.Error("it ended twice")
				}
			}
		})
	}
}

func TestAFunctionThatEndsItsGoroutineIsHowStartEnds(t *testing.T) {
	b := box(t)
	owner, root := newOwner()
	cfg := b.config(owner, root)
	cfg.OnState = func(s push.State) {
		if s.Phase == push.Connected {
			runtime.Goexit()
		}
	}
	c, err := push.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	if _, err := c.Start(t.Context(), func(context.Context, delivery.Message) error { return nil }, func(err error) { ended <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("it ended as if it had been stopped")
	}
}

func TestStartDemandsAHandlerAndSomebodyToTell(t *testing.T) {
	b := box(t)
	owner, root := newOwner()
	c, err := push.New(b.config(owner, root))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), nil, func(error) {}); !errors.Is(err, fds.ErrConfig) {
		t.Errorf("no handler: %v", err)
	}
	if _, err := c.Start(t.Context(), func(context.Context, delivery.Message) error { return nil }, nil); !errors.Is(err, fds.ErrConfig) {
		t.Errorf("nobody to tell: %v", err)
	}
}
