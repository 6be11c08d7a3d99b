package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// peakMemory returns the most memory that a running process has had, in bytes; 0: not known
// here. (What the system tells of one that has ended counts its parent's, too.)
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Error(err)
	}
	return kilobytes << 10
}
