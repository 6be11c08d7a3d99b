//go:build !windows && !darwin

package tokenstore

import (
	"os"
	"strconv"
)

// reachable says whether there is a D-Bus session bus to be asked for the Secret
// Service. Without one the D-Bus library would run dbus-launch, which starts a
// daemon that nobody ends; so it must not be called then. It looks where that
// library looks.
func reachable() error {
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" && address != "autolaunch:" {
		return nil
	}
	folder := "/run/user/" + strconv.Itoa(os.Getuid())
	for _, name := range []string{"/bus", "/dbus-session"} {
		if _, err := os.Stat(folder + name); err == nil {
			return nil
		}
	}
	return errNoBus
}
