package conformance

import (
	"context"
	"time"
)

// Impatient shortens what a check waits for of people, of providers, and of clocks.
func Impatient(grace, person, clocks time.Duration) {
	graceWait, personWait = grace, person
	pastEnd, askAgain, leeway = 0, clocks/10, clocks
}

// RunSetup runs the checks of this side alone.
func RunSetup(ctx context.Context, config Config) (*Report, error) {
	return runChecks(ctx, config, setupChecks())
}
