package atomicfile

import "golang.org/x/sys/unix"

// startFlush has the disk begin to write the content, so that flush waits the less. Journaling
// file systems note the places of all that have begun in one entry of their journal.
func (u *unfinished) startFlush() {
	_ = unix.SyncFileRange(int(u.file.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) // flush returns what fails
}
