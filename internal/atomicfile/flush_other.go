//go:build !linux

package atomicfile

// startFlush does nothing: flush begins to write.
func (u *unfinished) startFlush() {}
