package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// check is one row of a report.
type check struct {
	id          string
	requirement string
	rule        string
	remedy      string
	duty        Duty
	weaknesses  []string

	// needs are looked at in order before anything is tried: the first that is not met decides.
	needs []need
	// controls are checks above this one that show, in the same run, that the way to the
	// subject works: without them a refusal could mean anything. One that did not pass makes
	// this one an error, or untestable as it is itself.
	controls []string
	// negative marks a check that passes when something is refused. Where it has no controls, its
	// probe tries the allowed form too, and says so by itself.
	negative, itself bool
	// person marks a check that waits for a person.
	person bool

	probe func(r *run, ctx context.Context, t *trial)
}

// need returns an outcome and the sentence for it when something is missing, or "".
type need func(r *run) (Outcome, string)

// trial is a check under way: what the probe notes becomes the Result.
type trial struct {
	evidence []Evidence
	outcome  Outcome
	why      string
	remedy   string // in the place of the check's own, when the probe knows better
	stops    bool   // nothing else can work
}

// mostEvidence bounds what a Result shows: the other side decides how much there is to tell.
const mostEvidence = 100

// saw notes what was tried and what came back.
func (t *trial) saw(tried, format string, args ...any) {
	if len(t.evidence) == mostEvidence {
		t.evidence[mostEvidence-1] = Evidence{"look further", "there is more, which is left out"}
		return
	}
	t.evidence = append(t.evidence, Evidence{tried, fmt.Sprintf(format, args...)})
}

// pass says that the rule was seen to hold. It does not take back a failure.
func (t *trial) pass() { t.end(Pass, "") }

// fail says that the rule is broken.
func (t *trial) fail(format string, args ...any) { t.end(Fail, fmt.Sprintf(format, args...)) }

// stop says that the rule is broken, and that nothing else can work then.
func (t *trial) stop(format string, args ...any) {
	t.outcome, t.why, t.stops = Fail, fmt.Sprintf(format, args...), true
}

// untestable says what to supply.
func (t *trial) untestable(format string, args ...any) {
	t.end(NotTestable, fmt.Sprintf(format, args...))
}

// notApplicable says why the rule does not apply.
func (t *trial) notApplicable(format string, args ...any) {
	t.end(NotApplicable, fmt.Sprintf(format, args...))
}

// error says that the check did not reach its subject.
func (t *trial) error(format string, args ...any) { t.end(Error, fmt.Sprintf(format, args...)) }

// gravity orders outcomes: of several the gravest is the check's.
var gravity = []Outcome{"", NotApplicable, Pass, NotTestable, Error, Fail}

func (t *trial) end(o Outcome, why string) {
	if slices.Index(gravity, o) > slices.Index(gravity, t.outcome) {
		t.outcome, t.why = o, why
	}
}

// errTimeout ends a check.
var errTimeout = errors.New("the check took too long")

// try runs one check.
func (r *run) try(ctx context.Context, c *check) Result {
	began := time.Now()
	t := new(trial)
	switch o, why := r.missing(c); {
	case o != "":
		t.end(o, why)
	default:
		if r.config.OnProgress != nil {
			r.config.OnProgress(c.rule)
		}
		limit := r.config.CheckTimeout
		if c.person {
			limit = personTimeout
		}
		checkCtx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
		c.contained(checkCtx, r, t)
		late := checkCtx.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			t.end(Error, "the run was ended")
		case late: // what was not tried any more may be what fails
			t.end(Error, errTimeout.Error())
		case t.outcome == "":
			t.end(Error, "the check came to no end")
		}
	}
	result := Result{
		ID: c.id, Requirement: c.requirement, Rule: c.rule, Outcome: t.outcome, Why: r.shown(t.why),
		Duty: c.duty, Weaknesses: c.weaknesses, Duration: time.Since(began),
	}
	if t.outcome == Fail {
		result.Remedy = c.remedy
		if t.remedy != "" {
			result.Remedy = r.shown(t.remedy)
		}
	}
	if t.stops && r.stopped == "" {
		r.stopped = result.Why
	}
	for _, e := range t.evidence {
		result.Evidence = append(result.Evidence, Evidence{r.shown(e.Tried), r.shown(e.Saw)})
	}
	return result
}

// contained calls the probe. One that panics, as the application's own functions may, has not
// reached its subject.
func (c *check) contained(ctx context.Context, r *run, t *trial) {
	defer func() {
		if p := recover(); p != nil {
			t.error("the check panicked: %v", p)
		}
	}()
	c.probe(r, ctx, t)
}

// missing returns why a check cannot be tried, or "".
func (r *run) missing(c *check) (Outcome, string) {
	if r.stopped != "" {
		return NotTestable, "the run had stopped before it"
	}
	for _, need := range c.needs {
		if o, why := need(r); o != "" {
			return o, why
		}
	}
	for _, id := range c.controls {
		switch control := r.results[id]; {
		case control == nil:
			return Error, "its control " + id + " has not run"
		case control.Outcome == NotTestable, control.Outcome == NotApplicable:
			return control.Outcome, control.Why
		case control.Outcome != Pass:
			return Error, fmt.Sprintf("its control %s did not pass, so that a refusal would mean nothing: %s", id, control.Why)
		}
	}
	return "", ""
}

// tellingBytes is how much of a secret tells that it is one, which the other side has cut.
const tellingBytes = 12

// redacted takes the run's secrets, and their beginnings, out of a text. What a peer wrote goes
// through it before it is quoted or cut.
func (r *run) redacted(text string) string {
	for _, secret := range r.secrets {
		begin := secret[:min(len(secret), tellingBytes)]
		if !strings.Contains(text, begin) {
			continue
		}
		var clean strings.Builder
		for {
			before, after, found := strings.Cut(text, begin)
			clean.WriteString(before)
			if !found {
				break
			}
			clean.WriteString("[redacted]")
			rest := secret[len(begin):]
			for after != "" && rest != "" && after[0] == rest[0] {
				after, rest = after[1:], rest[1:]
			}
			text = after
		}
		text = clean.String()
	}
	return text
}

// shownBytes bounds a text of a Result.
const shownBytes = 500

// shown makes a text fit to be shown: without secrets, on one line, bounded, and without what a
// terminal would obey.
func (r *run) shown(text string) string {
	text = r.redacted(text)
	text = strings.ToValidUTF8(text, "\ufffd")
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\r', c == '\t':
			return ' '
		case !unicode.IsPrint(c):
			return '\ufffd'
		}
		return c
	}, text)
	if len(text) > shownBytes {
		text = strings.ToValidUTF8(text[:shownBytes-3], "") + "..."
	}
	return text
}
