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
	"github.com/fds-sdk/fds-go/internal/keylock"
)

// fileLocks is one lock per name, for all goroutines and processes that use the
// same folder: a locked file each, which the system unlocks when its holder dies.
//
// Whoever can write to the folder can take a lock away, or hold it for good. So the
// folder and each file in it must be this user's own, at every lock.
type fileLocks struct {
	folder string
	within bool // the folder is part of one that exists
	local  keylock.Locks[string]

	mu   sync.Mutex
	held map[string]*heldFile
}

// heldFile is a lock that this process holds.
type heldFile struct {
	*lease
	file *flock.Flock
}

const (
	lockSuffix = ".lock"

	firstLockPause = 2 * time.Millisecond
	mostLockPause  = 50 * time.Millisecond
)

// lock waits for the name's lock or for the end of ctx, and removes its file at the
// end, so that files of past grants do not pile up.
func (l *fileLocks) lock(ctx context.Context, name string) (*lease, error) {
	return l.take(ctx, name, true)
}

// lockLasting is lock for a name whose file stays: locking it again needs no room on
// the disk.
func (l *fileLocks) lockLasting(ctx context.Context, name string) (*lease, error) {
	return l.take(ctx, name, false)
}

// take queues up within the process. Among processes one waiter each asks again and
// again, since the system's own waiting cannot be interrupted.
func (l *fileLocks) take(ctx context.Context, name string, remove bool) (*lease, error) {
	leave, err := l.local.Lock(ctx, name)
	if err != nil {
		return nil, err
	}
	ready := atomicfile.ReadableFolder
	if l.within {
		ready = atomicfile.Subfolder
	}
	if err := ready(l.folder, "*"+lockSuffix); err != nil {
		leave()
		return nil, err
	}
	for pause := firstLockPause; ; pause = min(2*pause, mostLockPause) {
		file, err := tryLock(filepath.Join(l.folder, name+lockSuffix))
		if err != nil {
			leave()
			return nil, err
		}
		if file != nil {
			return l.hold(name, file, remove, leave), nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			leave()
			return nil, keylock.Ended(ctx)
		}
	}
}

// hold notes that this process has the lock.
func (l *fileLocks) hold(name string, file *flock.Flock, remove bool, leave func()) *lease {
	lease := newLease(func() {
		l.mu.Lock()
		delete(l.held, name)
		l.mu.Unlock()
		release(file, remove)
		leave()
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]*heldFile{}
	}
	l.held[name] = &heldFile{lease, file}
	return lease
}

// check reports whether a lock that is held here still keeps others out: its file may
// have been removed or replaced. A lock that is not held here is not judged.
func (l *fileLocks) check(name string) error {
	l.mu.Lock()
	held := l.held[name]
	l.mu.Unlock()
	if held == nil {
		return nil
	}
	same, err := isNamed(held.file)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case !same:
		held.lose()
		return fmt.Errorf("the lock file %s was removed or replaced while it was held", filepath.Base(held.file.Path()))
	}
	return nil
}

// isNamed reports whether the locked file is the one that others find.
func isNamed(file *flock.Flock) (bool, error) {
	locked, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(file.Path())
	return err == nil && os.SameFile(locked, named), err
}

// tryLock returns nil when someone else holds the lock.
func tryLock(path string) (*flock.Flock, error) {
	// This waits for no pipe and follows no link, and nobody else can change what it
	// finds: the folder is this user's.
	switch file, err := atomicfile.Open(path); {
	case err == nil:
		_ = file.Close() // nothing was written
	case errors.Is(err, atomicfile.ErrUnsafe):
		return nil, fmt.Errorf("%w; remove the lock file", err)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	file := flock.New(path)
	ok, err := file.TryLock()
	if err != nil || !ok {
		return nil, err
	}
	// The holder before us may have removed the file after we opened it. Then
	// our lock is on a file that no one else will find.
	same, err := isNamed(file)
	if same {
		return file, nil
	}
	_ = file.Unlock() // closing the file unlocks it anyway
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return nil, nil
}

// release removes the file, where that is wanted, while it is still locked. Windows
// removes no open file; there it stays.
func release(file *flock.Flock, remove bool) {
	// A file in its place is another holder's.
	if same, _ := isNamed(file); remove && same && runtime.GOOS != "windows" {
		_ = os.Remove(file.Path()) // a file that stays is only litter
	}
	_ = file.Unlock() // closing the file unlocks it anyway
}
