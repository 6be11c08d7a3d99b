package textfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Version tells a file that has changed from one that has not.
type Version struct {
	size     int64
	modified int64 // in nanoseconds
}

// coarse is the longest step in which file systems write dates.
const coarse = 2 * time.Second

// Settled reports whether a change after the file was read would have given it another
// version: a file may change twice within a step of its file system's dates.
func (v Version) Settled(read time.Time) bool { return read.UnixNano()-v.modified > int64(coarse) }

// File is what Read has found.
type File struct {
	Data    []byte
	Version Version
	info    fs.FileInfo
}

// Look returns the version of the file at path, which must be a regular one.
func Look(path string) (Version, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Version{}, err
	}
	if err := regular(path, info); err != nil {
		return Version{}, err
	}
	return versionOf(info), nil
}

// Read reads the regular file at path, of at most limit bytes. It follows symbolic
// links. Errors name the file.
func Read(path string, limit int64) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := regular(path, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return &File{Data: data, Version: versionOf(info), info: info}, nil
}

func versionOf(info fs.FileInfo) Version {
	return Version{info.Size(), info.ModTime().UnixNano()}
}

func regular(path string, info fs.FileInfo) error {
	switch {
	case info.Mode().IsRegular():
		return nil
	case info.IsDir():
		return fmt.Errorf("%s is a folder", path)
	}
	return fmt.Errorf("%s is a pipe or a device; a regular file is needed", path)
}
