package conformance

import (
	"fmt"
	"time"
)

// Outcome is how a check ended.
type Outcome string

// The outcomes.
const (
	Pass          Outcome = "pass"           // the rule was seen to hold
	Fail          Outcome = "fail"           // the rule was seen to be broken
	NotTestable   Outcome = "not testable"   // nothing was learnt; Result.Why says what to supply
	NotApplicable Outcome = "not applicable" // the rule is about what this provider does not have
	Error         Outcome = "error"          // the check did not reach its subject, so it says nothing
)

// Duty is who has to keep a rule (the shared responsibility of FDS, section 2.6.2).
type Duty string

// The duties.
const (
	OfProvider            Duty = "information provider"
	OfAuthorizationServer Duty = "authorization server"
	OfBroker              Duty = "broker's administrator"
	OfApplication         Duty = "client application"
)

// Evidence is one thing that was tried. Both texts are on one line, of at most 500 bytes, fit for
// a terminal, and hold no secret.
type Evidence struct {
	Tried string `json:"tried"`
	Saw   string `json:"saw"`
}

// Result is what one check found.
type Result struct {
	ID          string  `json:"id"`          // stable, as W2-api-tls-1.0
	Requirement string  `json:"requirement"` // W1 to W10, M1 to M8, API for the rules of the pull model, or setup
	Rule        string  `json:"rule"`        // what must be true, one sentence
	Outcome     Outcome `json:"outcome"`
	// Why is one sentence: what was broken, what to supply, why it does not apply, or why the
	// check could not run. Empty for a pass.
	Why    string `json:"why,omitempty"`
	Remedy string `json:"remedy,omitempty"` // what to do, of a failure
	Duty   Duty   `json:"duty"`             // whose it is
	// Weaknesses are what a broken rule is called elsewhere: CWE numbers, and entries of the
	// OWASP API Security Top 10 of 2023.
	Weaknesses []string   `json:"weaknesses,omitempty"`
	Evidence   []Evidence `json:"evidence,omitempty"`
	// Duration is how long it took, in nanoseconds.
	Duration time.Duration `json:"duration"`
}

// Report is what a run found.
type Report struct {
	Provider string    `json:"provider"` // the issuer
	Started  time.Time `json:"started"`
	// Stopped is one sentence on why nothing else could work, when the run ended early: what
	// was not tried is NotTestable then.
	Stopped string   `json:"stopped,omitempty"`
	Results []Result `json:"results"` // in the order in which they were found
}

// Count returns how many results have an outcome.
func (r *Report) Count(o Outcome) int {
	n := 0
	for _, one := range r.Results {
		if one.Outcome == o {
			n++
		}
	}
	return n
}

// Headline is "tested n of m", then the numbers of all outcomes that occurred but pass. What
// does not apply is not counted in m.
func (r *Report) Headline() string {
	passed, failed := r.Count(Pass), r.Count(Fail)
	text := fmt.Sprintf("tested %d of %d: %d passed, %d failed", passed+failed, len(r.Results)-r.Count(NotApplicable), passed, failed)
	for _, o := range []Outcome{Error, NotTestable, NotApplicable} {
		switch n := r.Count(o); {
		case n > 1 && o == Error:
			text += fmt.Sprintf(", %d errors", n)
		case n > 0:
			text += fmt.Sprintf(", %d %s", n, o)
		}
	}
	return text
}

// OK reports whether nothing failed and every check that began reached its subject; strict asks
// besides that nothing was left untested.
func (r *Report) OK(strict bool) bool {
	if r.Stopped != "" || r.Count(Fail) > 0 || r.Count(Error) > 0 {
		return false
	}
	return !strict || r.Count(NotTestable) == 0
}
