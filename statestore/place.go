package statestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// claimsName is the file in a folder of which processes lock single bytes. On unix closing any
// descriptor of a file ends all locks that the process has on it, and locks of one process do
// not exclude one another: so it is opened here only, once, and a process' own goroutines
// exclude one another by other means.
const claimsName = "claims"

// errNoLocks is about a file system without locks on bytes of files.
var errNoLocks = errors.New("the file system has no locks")

// place is what this process knows of the claims file of a folder while it uses it.
type place struct {
	local keyedLocks // by the byte, beside the system's locks

	users int // what goes on now, and claims; without any the file is closed
	file  *os.File
	info  os.FileInfo
}

// places are those in use, for all folders of this process.
var places struct {
	mu  sync.Mutex
	all []*place
}

// enter opens the claims file of the folder at path, or finds it open. The caller leaves.
func enter(path string) (*place, error) {
	places.mu.Lock()
	defer places.mu.Unlock()
	name := filepath.Join(path, claimsName)
	info, err := os.Lstat(name)
	for _, p := range places.all {
		if err == nil && os.SameFile(info, p.info) {
			p.users++
			return p, nil
		}
	}
	file, err := atomicfile.OpenShared(name)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	p := &place{users: 1, file: file, info: info}
	places.all = append(places.all, p)
	return p, nil
}

// leave closes the file after the last.
func (p *place) leave() {
	places.mu.Lock()
	defer places.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	_ = p.file.Close() // ends its locks
	for n, other := range places.all {
		if other == p {
			places.all = append(places.all[:n], places.all[n+1:]...)
			break
		}
	}
}

const (
	firstLockPause = 100 * time.Microsecond
	mostLockPause  = 20 * time.Millisecond
)

// lock waits until no goroutine or process has locked the byte, or ctx ends. With errNoLocks
// only goroutines of this process are kept out, and unlock is to be called.
func (p *place) lock(ctx context.Context, offset int64) (unlock func(), err error) {
	leave, err := p.local.lock(ctx, offset)
	if err != nil {
		return nil, err
	}
	for pause := firstLockPause; ; pause = min(2*pause, mostLockPause) {
		ok, err := lockByte(p.file, offset)
		switch {
		case errors.Is(err, errNoLocks):
			return leave, err
		case err != nil:
			leave()
			return nil, fmt.Errorf("lock %s: %w", p.file.Name(), err)
		case ok:
			return func() {
				unlockByte(p.file, offset)
				leave()
			}, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			leave()
			return nil, ended(ctx)
		}
	}
}
