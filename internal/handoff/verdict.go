package handoff

import (
	"context"
	"errors"
	"log/slog"
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

// noDeadLetters tells of a message that will never be taken, and has nowhere to go.
func (h *Hand) noDeadLetters(ctx context.Context, m *delivery.Message, err error) {
	h.settings.Logger.LogAttrs(ctx, slog.LevelWarn, "the handler says that it will never take the message; set DeadLetter, or have the handler return nil: until then it is handed over again", slog.Any("message", *m), slog.Any("error", err))
}
