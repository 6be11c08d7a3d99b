package statestore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

func at(offset int64) *windows.Overlapped {
	return &windows.Overlapped{Offset: uint32(offset), OffsetHigh: uint32(offset >> 32)}
}

// lockByte reports whether this process has the lock now.
func lockByte(f *os.File, offset int64) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at(offset))
	switch {
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	case errors.Is(err, windows.ERROR_NOT_SUPPORTED), errors.Is(err, windows.ERROR_INVALID_FUNCTION):
		return false, fmt.Errorf("%w: %w", errNoLocks, err)
	}
	return err == nil, err
}

func unlockByte(f *os.File, offset int64) {
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, at(offset)) // closing the file unlocks it anyway
}

// keepByte does nothing: a lock lasts as long as its handle.
func keepByte(*os.File, int64) {}

// unnamed is the ID of a process that the system does not name.
const unnamed = -1

// holder reports whether someone has locked the byte. Whoever looks holds it for a moment, so
// only one may look at a time. The system does not name the holder.
func holder(f *os.File, offset int64) (held bool, pid int, err error) {
	ok, err := lockByte(f, offset)
	if ok {
		unlockByte(f, offset)
	}
	return err == nil && !ok, unnamed, err
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// inodeOf returns 0: without opening the file its number is not known here.
func inodeOf(os.FileInfo) uint64 { return 0 }
