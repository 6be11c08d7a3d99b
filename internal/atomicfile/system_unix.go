//go:build !windows

package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// persistently runs f once: on unix nobody's open handle stops a rename.
func persistently(f func() error) error { return f() }

// openRegular does not follow a symbolic link and does not wait for a pipe.
func openRegular(path string, access int) (*os.File, error) {
	f, err := os.OpenFile(path, access|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	// FreeBSD says EMLINK for a link, NetBSD EFTYPE; those systems' errors stay as they are.
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: it is a symbolic link", ErrUnsafe)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// private checks kind and owner and narrows the mode to at most mode.
func private(f *os.File, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	wantFolder := mode&0o100 != 0
	switch {
	case wantFolder && !info.IsDir():
		return fmt.Errorf("%w: it is not a folder", ErrUnsafe)
	case !wantFolder && !info.Mode().IsRegular():
		return fmt.Errorf("%w: it is not a regular file", ErrUnsafe)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%w: its owner is not known", ErrUnsafe)
	}
	if owner, self := int(stat.Uid), os.Geteuid(); owner != self {
		return fmt.Errorf("%w: it belongs to user %d, this process runs as user %d; use a path of this user's own", ErrUnsafe, owner, self)
	}
	if info.Mode().Perm()&^mode == 0 {
		return nil
	}
	return f.Chmod(info.Mode().Perm() & mode)
}

// isFull knows no errors but those of every unix.
func isFull(error) bool { return false }

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Sync()
	// Some network and user-space file systems cannot flush a folder.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
