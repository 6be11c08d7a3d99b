package conformance

import "context"

// RunSetup runs the checks of this side alone.
func RunSetup(ctx context.Context, config Config) (*Report, error) {
	return runChecks(ctx, config, setupChecks())
}
