package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/pull"
)

// giveUpAfter is how long a one-shot command tries to reach a provider.
const giveUpAfter = 30 * time.Second

// dueWithin bounds how long an attempt waits, from its first failure on, for the times
// that its errors name.
const dueWithin = 2 * time.Minute

// attempts repeats what fails for a reason that may pass, until giveUpAfter has run
// out since the first attempt that failed began. All work of a command shares
// one.
type attempts struct {
	retrying func(err error, left time.Duration) // told before a repetition, once a second at most
	waiting  func(err error, wait time.Duration) // told of each wait for a time that an error names
	renewing func(owner *fdsclient.Owner)        // told of a renewal that takes long; may be nil

	mu    sync.Mutex
	until time.Time // zero: nothing has failed yet
	told  time.Time // of the last repetition
}

// attempts makes those of a command, which tell the user.
func (p *program) attempts() *attempts {
	return &attempts{retrying: p.tellRetrying, waiting: p.tellWaiting, renewing: p.tellRenewing}
}

// tellRetrying tells of what may pass what it is; the sentence on it comes at the end, if it does
// not pass.
func (p *program) tellRetrying(err error, left time.Duration) {
	if p.ending.Load() { // it follows from the end, and nothing is tried again
		return
	}
	what := "it failed for a reason that may pass"
	for _, class := range []error{fds.ErrRateLimited, fds.ErrStoreUnavailable, fds.ErrUnavailable, fds.ErrUnresponsive, fds.ErrConnectionClosed} {
		if errors.Is(err, class) {
			what = class.Error()
			break
		}
	}
	p.tell("fdsdemo: %s, trying again for up to %v", what, left.Round(time.Second))
}

// tellWaiting is about a grant on which the provider's word is not final yet.
func (p *program) tellWaiting(err error, wait time.Duration) {
	p.tell("fdsdemo: asking the provider again in %v, before you have to sign in again: %s", wait.Round(time.Second), p.sentence(err))
}

func (p *program) tellRenewing(owner *fdsclient.Owner) {
	p.tell("fdsdemo: waiting for the provider to renew the grant of %s; it is given 3 minutes, since its answer may be had once only", owner.Key().SubscriptionID)
}

// due is an error that names the time of the next attempt: until then a repetition is
// answered by the same error, and nobody is asked. After a refusal of a grant it is known
// only then whether its user must sign in again.
type due interface{ RetryAfter() time.Duration }

// errNoAnswer is why an attempt was ended.
var errNoAnswer = fmt.Errorf("the provider did not answer within %v; check its URLs in the configuration and this machine's network", giveUpAfter)

// do calls attempt until it succeeds, fails for good, or there is no time left. What is
// told meanwhile names the owner whose work it is, if any. An attempt calls answered when
// the provider has begun to answer; until then it is ended when giveUpAfter runs out.
func (a *attempts) do(ctx context.Context, owner *fdsclient.Owner, attempt func(ctx context.Context, answered func()) error) error {
	var before error
	var failing time.Time // since when
	told := func(err error) error {
		if owner == nil {
			return err
		}
		return ofOwner(err, owner)
	}
	spacing := backoff.New(backoff.Policy{Initial: 500 * time.Millisecond, Max: 5 * time.Second, StableAfter: giveUpAfter})
	for {
		err := a.renewed(ctx, owner)
		began := time.Now()
		if err == nil {
			err = a.once(ctx, began, attempt)
		}
		if errors.Is(err, errNoAnswer) && before != nil {
			return fmt.Errorf("%w; before that: %w", err, before)
		}
		before = err
		if err == nil || ctx.Err() != nil || !worthRetrying(err) {
			return err
		}
		if failing.IsZero() {
			failing = began
		}
		delay := spacing.Next()
		if next := due(nil); errors.As(err, &next) {
			wait := next.RetryAfter()
			delay += wait
			if time.Since(failing)+delay > dueWithin {
				return err
			}
			if wait >= time.Second { // a moment after the time the same error may still be given
				a.waiting(told(err), wait)
			}
			if err := sleep(ctx, delay); err != nil {
				return err
			}
			continue
		}
		left, tell := a.failed(began)
		delay += askedFor(err)
		if delay >= left {
			return err
		}
		if tell {
			a.retrying(err, left)
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// askedFor is how long the provider wants nobody to come back.
func askedFor(err error) time.Duration {
	if answer := new(pull.Error); errors.As(err, &answer) {
		return answer.RetryAfter
	}
	if refusal := new(fdsclient.OAuthError); errors.As(err, &refusal) {
		return refusal.RetryAfter
	}
	return 0
}

// sleep returns why ctx ended, if it did.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// slowRenewal is how long a renewal may take before the user is told.
const slowRenewal = 5 * time.Second

// renewed has the owner's token at hand, before giveUpAfter begins to run out: a renewal is
// waited for as long as the provider lives, since its answer may be had once only.
func (a *attempts) renewed(ctx context.Context, owner *fdsclient.Owner) error {
	if owner == nil {
		return nil
	}
	if a.renewing != nil {
		defer time.AfterFunc(slowRenewal, func() { a.renewing(owner) }).Stop()
	}
	_, err := owner.Token(ctx)
	return err
}

func (a *attempts) once(ctx context.Context, began time.Time, attempt func(context.Context, func()) error) error {
	a.mu.Lock()
	limit := giveUpAfter
	if !a.until.IsZero() {
		limit = max(a.until.Sub(began), giveUpAfter/3) // others' failures leave each a fair try
	}
	a.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(limit, func() { cancel(errNoAnswer) })
	defer timer.Stop()
	err := attempt(ctx, func() { timer.Stop() })
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		if errors.Is(err, fds.ErrUnknownOutcome) {
			return fmt.Errorf("%w; %w", err, errNoAnswer)
		}
		return errNoAnswer
	}
	return err
}

// failed notes a failure and returns the time left for others, and whether it is to be told: the
// lists of several owners fail at once.
func (a *attempts) failed(began time.Time) (left time.Duration, tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until.IsZero() {
		a.until = began.Add(giveUpAfter)
		a.told = time.Now()
		return giveUpAfter, true
	}
	if tell = time.Since(a.told) >= time.Second; tell {
		a.told = time.Now()
	}
	return time.Until(a.until), tell
}

// worthRetrying reports whether doing the same again within a few seconds may help: a
// keyring has been waited for already.
func worthRetrying(err error) bool {
	return fdsclient.Retryable(err) && !errors.Is(err, fds.ErrStoreUnavailable) && !isLasting(err)
}

// isLasting reports whether an error says what time does not heal, though it looks like an outage
// to those who have all the time: a name that does not exist, and what a provider answers that has
// the wrong address or is no provider.
func isLasting(err error) bool {
	var name *net.DNSError
	var answered interface{ Lasting() bool }
	return errors.As(err, &name) && name.IsNotFound || errors.As(err, &answered) && answered.Lasting()
}
