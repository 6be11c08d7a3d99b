package fdstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	folderVersion = 1
	providerFile  = "provider.json"
	grantsFile    = "grants.json"
	lockName      = "lock"
	ownerPrefix   = "owner-"
	changingMark  = ".changing"
	unfinished    = ".tmp-" // begins the names of files that are not written yet
)

// folder is where a provider keeps what outlives it.
type folder struct {
	path string
	lock *os.File
}

// openFolder makes the folder or takes one that an earlier provider has left.
func openFolder(path string) (f *folder, isNew bool, err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, false, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, false, err
	}
	isNew = true
	for _, e := range entries {
		isNew = isNew && e.Name() != providerFile
	}
	for _, e := range entries {
		if own := e.Name() == lockName || strings.HasPrefix(e.Name(), unfinished) || e.Name() == grantsFile; isNew && !own {
			return nil, false, fmt.Errorf("%s was not made by a provider: it holds %.100q; choose a folder that is new or empty", path, e.Name())
		}
	}
	lock, err := lockFile(filepath.Join(path, lockName))
	if err != nil {
		return nil, false, fmt.Errorf("%s is another provider's that runs (%w); end that, or choose another folder", path, err)
	}
	f = &folder{path: path, lock: lock}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			_ = os.Remove(f.file(e.Name())) // of one that was killed
		}
	}
	return f, isNew, nil
}

func (f *folder) close() { _ = f.lock.Close() }

func (f *folder) file(name string) string { return filepath.Join(f.path, name) }

// read returns what write wrote; false: there is no such file.
func (f *folder) read(name string, into any) (bool, error) {
	data, err := os.ReadFile(f.file(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err == nil:
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w; if it cannot be mended remove the folder, and the provider begins anew", f.file(name), err)
	}
	return true, nil
}

// write puts a value under a name, in place of what was there, mode 0600. Durably means
// that it is there after a failure of the machine, too, and not only of this process.
func (f *folder) write(name string, value any, durably bool) (err error) {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	temp, err := os.CreateTemp(f.path, unfinished+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = temp.Close() // closed already when the rename failed
			_ = os.Remove(temp.Name())
		}
	}()
	if _, err = temp.Write(data); err != nil {
		return err
	}
	if durably {
		if err = temp.Sync(); err != nil {
			return err
		}
	}
	if err = temp.Close(); err != nil {
		return err
	}
	if err = os.Rename(temp.Name(), f.file(name)); err != nil || !durably {
		return err
	}
	if dir, openErr := os.Open(f.path); openErr == nil {
		_ = dir.Sync() // not every system can
		_ = dir.Close()
	}
	return nil
}
