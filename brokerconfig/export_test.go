package brokerconfig

// Cheap makes the passphrase cheap to try: by default it takes a second.
func Cheap(c Config) Config {
	c.scryptWork = 10
	return c
}
