package netpeer

import (
	"time"

	"golang.org/x/sys/unix"
)

// boundUnacknowledged ends the connection when data that was sent stays
// unacknowledged for that long.
func boundUnacknowledged(fd uintptr, bound time.Duration) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int(bound.Seconds()))
}
