package conformance

import (
	"context"
	"slices"
	"time"
)

// The brokers of the tests are near, and deliver in order.
func init() { quiet, longQuiet = 100*time.Millisecond, 200*time.Millisecond }

// RunBroker runs the checks of this side and those of the broker.
func RunBroker(ctx context.Context, config Config) (*Report, error) {
	return runChecks(ctx, config, slices.Concat(setupChecks(), brokerChecks()))
}

// RunFolder runs the checks of the broker's folder.
func RunFolder(ctx context.Context, config Config) (*Report, error) {
	return runChecks(ctx, config, runBrokerChecks())
}
