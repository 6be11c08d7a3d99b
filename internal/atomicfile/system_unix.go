//go:build !windows

package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
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

// own checks that it is this user's folder, or regular file.
func own(f *os.File, folder bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := isKind(info, folder); err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%w: its owner is not known", ErrUnsafe)
	}
	if owner, self := int(stat.Uid), os.Geteuid(); owner != self {
		return fmt.Errorf("%w: it belongs to user %d, this process runs as user %d; use a path of this user's own", ErrUnsafe, owner, self)
	}
	return nil
}

// restrict takes away what the mode grants beyond mode.
func restrict(f *os.File, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&^mode == 0 {
		return err
	}
	return f.Chmod(info.Mode().Perm() & mode)
}

// unshared refuses a folder that others may be using, since its mode grants more than
// mode.
func unshared(f *os.File, mode fs.FileMode, marks []string) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&^mode == 0 {
		return err
	}
	ours := false
	if info.Mode()&fs.ModeSticky == 0 { // such a folder is meant for many
		if ours, err = hasMark(f, marks); err != nil {
			return err
		}
	}
	if !ours {
		return fmt.Errorf("%w: others may use it (%v) and it has files of other programs; name a folder of its own, or take the others' rights away (chmod %o)", ErrUnsafe, info.Mode(), mode)
	}
	return nil
}

// hasMark reports whether a folder has a file that matches one of marks, or is empty.
func hasMark(folder *os.File, marks []string) (bool, error) {
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	empty := true
	for _, name := range names {
		empty = empty && name == "lost+found" // of the file system itself
		for _, mark := range marks {
			if ours, err := path.Match(mark, name); ours || err != nil {
				return ours, err
			}
		}
	}
	return empty, nil
}

// isFull knows no errors but those of every unix.
func isFull(error) bool { return false }

// SyncFolder flushes the folder at path, so that which files it has is durable.
func SyncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = flushFile(f)
	// Some network and user-space file systems cannot flush a folder.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
