package conformance

// brokerState is what the checks of the broker share.
type brokerState struct{}

// brokerChecks are those of M1 to M8.
func brokerChecks() []*check { return nil }

// close ends what the checks left open.
func (r *run) close() {}
