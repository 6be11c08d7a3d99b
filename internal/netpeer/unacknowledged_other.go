//go:build !linux && !darwin && !windows

package netpeer

import "time"

// boundUnacknowledged does nothing: this system has no such bound of a connection's
// own.
func boundUnacknowledged(uintptr, time.Duration) {}
