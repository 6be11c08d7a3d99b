package pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
)

const (
	firstRetry = 500 * time.Millisecond // mean of the delay before the second attempt
	lastRetry  = 10 * time.Second       // the longest that we choose; a provider may ask for more
)

// ask sends the request until it is answered as expected, or for Config.RetryFor.
// What it returns must be closed.
func (c *Client) ask(ctx context.Context, r *request) (*exchange, error) {
	if r.path == "" {
		r.path = r.target.Path
	}
	began := time.Now()
	var delays *backoff.Backoff // made when it is needed
	for attempt := 1; ; attempt++ {
		e, err := c.try(ctx, r)
		if err == nil {
			e.made = attempt
			return e, nil
		}
		var failed *Error
		if !errors.As(err, &failed) {
			return nil, err
		}
		failed.Attempts = attempt
		if !r.repeatable() {
			failed.judgeOnce()
		}
		if !failed.passing() || c.retryFor < 0 {
			return nil, failed
		}
		if delays == nil {
			delays = backoff.New(backoff.Policy{Initial: firstRetry, Max: lastRetry, StableAfter: time.Hour})
		}
		delay := failed.RetryAfter + delays.Next() // many may have been told the same moment
		if _, over := r.list.of(delay); over || time.Since(began)+delay > c.retryFor {
			return nil, failed
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay {
			return nil, failed
		}
		r.doubt = r.doubt || !failed.undone()
		c.logger.LogAttrs(ctx, slog.LevelDebug, "pull: request failed", slog.Any("error", failed), slog.Int("attempt", attempt), slog.Duration("retry_in", delay))
		r.list.spend(delay)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			failed.class, failed.cause = nil, ctx.Err()
			failed.detail = fmt.Sprintf("%v before the next attempt", ctx.Err())
			return nil, failed
		}
	}
}

// judgeOnce makes the error of a request that must not be carried out twice say so
// when that could be: also when the answer is a success that was not expected, or a
// redirect to what came of it (RFC 9110 sections 15.3 and 15.4.4).
func (e *Error) judgeOnce() {
	unclear := e.class == fds.ErrAnswer && (e.HTTPStatus/100 == 2 || e.HTTPStatus == http.StatusSeeOther) && e.said() < 400
	if !e.undone() && (e.class == fds.ErrUnavailable || e.HTTPStatus == 0 || unclear) {
		e.class = fds.ErrUnknownOutcome
	}
}

// said is the status of the answer. The provider's own word counts before that of a
// gateway.
func (e *Error) said() int {
	if e.Status != 0 {
		return e.Status
	}
	return e.HTTPStatus
}

// undone says that the request was certainly not carried out: the provider was not
// reached, or says that it took nothing on.
func (e *Error) undone() bool {
	said := e.said()
	return !e.sent || said == http.StatusTooManyRequests || said == http.StatusServiceUnavailable || said == http.StatusForbidden
}
