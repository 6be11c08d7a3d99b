package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Reserve makes sure that the disk has room for a file of size bytes at least, which
// [Fill] may put there: with a file at path that has as many, and what the file system
// itself may need. They are random, since a disk that compresses keeps no room for
// zeros. When it fails what was there is as large as before.
func Reserve(path string, size int64) error {
	if err := reserve(path, size); err != nil {
		return fmt.Errorf("atomicfile: reserve %s: %w", filepath.Base(path), err)
	}
	return nil
}

func reserve(path string, size int64) (err error) {
	f, before, err := openReserved(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	defer func() {
		closeErr := f.Close()
		if err == nil {
			err = closeErr
		}
		if err != nil && before == 0 {
			_ = os.Remove(path)
		}
	}()
	if size += overhead(path); before < size {
		var seed [32]byte
		_, _ = rand.Read(seed[:]) // never fails
		if _, err = f.Seek(before, io.SeekStart); err == nil {
			_, err = io.CopyN(f, mathrand.NewChaCha8(seed), size-before)
		}
	}
	if err == nil {
		err = f.Sync() // some disks say only now that they are full
	}
	if err != nil {
		_ = f.Truncate(before)
	}
	return err
}

// Reserved says for how large a file there is room, 0 where nothing is reserved.
func Reserved(path string) (int64, error) {
	f, size, err := openReserved(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("atomicfile: reserved %s: %w", filepath.Base(path), err)
	}
	return max(0, size-overhead(path)), f.Close()
}

// Shrink gives back to the disk what is not needed for a file of size bytes.
func Shrink(path string, size int64) error {
	f, _, err := openReserved(path)
	if err == nil {
		err = errors.Join(f.Truncate(size+overhead(path)), f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("atomicfile: shrink %s: %w", filepath.Base(path), err)
	}
	return nil
}

// Fill puts data under path as [Write] does, in the room that Reserve made at reserved:
// the file there becomes the one at path. On file systems that never write in place
// it is given up first, and someone else may be faster to take its room. Errors match
// [fs.ErrNotExist] when nothing is reserved and [ErrTooLarge] when it is not enough;
// then nothing was changed.
func Fill(reserved, path string, data []byte) error {
	err := fill(reserved, path, data)
	if IsFull(err) {
		if err = os.Remove(reserved); err == nil {
			return Write(path, data)
		}
	}
	return writing(path, err)
}

func fill(reserved, path string, data []byte) error {
	f, size, err := openReserved(reserved)
	if err != nil {
		return err
	}
	if size -= overhead(reserved); size < int64(len(data)) {
		_ = f.Close() // nothing was written
		return fmt.Errorf("%w: %d bytes, %d are reserved", ErrTooLarge, len(data), size)
	}
	if err := errors.Join(overwrite(f, data), f.Close()); err != nil {
		return err
	}
	if err := persistently(func() error { return os.Rename(reserved, path) }); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

func overwrite(f *os.File, data []byte) error {
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(data))); err != nil {
		return err
	}
	return f.Sync()
}

// openReserved opens a reserved file for writing and returns its size.
func openReserved(path string) (*os.File, int64, error) {
	f, err := openRegular(path, os.O_RDWR)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil {
		err = own(f, false)
	}
	if err == nil {
		err = restrict(f, 0o600)
	}
	if err != nil {
		_ = f.Close() // the error to tell is the one before
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// IsFull reports whether the disk has no room, or this user's quota is used up.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || isFull(err)
}
