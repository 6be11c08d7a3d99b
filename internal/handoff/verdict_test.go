package handoff_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

var errBad = errors.New("it can never be used")

func TestWhatAnErrorSays(t *testing.T) {
	var none *delivery.VerdictError
	for _, test := range []struct {
		err     error
		verdict delivery.Verdict
		after   time.Duration
	}{
		{errBad, delivery.Retry, 0},
		{none, delivery.Retry, 0},
		{delivery.Terminate(errBad), delivery.Terminal, 0},
		{fmt.Errorf("store: %w", delivery.Terminate(nil)), delivery.Terminal, 0},
		{delivery.RetryAfter(time.Hour, errBad), delivery.Retry, time.Hour},
		{delivery.RetryAfter(-time.Hour, errBad), delivery.Retry, 0},
		{errors.Join(errBad, delivery.NotNow(errBad)), delivery.Unavailable, 0},
		{&delivery.VerdictError{Verdict: delivery.Unavailable, After: time.Second}, delivery.Unavailable, time.Second},
		{&delivery.VerdictError{Verdict: delivery.Retry, After: -1}, delivery.Retry, 0},
		{&delivery.VerdictError{Verdict: 77, After: 1}, delivery.Retry, 1},
	} {
		if verdict, after := handoff.Judge(test.err); verdict != test.verdict || after != test.after {
			t.Errorf("%v: %v, %v", test.err, verdict, after)
		}
		if test.err != error(none) && test.err.Error() == "" {
			t.Error("an error without a text")
		}
	}
}

// letters is a DeadLetter function that notes what it gets.
type letters struct {
	refuse   error
	payloads []string
	errs     []error
}

func (l *letters) take(_ context.Context, m delivery.Message, err error) error {
	l.payloads, l.errs = append(l.payloads, string(m.Payload)), append(l.errs, err)
	return l.refuse
}

func TestTerminalGoesToTheDeadLettersAtOnceWhateverMaxAttempts(t *testing.T) {
	for _, most := range []int{0, 1, 5} {
		calls, dead := 0, &letters{refuse: errors.New("no room")}
		s := settings(func(context.Context, delivery.Message) error { calls++; return delivery.Terminate(errBad) })
		s.MaxAttempts, s.DeadLetter = most, dead.take
		h := handoff.New(s)
		m := &delivery.Message{Payload: []byte("{}")}
		if gone, err := h.Once(t.Context(), m, 7); gone || err == nil {
			t.Fatalf("%d: gone %v, %v, and the dead letters had no room", most, gone, err)
		}
		failing, _ := h.Failing()
		h = handoff.Resume(s, 7, failing) // as a webhook does
		if gone, err := h.Once(t.Context(), m, 7); gone || err == nil {
			t.Fatalf("%d: gone %v, %v, and the dead letters had no room", most, gone, err)
		}
		dead.refuse = nil
		if gone, err := h.Once(t.Context(), m, 7); !gone || err != nil {
			t.Fatalf("%d: gone %v, %v", most, gone, err)
		}
		if calls != 1 || len(dead.errs) != 3 || !errors.Is(dead.errs[0], errBad) {
			t.Errorf("%d: %d calls, the dead letters were told %v", most, calls, dead.errs)
		}
		if _, fails := h.Failing(); fails {
			t.Errorf("%d: it is still failing", most)
		}
	}
}

func TestTerminalWithoutDeadLettersIsHandedOverAgainAndTellsWhatToSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls := 0
		s := settings(func(context.Context, delivery.Message) error {
			if calls++; calls < 4 {
				return delivery.Terminate(errBad)
			}
			return nil
		})
		s.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if err := handoff.New(s).Until(t.Context(), &delivery.Message{Payload: []byte("secret")}, nil); err != nil || calls != 4 {
			t.Fatalf("%v after %d calls", err, calls)
		}
		if text := log.String(); strings.Count(text, "set DeadLetter") != 1 || strings.Contains(text, "secret") {
			t.Errorf("the log: %s", text)
		}
	})
}

func TestUnavailableNeverCountsAndIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &letters{}
		calls, down := 0, 50
		var h *handoff.Hand
		s := settings(func(context.Context, delivery.Message) error {
			failing, fails := h.Failing()
			if calls++; fails != (calls > 1) || failing.Attempts != 0 {
				t.Errorf("call %d: failing %v, %d attempts", calls, fails, failing.Attempts)
			}
			if calls <= down {
				return delivery.NotNow(errNotNow)
			}
			return errBad
		})
		s.MaxAttempts, s.DeadLetter = 1, dead.take
		h = handoff.New(s)
		if err := h.Until(t.Context(), &delivery.Message{Payload: []byte("{}")}, nil); err != nil {
			t.Fatal(err)
		}
		if calls != down+1 || len(dead.errs) != 1 || !errors.Is(dead.errs[0], errBad) {
			t.Errorf("%d calls, the dead letters were told %v", calls, dead.errs)
		}
	})
}

func TestRetryAfterIsWhenTheNextCallIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &letters{}
		var at []time.Duration
		began := time.Now()
		s := settings(func(context.Context, delivery.Message) error {
			at = append(at, time.Since(began))
			switch len(at) {
			case 1:
				return delivery.RetryAfter(time.Hour, errNotNow)
			case 2:
				return &delivery.VerdictError{Verdict: delivery.Unavailable, After: time.Minute, Err: errNotNow}
			}
			return delivery.RetryAfter(time.Hour, errBad)
		})
		s.MaxAttempts, s.DeadLetter = 2, dead.take // the hour counted
		if err := handoff.New(s).Until(t.Context(), &delivery.Message{Payload: []byte("{}")}, nil); err != nil {
			t.Fatal(err)
		}
		if len(at) != 3 || at[1] != time.Hour || at[2] != time.Hour+time.Minute || len(dead.errs) != 1 {
			t.Errorf("called at %v, %d dead letters", at, len(dead.errs))
		}
		closing := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(closing) })
		began, at = time.Now(), nil
		if err := handoff.New(s).Until(t.Context(), &delivery.Message{}, closing); !errors.Is(err, handoff.ErrClosing) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestWhatTheDeadLettersCallUnavailableIsTriedThereAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, letters := 0, 0
		s := settings(func(context.Context, delivery.Message) error { calls++; return delivery.Terminate(errBad) })
		s.DeadLetter = func(context.Context, delivery.Message, error) error {
			if letters++; letters < 10 {
				return delivery.NotNow(errNotNow)
			}
			return nil
		}
		if err := handoff.New(s).Until(t.Context(), &delivery.Message{}, nil); err != nil || calls != 1 || letters != 10 {
			t.Errorf("%v, %d calls, %d of the dead letters", err, calls, letters)
		}
	})
}

func TestAttackTheDeadLettersGetThePayloadOfATerminalMessageAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{0, 1, 300, 4 << 10, 4<<10 + 1, 1 << 20} {
			as := strings.Repeat("x", size)
			calls, dead := 0, &letters{}
			s := settings(func(_ context.Context, m delivery.Message) error {
				calls++
				clear(m.Payload)
				return delivery.Terminate(errBad)
			})
			s.DeadLetter = dead.take
			h := handoff.New(s)
			err := h.Until(t.Context(), &delivery.Message{Payload: []byte(as)}, nil)
			if long := size > 4<<10; long {
				if !errors.Is(err, handoff.ErrChanged) || len(dead.errs) != 0 {
					t.Fatalf("%d bytes: %v, %d dead letters", size, err, len(dead.errs))
				}
				err = h.Until(t.Context(), &delivery.Message{Payload: []byte(as)}, nil) // it comes again
			}
			if err != nil || calls != 1 || len(dead.payloads) != 1 || dead.payloads[0] != as {
				t.Errorf("%d bytes: %v, %d calls, the dead letters got %.10q", size, err, calls, dead.payloads)
			}
		}
	})
}

func TestDeadLettersCostNoMemoryWhereNothingFails(t *testing.T) {
	s := settings(func(context.Context, delivery.Message) error { return nil })
	s.DeadLetter = (&letters{}).take
	h, m := handoff.New(s), &delivery.Message{Payload: make([]byte, 300)}
	hand := func() {
		if err := h.Until(context.Background(), m, nil); err != nil {
			t.Error(err)
		}
	}
	hand()
	// The race detector has pools forget some of what they are given.
	least := testing.AllocsPerRun(1000, hand)
	for range 20 {
		least = min(least, testing.AllocsPerRun(100, hand))
	}
	if least > 0.5 {
		t.Errorf("%v allocations a message", least)
	}
	h.Rest()
}
