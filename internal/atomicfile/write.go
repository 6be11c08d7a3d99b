package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tempPrefix begins the names of files that are not finished.
const tempPrefix = ".tmp-"

// Write puts data under path, in place of the file that was there. When it has
// returned nil the content is durable. The folder must exist. A symbolic link at
// path is replaced, not followed; a folder there is an error.
func Write(path string, data []byte) error {
	f, err := begin(path, time.Time{}, data)
	if err == nil {
		if err = f.flush(); err == nil {
			err = f.rename()
		}
	}
	if err == nil {
		err = SyncFolder(filepath.Dir(path))
	}
	return writing(path, err)
}

// WriteNew is Write where there is no file at path; that there is one is fs.ErrExist. A file system
// without hard links may still replace one that comes there at the same moment.
func WriteNew(path string, data []byte) error {
	f, err := begin(path, time.Time{}, data)
	if err == nil {
		if err = f.flush(); err == nil {
			err = f.link()
		}
	}
	if err == nil {
		err = SyncFolder(filepath.Dir(path))
	}
	return writing(path, err)
}

// writing adds to an error what was tried.
func writing(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("atomicfile: write %s: %w", filepath.Base(path), err)
}

// unfinished is a file that is written, beside its name. After an error of its methods it is
// gone.
type unfinished struct {
	file *os.File
	path string // to be
}

// begin writes all parts, one behind the other, to a file that says it was modified at that
// time, where the file system keeps one. The zero time is that of the write.
func begin(path string, modified time.Time, parts ...[]byte) (u *unfinished, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*") // mode 0600
	if err != nil {
		return nil, err
	}
	u = &unfinished{f, path}
	for _, part := range parts {
		if _, err = f.Write(part); err != nil {
			return nil, u.discard(err)
		}
	}
	if !modified.IsZero() {
		_ = os.Chtimes(f.Name(), time.Time{}, modified) // some file systems keep no times
	}
	return u, nil
}

func (u *unfinished) discard(err error) error {
	_ = u.file.Close() // closed already when the rename failed
	_ = os.Remove(u.file.Name())
	return err
}

// flushFile is the system's, but in tests.
var flushFile = (*os.File).Sync

// flush makes the content durable.
func (u *unfinished) flush() error {
	err := flushFile(u.file)
	if err == nil {
		err = u.file.Close()
	}
	if err != nil {
		return u.discard(err)
	}
	return nil
}

// rename puts the file in its place, which is durable when the folder is.
func (u *unfinished) rename() error {
	if err := persistently(func() error { return os.Rename(u.file.Name(), u.path) }); err != nil {
		return u.discard(err)
	}
	return nil
}

// link puts the file in its place if that is free.
func (u *unfinished) link() error {
	err := os.Link(u.file.Name(), u.path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return errors.Join(u.discard(nil), err)
	}
	if _, err := os.Lstat(u.path); err == nil {
		return u.discard(fs.ErrExist)
	}
	return u.rename()
}

// Remove deletes the file at path, durably. That there is none is no error; a
// folder is not removed.
func Remove(path string) error {
	fail := func(err error) error {
		return fmt.Errorf("atomicfile: remove %s: %w", filepath.Base(path), err)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fail(err)
	case info.IsDir():
		return fail(fmt.Errorf("%w: it is a folder", ErrUnsafe))
	}
	err = persistently(func() error { return os.Remove(path) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if err := SyncFolder(filepath.Dir(path)); err != nil {
		return fail(err)
	}
	return nil
}

// IsTemp reports whether a file of that name is one that Write has not finished.
// Whoever lists a folder skips those.
func IsTemp(name string) bool { return strings.HasPrefix(filepath.Base(name), tempPrefix) }

// CleanTemp removes unfinished files that were last written longer ago than age,
// which a process that died has left behind. Younger ones may belong to a process
// that is writing now. It returns the first error but goes on after it.
func CleanTemp(folder string, age time.Duration) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("atomicfile: clean up: %w", err)
	}
	var first error
	for _, e := range entries {
		if !IsTemp(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > age {
			err = os.Remove(filepath.Join(folder, e.Name()))
		}
		if err != nil && first == nil && !errors.Is(err, fs.ErrNotExist) {
			first = fmt.Errorf("atomicfile: clean up: %w", err)
		}
	}
	return first
}
