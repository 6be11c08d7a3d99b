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
	if f.info.Mode().Perm()&0o044 == 0 {
		return ""
	}
	return fmt.Sprintf("others on this machine may read %s, which holds a secret (its mode is %04o); run: chmod 600 %[1]s", path, f.info.Mode().Perm())
}

// ChangeableByOthers returns a sentence when other users of this machine may write the file, as its
// mode and its owner say, else "".
func (f *File) ChangeableByOthers(path string) string {
	if f.info.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("other users may write this file (its mode is %04o); run: chmod go-w %s", f.info.Mode().Perm(), path)
	}
	stat, ok := f.info.Sys().(*syscall.Stat_t)
	if root, self := 0, os.Geteuid(); !ok || int(stat.Uid) != root && int(stat.Uid) != self {
		return fmt.Sprintf("other users may write this file, since it is not this user's; take a copy of your own of %s", path)
	}
	return ""
}
