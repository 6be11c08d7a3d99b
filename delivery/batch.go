package delivery

import (
	"context"
	"errors"
	"time"
)

// Batching has a handler get several messages at once, as one transaction of a database takes
// them. While a message fails, newer ones of its owner go on being handed over, until no more come
// before it is acknowledged; each is acknowledged once those before it are done with, too.
type Batching struct {
	Handler BatchHandler
	// Most is the number of messages of one call; default 100, at most 10,000. A push
	// connection's receive maximum is raised to twice that, where it is less.
	Most int
	// Wait is how long the first message of a batch waits for more; default 20 ms, at most 10 s.
	// A batch is handed over sooner when it has Most messages, or when no more can come before
	// some are acknowledged. What is fetched, or delivered to a webhook, waits for nothing but,
	// Across, other owners'.
	Wait time.Duration
	// Across has one call take messages of several owners, all those that have the same *Batching,
	// and one call begins when the one before it has returned; but when a call fails as a whole, the
	// messages of each of its owners are handed over alone, all owners' at the same time.
	Across bool
}

// BatchHandler is a Handler for several messages: each owner's in order. Nil says that all are
// done with. Verdicts, which may be wrapped, say it of each; the order in which they are done is the
// handler's to choose. Any other error, one that wraps more than Verdicts or a *VerdictError around
// them too, is of the whole, and says of no message that it is done with or to blame: with several
// the batch is split, by owner and then in halves, until a single one fails, which alone
// counts as an attempt. A panic, and the end of its goroutine, are such an error, too. A
// *VerdictError with Unavailable has the whole handed over again. The slice is the handler's.
type BatchHandler func(ctx context.Context, batch []Message) error

// Verdicts are the outcome of each message of a batch, in its order: nil, done with; else the error
// of a Handler. A missing one is that of a failure.
type Verdicts []error

// Error joins those that are not nil.
func (v Verdicts) Error() string {
	if err := errors.Join(v...); err != nil {
		return err.Error()
	}
	return "every message of the batch is done with"
}

// Unwrap returns those that are not nil.
func (v Verdicts) Unwrap() []error {
	var failed []error
	for _, err := range v {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}
