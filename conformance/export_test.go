package conformance

import (
	"context"
	"time"
)

// Impatient shortens what a check waits for of people and of providers.
func Impatient(grace, person time.Duration) { graceWait, personWait = grace, person }

// RunSetup runs the checks of this side alone.
func RunSetup(ctx context.Context, config Config) (*Report, error) {
	return runChecks(ctx, config, setupChecks())
}
