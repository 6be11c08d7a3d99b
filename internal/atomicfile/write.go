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
	return WriteDated(path, time.Time{}, data)
}

// WriteDated is [Write] of all parts, one behind the other, to a file that says it was modified
// at that time, where the file system keeps one. The zero time is that of the write.
func WriteDated(path string, modified time.Time, parts ...[]byte) error {
	if err := write(path, modified, parts...); err != nil {
		return fmt.Errorf("atomicfile: write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func write(path string, modified time.Time, parts ...[]byte) (err error) {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, tempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // closed already when the rename failed
			_ = os.Remove(f.Name())
		}
	}()
	for _, part := range parts {
		if _, err = f.Write(part); err != nil {
			return err
		}
	}
	if !modified.IsZero() {
		_ = os.Chtimes(f.Name(), time.Time{}, modified) // some file systems keep no times
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = persistently(func() error { return os.Rename(f.Name(), path) }); err != nil {
		return err
	}
	return SyncFolder(folder)
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
