package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"syscall"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
)

// Lists of several owners are read at once and printed in the order of the owners. A list
// that breaks off is read again from its beginning, so that it is held until it is whole,
// within these bounds.
const (
	aheadBytes = 4 << 20  // of a list whose turn has not come; then it is not read on
	heldBytes  = 8 << 20  // of one in JSON; a longer one is printed while it is read, and not read again
	tableRows  = 10_000   // of one for tables; what comes after is left out
	tableBytes = 32 << 20 // likewise
	treeBytes  = 64 << 20 // of one for a tree; a longer one is an error
)

// sink is where the items of a list go.
type sink[T any] interface {
	// add takes an item. errEnough says that it wants no more.
	add(ctx context.Context, item T) error
	// restart forgets what was added.
	restart()
	// begun reports whether some of it is printed.
	begun() bool
	// end prints the rest, once it is the list's turn. Whole: the list has come to its end.
	end(ctx context.Context, whole bool) error
}

// errEnough ends a list of which nothing more is wanted.
var errEnough = errors.New("enough")

// outputError says that standard output does not take what is written.
type outputError struct{ err error }

func (e *outputError) Error() string { return "cannot write to standard output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// hasLeft reports whether whoever read standard output has gone, as head does when it has enough:
// it has no use for a word about it. The numbers are ERROR_BROKEN_PIPE and ERROR_NO_DATA of
// Windows.
func hasLeft(err error) bool {
	var written *outputError
	return errors.As(err, &written) && isAny(written.err, brokenPipes...)
}

var brokenPipes = []error{syscall.EPIPE, syscall.Errno(109), syscall.Errno(232)}

// turn is closed when a list may be printed, since all before it are.
type turn <-chan struct{}

func (t turn) wait(ctx context.Context) error {
	select {
	case <-t:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// itsTurn is of a list that is read alone.
func itsTurn() turn {
	now := make(chan struct{})
	close(now)
	return now
}

// badItems are those that are not what FDS says, or of which nobody can tell whose they
// are. They do not end a list.
type badItems struct {
	first []error
	count int
}

const badTold = 10 // of a list, one by one

func (b *badItems) add(err error) {
	if b.count++; b.count <= badTold {
		b.first = append(b.first, err)
	}
}

// errors returns those that are told.
func (b *badItems) errors() []error {
	errs := append([]error(nil), b.first...)
	if more := b.count - len(b.first); more > 0 {
		errs = append(errs, fmt.Errorf("%d more items of this list are no better", more))
	}
	return errs
}

// read has a list go to a sink, again when it breaks off for a reason that may pass and
// nothing of it was printed yet. It returns the errors of items and of the list.
func read[T any](ctx context.Context, tries *attempts, of *fdsclient.Owner, list func(context.Context) iter.Seq2[T, error], to sink[T]) (failures []error, err error) {
	var bad badItems
	var failed error
	outcome := tries.do(ctx, of, func(ctx context.Context, answered func()) error {
		to.restart()
		bad = badItems{}
		failed = pour(ctx, list(ctx), answered, &bad, to)
		if failed != nil && to.begun() {
			failed = fmt.Errorf("the list broke off after a part of it was printed: %w", failed)
			return nil // which cannot be taken back
		}
		return failed
	})
	if outcome != nil {
		failed = outcome
	}
	failures = bad.errors()
	if written := new(outputError); errors.As(failed, &written) {
		return failures, written
	}
	if failed != nil {
		failures = append(failures, failed)
	}
	if ctx.Err() != nil {
		return failures, context.Cause(ctx)
	}
	return failures, to.end(ctx, failed == nil)
}

// pour reads a list up to its end or an error.
func pour[T any](ctx context.Context, list iter.Seq2[T, error], answered func(), bad *badItems, to sink[T]) error {
	for item, err := range list {
		answered()
		switch {
		case isItems(err):
			bad.add(err)
		case err != nil:
			return err
		default:
			if err := to.add(ctx, item); errors.Is(err, errEnough) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// isItems reports whether an error of a list is that of one item, after which the list goes
// on.
func isItems(err error) bool {
	var whole *pull.Error
	return errors.Is(err, fds.ErrItem) || errors.Is(err, fds.ErrOwner) && !errors.As(err, &whole)
}
