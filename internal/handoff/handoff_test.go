package handoff_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

var errNotNow = errors.New("not now")

func settings(h delivery.Handler) *handoff.Settings {
	return &handoff.Settings{
		Handler:   h,
		Backoff:   backoff.Policy{Initial: time.Second, Max: time.Minute, StableAfter: time.Minute},
		SlowAfter: time.Minute,
		Logger:    slog.New(slog.DiscardHandler),
	}
}

func TestWhatFailsTooOftenGoesToTheDeadLettersWithTheHandlersError(t *testing.T) {
	calls := 0
	s := settings(func(context.Context, delivery.Message) error { calls++; return errNotNow })
	s.MaxAttempts = 3
	refuses := true
	var dead []error
	s.DeadLetter = func(_ context.Context, _ delivery.Message, err error) error {
		dead = append(dead, err)
		if refuses {
			return errors.New("no room")
		}
		return nil
	}
	h := handoff.New(s)
	m := &delivery.Message{Payload: []byte("{}")}
	for range 2 {
		if gone, err := h.Once(t.Context(), m, 7); gone || !errors.Is(err, errNotNow) {
			t.Fatalf("gone %v, %v", gone, err)
		}
	}
	if failing, ok := h.Failing(); !ok || failing.Attempts != 2 || !errors.Is(failing.Err, errNotNow) {
		t.Fatalf("%+v", failing)
	}
	if _, err := h.Once(t.Context(), m, 7); err == nil || errors.Is(err, errNotNow) {
		t.Fatalf("the dead letters had no room: %v", err)
	}
	refuses = false
	if gone, err := h.Once(t.Context(), m, 7); !gone || err != nil {
		t.Fatalf("gone %v, %v", gone, err)
	}
	if calls != 3 || len(dead) != 2 || !errors.Is(dead[0], errNotNow) || !errors.Is(dead[1], errNotNow) {
		t.Fatalf("%d calls, dead letters were told %v", calls, dead)
	}
	if _, ok := h.Failing(); ok {
		t.Fatal("it is still failing")
	}
}

func TestAnotherMessageIsCountedAnew(t *testing.T) {
	s := settings(func(context.Context, delivery.Message) error { return errNotNow })
	s.MaxAttempts = 2
	s.DeadLetter = func(context.Context, delivery.Message, error) error { t.Error("a dead letter"); return nil }
	h := handoff.New(s)
	for known := range uint64(4) {
		if _, err := h.Once(t.Context(), &delivery.Message{}, known); err == nil {
			t.Fatal("no error")
		}
	}
}

func TestTheEndOfTheGoroutineAndAPanicAreToldAsFailures(t *testing.T) {
	for name, end := range map[string]func(){"exit": runtime.Goexit, "panic": func() { panic("a\x1bdefect") }} {
		t.Run(name, func(t *testing.T) {
			var told error
			s := settings(func(context.Context, delivery.Message) error { end(); return nil })
			s.Handled = func(_ delivery.Message, _ time.Duration, err error) { told = err }
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = handoff.New(s).Once(context.Background(), &delivery.Message{}, 0)
			}()
			<-done
			if told == nil {
				t.Fatal("the hook was told of a success")
			}
		})
	}
}

func TestUntilSpacesTheCallsAndMarksTheRepetition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var duplicates []bool
		s := settings(func(_ context.Context, m delivery.Message) error {
			if duplicates = append(duplicates, m.Duplicate); len(duplicates) < 3 {
				return errNotNow
			}
			return nil
		})
		h := handoff.New(s)
		lent := 0
		h.Lend(func() { lent++ })
		m := &delivery.Message{}
		began := time.Now()
		if !h.Until(t.Context(), m, nil) {
			t.Fatal("not done")
		}
		if len(duplicates) != 3 || duplicates[0] || !duplicates[1] || !duplicates[2] || m.Duplicate {
			t.Fatalf("duplicates %v, the message %v", duplicates, m.Duplicate)
		}
		if time.Since(began) == 0 || lent != 1 {
			t.Fatalf("took %v, lent %d times", time.Since(began), lent)
		}
		closing := make(chan struct{})
		close(closing)
		duplicates = nil
		if h.Until(t.Context(), m, closing) {
			t.Fatal("done, though it failed and was closed")
		}
	})
}

func TestACallThatTakesLongIsToldAndLendsTheGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		slow := make(chan time.Duration, 1)
		s := settings(func(context.Context, delivery.Message) error { <-finish; return nil })
		s.Slow = func(_ delivery.Message, took time.Duration) { slow <- took }
		h := handoff.New(s)
		lent := make(chan struct{})
		h.Lend(func() { close(lent) })
		done := make(chan bool)
		began := time.Now()
		go func() { done <- h.Until(context.Background(), &delivery.Message{}, nil) }()
		<-lent
		if after := time.Since(began); after > time.Second {
			t.Fatalf("lent after %v", after)
		}
		if took := <-slow; took != time.Minute {
			t.Fatalf("told after %v", took)
		}
		close(finish)
		if !<-done {
			t.Fatal("not done")
		}
		h.Rest()
	})
}
