package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// persistently tries f again for up to two seconds while another process, such as
// a reader or a virus scanner, has the file open.
func persistently(f func() error) error {
	deadline := time.Now().Add(2 * time.Second)
	for pause := time.Millisecond; ; pause *= 2 {
		err := f()
		busy := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED) ||
			errors.Is(err, windows.ERROR_DELETE_PENDING)
		if !busy || time.Now().Add(pause).After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

// openRegular refuses what Lstat shows to be a link. A link that takes the file's
// place in between needs write access to the folder, that is the user's own.
func openRegular(path string, access int) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is not a regular file", ErrUnsafe)
	}
	return os.OpenFile(path, access, 0)
}

// own checks the kind only, and modes do not count: access is what the folder's list says.
func own(f *os.File, folder bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return isKind(info, folder)
}

func restrict(*os.File, fs.FileMode) error { return nil }

func unshared(*os.File, fs.FileMode, []string) error { return nil }

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) || errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// SyncFolder flushes the folder at path, so that which files it has is durable. Here it
// does nothing: Windows has no such call, and NTFS journals renames.
func SyncFolder(string) error { return nil }
