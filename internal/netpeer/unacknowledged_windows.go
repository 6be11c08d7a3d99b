package netpeer

import (
	"time"

	"golang.org/x/sys/windows"
)

// boundUnacknowledged ends the connection when data that was sent stays
// unacknowledged for that long.
func boundUnacknowledged(fd uintptr, bound time.Duration) {
	_ = windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_TCP, windows.TCP_MAXRT, int(bound.Seconds()))
}
