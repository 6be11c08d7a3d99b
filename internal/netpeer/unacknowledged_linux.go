package netpeer

import (
	"time"

	"golang.org/x/sys/unix"
)

// boundUnacknowledged ends the connection when data that was sent stays
// unacknowledged for that long (RFC 5482), in place of 15 minutes.
func boundUnacknowledged(fd uintptr, bound time.Duration) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(bound.Milliseconds()))
}
