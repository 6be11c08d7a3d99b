package push

import "runtime"

// Used returns what a budget has given.
func Used(b *Budget) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Policies returns how many TLS configurations are kept for connections to come, and the bound.
func Policies() (kept, most int) {
	policies.mu.Lock()
	defer policies.mu.Unlock()
	return len(policies.all), mostPolicies
}

// CanWait tells whether a connection can be waited for without reading.
const CanWait = canTry

// Busy has readers find all processors at work, until it is over.
func Busy() (over func()) {
	n := int32(runtime.GOMAXPROCS(0))
	atWork.Add(n)
	return func() { atWork.Add(-n) }
}
