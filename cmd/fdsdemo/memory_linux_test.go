package main

import (
	"os"
	"syscall"
)

// peakMemory gives the most memory that a process had, in bytes; 0: not known.
func peakMemory(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}
