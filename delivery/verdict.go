package delivery

import "time"

// Verdict is what a handler says of a message that it has not dealt with.
type Verdict uint8

// The verdicts. Any error that is no *VerdictError stands for Retry.
const (
	Retry       Verdict = iota // hand it over again, after a while; it counts as an attempt
	Terminal                   // never again: it goes to the dead letters now, where there are any
	Unavailable                // not this message's fault, as when the database is away: again after a while, and no attempt
)

// VerdictError is an error of a handler that says more than that it has failed: see Terminate,
// RetryAfter and NotNow, which make it. It may be wrapped.
type VerdictError struct {
	Verdict Verdict
	After   time.Duration // of Retry and Unavailable: when to hand the message over again; 0: as back-offs say
	Err     error
}

// Error returns the text of Err.
func (e *VerdictError) Error() string {
	if e == nil || e.Err == nil {
		return "the handler has not dealt with the message"
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *VerdictError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// Terminate returns the verdict Terminal: handing the message over again is of no use. Where no
// dead letters are set up the message is handed over again all the same, so that nothing is lost; a
// handler that wants it gone returns nil.
func Terminate(err error) error { return verdict(Terminal, 0, err) }

// RetryAfter returns the verdict Retry with a time of its own: the next call is that much later in
// place of what back-offs say; of what is fetched, no sooner; and a webhook's sender is told so.
func RetryAfter(after time.Duration, err error) error { return verdict(Retry, after, err) }

// NotNow returns the verdict Unavailable.
func NotNow(err error) error { return verdict(Unavailable, 0, err) }

func verdict(v Verdict, after time.Duration, err error) error {
	return &VerdictError{Verdict: v, After: max(after, 0), Err: err}
}
