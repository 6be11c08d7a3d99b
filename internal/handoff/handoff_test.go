package handoff_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
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

func TestWhatEndsTheGoroutineTooOftenGoesToTheDeadLetters(t *testing.T) {
	var letter error
	s := settings(func(context.Context, delivery.Message) error { runtime.Goexit(); return nil })
	s.MaxAttempts = 2
	s.DeadLetter = func(_ context.Context, _ delivery.Message, err error) error { letter = err; return nil }
	h := handoff.New(s)
	for range 3 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = h.Once(context.Background(), &delivery.Message{}, 7)
		}()
		<-done
	}
	if _, failing := h.Failing(); failing || !errors.Is(letter, handoff.ErrExited) {
		t.Fatalf("failing %v, the dead letter's error is %v", failing, letter)
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
		released := 0
		h.OnRelease(func() { released++ })
		m := &delivery.Message{}
		began := time.Now()
		if err := h.Until(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
		if len(duplicates) != 3 || duplicates[0] || !duplicates[1] || !duplicates[2] || m.Duplicate {
			t.Fatalf("duplicates %v, the message %v", duplicates, m.Duplicate)
		}
		if time.Since(began) == 0 || released != 1 {
			t.Fatalf("took %v, released %d times", time.Since(began), released)
		}
		closing := make(chan struct{})
		close(closing)
		duplicates = nil
		if err := h.Until(t.Context(), m, closing); !errors.Is(err, handoff.ErrClosing) {
			t.Fatalf("it failed and was closed: %v", err)
		}
	})
}

func TestACallThatTakesLongIsToldAndReleasesTheGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		slow := make(chan time.Duration, 1)
		s := settings(func(context.Context, delivery.Message) error { <-finish; return nil })
		s.Slow = func(_ delivery.Message, took time.Duration) { slow <- took }
		h := handoff.New(s)
		released := make(chan struct{})
		h.OnRelease(func() { close(released) })
		done := make(chan error)
		began := time.Now()
		go func() { done <- h.Until(context.Background(), &delivery.Message{}, nil) }()
		<-released
		if after := time.Since(began); after > time.Second {
			t.Fatalf("released after %v", after)
		}
		if took := <-slow; took != time.Minute {
			t.Fatalf("told after %v", took)
		}
		close(finish)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		h.Rest()
	})
}

func TestAttackAHandlerThatChangesThePayloadAndFailsNeverGetsItChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{0, 1, 300, 4 << 10, 4<<10 + 1, 1 << 20} {
			as := strings.Repeat("x", size)
			var got []string
			s := settings(func(_ context.Context, m delivery.Message) error {
				got = append(got, string(m.Payload))
				clear(m.Payload)
				if len(got) < 3 {
					return errNotNow
				}
				return nil
			})
			err := handoff.New(s).Until(t.Context(), &delivery.Message{Payload: []byte(as)}, nil)
			if long := size > 4<<10; long && !errors.Is(err, handoff.ErrChanged) || !long && (err != nil || len(got) != 3) {
				t.Errorf("%d bytes: %v, handed over %d times", size, err, len(got))
			}
			for _, one := range got {
				if one != as {
					t.Errorf("%d bytes: handed over changed", size)
				}
			}
		}
	})
}

func TestALongPayloadIsHandedOverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := settings(func(context.Context, delivery.Message) error {
			if calls++; calls < 3 {
				return errNotNow
			}
			return nil
		})
		if err := handoff.New(s).Until(t.Context(), &delivery.Message{Payload: make([]byte, 1<<20)}, nil); err != nil || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}

func TestAMessageThatIsDoneAtOnceCostsNoMemory(t *testing.T) {
	h := handoff.New(settings(func(context.Context, delivery.Message) error { return nil }))
	m := &delivery.Message{Payload: make([]byte, 300)}
	hand := func() {
		if err := h.Until(context.Background(), m, nil); err != nil {
			t.Error(err)
		}
	}
	hand()
	if n := testing.AllocsPerRun(1000, hand); n > 0.5 {
		t.Errorf("%v allocations a message", n)
	}
	h.Rest()
}

func TestAttackTheDeadLettersGetThePayloadAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1, 300, 4<<10 + 1, 1 << 20} {
			for attempts := 1; attempts <= 2; attempts++ {
				as := strings.Repeat("x", size)
				calls, dead := 0, ""
				s := settings(func(_ context.Context, m delivery.Message) error {
					if calls++; calls == attempts {
						clear(m.Payload)
					}
					return errNotNow
				})
				s.MaxAttempts = attempts
				s.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error { dead = string(m.Payload); return nil }
				if err := handoff.New(s).Until(t.Context(), &delivery.Message{Payload: []byte(as)}, nil); err != nil || dead != as {
					t.Errorf("%d bytes, %d attempts: %v, the dead letters got %.10q", size, attempts, err, dead)
				}
			}
		}
	})
}

func TestAMessageThatComesAgainIsCountedOn(t *testing.T) {
	for name, fail := range map[string]func(m delivery.Message){
		"the handler ends its goroutine":         func(delivery.Message) { runtime.Goexit() },
		"the handler changes what is not copied": func(m delivery.Message) { clear(m.Payload) },
	} {
		t.Run(name, func(t *testing.T) {
			as := strings.Repeat("x", 5<<10)
			calls, dead := 0, ""
			s := settings(func(_ context.Context, m delivery.Message) error {
				calls++
				fail(m)
				return errNotNow
			})
			s.MaxAttempts = 3
			s.DeadLetter = func(_ context.Context, m delivery.Message, _ error) error { dead = string(m.Payload); return nil }
			h := handoff.New(s)
			for range 4 { // it comes again each time
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = h.Until(t.Context(), &delivery.Message{Topic: "events", Payload: []byte(as)}, nil)
				}()
				<-done
				if dead != "" {
					break
				}
			}
			if calls != 3 || dead != as {
				t.Errorf("%d calls, the dead letters got %.10q", calls, dead)
			}
			if _, ok := h.Failing(); ok {
				t.Error("it is still failing")
			}
		})
	}
}
