package push

// Used returns what a budget has given.
func Used(b *Budget) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
