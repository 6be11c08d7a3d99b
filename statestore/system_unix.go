//go:build !windows

package statestore

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// These locks belong to the process: the system can name it, ends them with it, and no child
// inherits them.

// fcntlFlock is the system's, but in tests.
var fcntlFlock = syscall.FcntlFlock

func control(f *os.File, command int, lock *syscall.Flock_t) error {
	for {
		err := fcntlFlock(f.Fd(), command, lock)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.ENOLCK), errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EINVAL):
			return fmt.Errorf("%w: %w", errNoLocks, err)
		default:
			return err
		}
	}
}

// lockByte reports whether this process has the lock now.
func lockByte(f *os.File, offset int64) (bool, error) {
	err := control(f, syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Start: offset, Len: 1})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func unlockByte(f *os.File, offset int64) {
	_ = control(f, syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_UNLCK, Start: offset, Len: 1}) // closing the file unlocks it anyway
}

// keepByte takes a lock again that this process should have.
func keepByte(f *os.File, offset int64) { _, _ = lockByte(f, offset) }

// unnamed is the ID of a process that the system does not name.
const unnamed = -1

// holder reports whether another process has locked the byte, and its ID where that means
// something here: not to another machine's or container's.
func holder(f *os.File, offset int64) (held bool, pid int, err error) {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: offset, Len: 1}
	err = control(f, syscall.F_GETLK, &lock)
	return err == nil && lock.Type != syscall.F_UNLCK, max(0, int(lock.Pid)), err
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func inodeOf(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino)
	}
	return 0
}
