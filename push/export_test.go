package push

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
