//go:build !unix || darwin

package tokenstore

// reachable: there is no bus between a program and this system's keyring.
func reachable() error { return nil }

// quiet: Windows's credential manager asks nobody. Whether macOS's keychain will ask
// cannot be found out without having it ask.
func quiet(service, user string) error { return nil }

func explained(err error) error { return err }
