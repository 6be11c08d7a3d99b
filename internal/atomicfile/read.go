package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

func isKind(info fs.FileInfo, folder bool) error {
	switch {
	case folder && !info.IsDir():
		return fmt.Errorf("%w: it is not a folder", ErrUnsafe)
	case !folder && !info.Mode().IsRegular():
		return fmt.Errorf("%w: it is not a regular file", ErrUnsafe)
	}
	return nil
}

// Read returns the content of the file at path, of at most limit bytes. Errors match
// [fs.ErrNotExist], [ErrUnsafe] or [ErrTooLarge], or are the system's.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("atomicfile: read %s: %w", filepath.Base(path), err)
	}
	return data, nil
}

// Open opens the file at path for reading, as Read does; the caller closes it.
func Open(path string) (*os.File, error) { return open(path, os.O_RDONLY) }

// OpenShared opens the file at path for reading and writing in place, as processes do that
// share it, and makes an empty one where there is none; the caller closes it. The folder must
// exist. Errors are those of Open.
func OpenShared(path string) (*os.File, error) {
	for {
		f, err := open(path, os.O_RDWR)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) { // else someone else was faster
			return f, err
		}
	}
}

func open(path string, access int) (*os.File, error) {
	fail := func(err error) (*os.File, error) {
		return nil, fmt.Errorf("atomicfile: open %s: %w", filepath.Base(path), err)
	}
	var f *os.File
	err := persistently(func() (err error) {
		f, err = openRegular(path, access)
		return err
	})
	if err != nil {
		return fail(err)
	}
	err = own(f, false)
	if err == nil {
		err = restrict(f, 0o600)
	}
	if err != nil {
		_ = f.Close() // the error to tell is the one before
		return fail(err)
	}
	return f, nil
}

// Subfolder is [Folder] for a name below a folder that exists: it does not make that one,
// and refuses a symbolic link.
func Subfolder(name string, marks ...string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(name, 0o700); err == nil || errors.Is(err, fs.ErrExist) { // someone else was faster
			info, err = os.Lstat(name)
		}
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%w: it is not a folder", ErrUnsafe)
	}
	if err != nil {
		return fmt.Errorf("atomicfile: folder %s: %w", filepath.Base(name), err)
	}
	return Folder(name, marks...)
}

// Folder makes the folder at path, with those above it, unless it exists, and sees
// to its mode. One that lets others in is narrowed when it is empty or has a file
// whose name matches one of marks (patterns of path.Match), by which the caller
// knows a folder of its own. Any other is refused with [ErrUnsafe] and not changed:
// it may be in use by others, as /tmp is. A symbolic link to a folder is followed:
// it is the caller's configuration that names it.
func Folder(path string, marks ...string) error { return folder(path, 0o700, marks) }

// ReadableFolder is [Folder] for one whose files' names are no secret: others may read
// it, but not write to it.
func ReadableFolder(path string, marks ...string) error { return folder(path, 0o755, marks) }

func folder(path string, mode fs.FileMode, marks []string) error {
	fail := func(err error) error {
		return fmt.Errorf("atomicfile: folder %s: %w", filepath.Base(path), err)
	}
	_, statErr := os.Stat(path)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fail(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := own(f, true); err != nil {
		return fail(err)
	}
	if err := unshared(f, mode, marks); err != nil {
		return fail(err)
	}
	if err := restrict(f, mode); err != nil {
		return fail(err)
	}
	if os.IsNotExist(statErr) {
		if err := SyncFolder(filepath.Dir(filepath.Clean(path))); err != nil {
			return fail(err)
		}
	}
	return nil
}
