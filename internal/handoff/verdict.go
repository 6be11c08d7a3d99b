package handoff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
)

// Judge returns what an error of a handler says: its verdict, and how long to wait before the next
// call; 0: it does not say.
func Judge(err error) (verdict delivery.Verdict, after time.Duration) {
	var says *delivery.VerdictError
	if !errors.As(err, &says) || says == nil {
		return delivery.Retry, 0
	}
	switch after = max(says.After, 0); says.Verdict {
	case delivery.Unavailable:
		return delivery.Unavailable, after
	case delivery.Terminal:
		return delivery.Terminal, 0
	}
	return delivery.Retry, after
}

// VerdictsOf returns the verdicts that an error of a handler is, or wraps and nothing else: beside
// another error, or in a *delivery.VerdictError, they say of no message that it is done with.
func VerdictsOf(err error) (verdicts delivery.Verdicts, ok bool) {
	for {
		switch e := err.(type) {
		case delivery.Verdicts:
			return e, true
		case *delivery.VerdictError:
			return nil, false
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			return nil, false
		}
	}
}

// none returns nil for verdicts that say that all are done with.
func none(err error, messages int) error {
	verdicts, ok := VerdictsOf(err)
	if !ok || len(verdicts) < messages || slices.ContainsFunc(verdicts, func(err error) bool { return err != nil }) {
		return err
	}
	return nil
}

// sound returns an error of an application, with others in place of those that panic when they are
// looked at, as many do that are nil pointers: of Verdicts, those alone.
func sound(err error) error {
	verdicts, ofEach := delivery.Verdicts(nil), false
	if instead := panics(func() { verdicts, ofEach = VerdictsOf(err) }); instead != nil {
		return instead
	}
	if !ofEach {
		if instead := panicsOn(err); instead != nil {
			return instead
		}
		return err
	}
	odd := false
	for i, of := range verdicts {
		instead := panicsOn(of)
		if instead == nil {
			continue
		}
		if !odd {
			odd, verdicts = true, slices.Clone(verdicts)
		}
		verdicts[i] = instead
	}
	if odd {
		return verdicts
	}
	return err
}

// panicsOn returns what stands in for an error that panics when it is looked at; nil: it does not.
func panicsOn(err error) (instead error) {
	if err == nil {
		return nil
	}
	return panics(func() {
		_ = err.Error()
		_ = Fenced(err) // looks at all that it wraps
	})
}

// panics returns an error when a look at another one panics.
func panics(look func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the error panicked: %q", shortened(fmt.Sprint(p)))
		}
	}()
	look()
	return nil
}

// noDeadLetters tells of a message that will never be taken, and has nowhere to go.
func (h *Hand) noDeadLetters(ctx context.Context, m *delivery.Message, err error) {
	h.settings.Logger.LogAttrs(ctx, slog.LevelWarn, "the handler says that it will never take the message; set DeadLetter, or have the handler return nil: until then it is handed over again", slog.Any("message", *m), slog.Any("error", err))
}
