//go:build !windows

package textfile

import (
	"fmt"
	"os"
	"syscall"
)

// open does not wait for a writer where path is a pipe.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}

// OpenToOthers returns a sentence when other users of this machine may read the file,
// as its mode says, else "".
func (f *File) OpenToOthers(path string) string {
	if f.mode.Perm()&0o044 == 0 {
		return ""
	}
	return fmt.Sprintf("others on this machine may read %s, which holds a secret (its mode is %04o); run: chmod 600 %[1]s", path, f.mode.Perm())
}
