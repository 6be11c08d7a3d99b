package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// fileLocks is one lock per name, for all goroutines and processes that use the
// same folder: a locked file each, which the system unlocks when its holder dies.
type fileLocks struct {
	folder string
	local  keyedLocks
}

const (
	firstLockPause = 2 * time.Millisecond
	mostLockPause  = 50 * time.Millisecond
)

// lock waits for the name's lock or for the end of ctx. Within the process waiters
// queue up; among processes one waiter each asks again and again, since the
// system's own waiting cannot be interrupted.
func (l *fileLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	leave, err := l.local.lock(ctx, name)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(l.folder, name+".lock")
	for pause := firstLockPause; ; pause = min(2*pause, mostLockPause) {
		file, err := tryLock(path)
		if errors.Is(err, fs.ErrNotExist) {
			if err = atomicfile.Folder(l.folder); err == nil {
				file, err = tryLock(path)
			}
		}
		if err != nil {
			leave()
			return nil, err
		}
		if file != nil {
			return sync.OnceFunc(func() {
				release(file)
				leave()
			}), nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			leave()
			return nil, contextCause(ctx)
		}
	}
}

// tryLock gives nil when someone else holds the lock.
func tryLock(path string) (*flock.Flock, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: the lock file %s is not a regular file; remove it", ErrUnsafe, filepath.Base(path))
	}
	file := flock.New(path)
	ok, err := file.TryLock()
	if err != nil || !ok {
		return nil, err
	}
	// The holder before us may have removed the file after we opened it. Then
	// our lock is on a file that no one else will find.
	locked, err := file.Stat()
	if err == nil {
		var named fs.FileInfo
		if named, err = os.Lstat(path); err == nil && os.SameFile(locked, named) {
			return file, nil
		}
	}
	_ = file.Unlock() // closing the file unlocks it anyway
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return nil, nil
}

// release removes the file while it is still locked, so that files of past grants
// do not pile up. Windows removes no open file; there it stays.
func release(file *flock.Flock) {
	if runtime.GOOS != "windows" {
		_ = os.Remove(file.Path()) // a file that stays is only litter
	}
	_ = file.Unlock() // closing the file unlocks it anyway
}
