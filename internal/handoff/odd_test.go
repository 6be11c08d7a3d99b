package handoff_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// typedNils are errors that are not nil, and panic when they are looked at.
func typedNils() map[string]error {
	return map[string]error{
		"a VerdictError":         (*delivery.VerdictError)(nil),
		"a PathError":            (*fs.PathError)(nil),
		"wrapped":                fmt.Errorf("the handler: %w", (*delivery.VerdictError)(nil)),
		"in a VerdictError":      delivery.NotNow((*fs.PathError)(nil)),
		"in Verdicts":            delivery.Verdicts{nil, (*fs.PathError)(nil)},
		"a VerdictError in them": delivery.Verdicts{nil, (*delivery.VerdictError)(nil)},
	}
}

func TestATypedNilIsAFailureAndEndsNoGoroutine(t *testing.T) {
	for name, odd := range typedNils() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := batching(func([]string) error { return odd })
				all := items("a", "b")
				handoff.New(s).Batch(t.Context(), all, nil)
				if got := undone(all); len(got) == 0 || got[len(got)-1] != "b" {
					t.Errorf("not done with: %v", got)
				}

				o := newOwners(t, 2, 2, func(string) error { return odd })
				a, b := items("a"), items("b")
				var both sync.WaitGroup
				both.Go(func() { o.hand(0, a) })
				synctest.Wait()
				both.Go(func() { o.hand(1, b) })
				both.Wait()
				if undone(b) == nil {
					t.Error("across: done with")
				}

				calls := 0
				h := handoff.New(settings(func(context.Context, delivery.Message) error {
					if calls++; calls == 1 {
						return odd
					}
					return nil
				}))
				if err := h.Until(t.Context(), &delivery.Message{Payload: []byte("x")}, nil); err != nil || calls != 2 {
					t.Errorf("%v after %d calls", err, calls)
				}
			})
		})
	}
}

func TestVerdictsBesideAnotherErrorSayNothing(t *testing.T) {
	verdicts := delivery.Verdicts{nil, nil}
	for name, err := range map[string]error{
		"after it":           errors.Join(verdicts, errNotNow),
		"before it":          errors.Join(errNotNow, verdicts),
		"with %w":            fmt.Errorf("%w: %w", errNotNow, verdicts),
		"in Unavailable":     delivery.NotNow(verdicts),
		"in Terminal":        fmt.Errorf("wrapped: %w", delivery.Terminate(verdicts)),
		"in other Verdicts":  delivery.Verdicts{verdicts, verdicts},
		"none, and a nil":    delivery.Verdicts(nil),
		"too few, wrapped":   fmt.Errorf("wrapped: %w", delivery.Verdicts{}),
		"an array's of none": &delivery.Verdicts{},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := batching(func([]string) error { return err })
				all := items("a", "b")
				handoff.New(s).Batch(t.Context(), all, nil)
				if len(undone(all)) != 2 {
					t.Errorf("not done with: %v", undone(all))
				}
				o := newOwners(t, 2, 2, func(string) error { return err })
				a, b := items("a"), items("b")
				var both sync.WaitGroup
				both.Go(func() { o.hand(0, a) })
				synctest.Wait()
				both.Go(func() { o.hand(1, b) })
				both.Wait()
				if undone(a) == nil || undone(b) == nil {
					t.Error("across: done with")
				}
			})
		})
	}
}

func TestVerdictsOfTheirOwnHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := batching(func(batch []string) error {
			v := make(delivery.Verdicts, len(batch))
			for i := range v {
				v[i] = delivery.RetryAfter(time.Hour, errNotNow)
			}
			return v
		})
		all := items("a", "b")
		if hold := handoff.New(s).Batch(t.Context(), all, nil); hold > time.Minute || all[0].After != time.Hour || all[1].After != time.Hour {
			t.Errorf("the owner waits %v, its messages %v and %v", hold, all[0].After, all[1].After)
		}
	})
}

func TestAcrossAFenceThatEndsTheGoroutineHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwners(t, 2, 2, func(string) error { return nil })
		asked := 0
		s := settings(nil)
		s.Fence = func(fds.OwnerKey) error {
			if asked++; asked > 1 {
				runtime.Goexit()
			}
			return nil
		}
		gathered, release := handoff.Gather(o.b, handoff.Complete(o.b, nil))
		defer release()
		s.Batch = gathered
		o.hands[1] = handoff.New(s)
		a, b := items("a"), items("b")
		var both sync.WaitGroup
		both.Go(func() { o.hand(0, a) })
		synctest.Wait()
		both.Go(func() { o.hand(1, b) })
		both.Wait()
		if undone(b) == nil {
			t.Error("done with, for all its fence")
		}
		again := items("c")
		o.hand(0, again)
		if undone(again) != nil {
			t.Error("nothing is handed over any more")
		}
	})
}
