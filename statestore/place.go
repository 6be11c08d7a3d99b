package statestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
	"github.com/fds-sdk/fds-go/internal/keylock"
)

// claimsName is the file in a folder of which processes lock single bytes. On unix closing any
// descriptor of a file ends all locks that the process has on it, and locks of one process do
// not exclude one another: so it is opened here only, once, and a process' own goroutines
// exclude one another by other means.
const claimsName = "claims"

// errNoLocks is about a file system without locks on bytes of files.
var errNoLocks = errors.New("the file system has no locks")

// place is a folder as all of this process use it.
type place struct {
	path  string
	users int                  // guarded by places.mu: what goes on now, and claims: without any the file is closed
	local keylock.Locks[int64] // by the byte, beside the system's locks
	slots chan struct{}        // full with those that have a record locked

	mu       sync.Mutex
	file     *os.File // nil: not opened yet
	info     os.FileInfo
	former   []*os.File // were removed or replaced by someone; locks on them may be in use still
	identity int64      // the byte of the file that says that this process lives; 0: none
	missing  bool       // the file is new and lacks what this process has claimed
	claims   map[fds.OwnerKey]*claim
}

// places are those in use.
var places struct {
	mu  sync.Mutex
	all []*place
}

// enter returns the place of a folder. The caller leaves it.
func enter(path string) *place {
	places.mu.Lock()
	defer places.mu.Unlock()
	at := slices.IndexFunc(places.all, func(p *place) bool { return p.path == path })
	if at < 0 && len(places.all) > 0 {
		if dir, err := os.Stat(path); err == nil {
			at = slices.IndexFunc(places.all, func(p *place) bool { return p.is(dir) })
		}
	}
	if at >= 0 {
		p := places.all[at]
		p.users++
		return p
	}
	p := &place{path: path, users: 1, slots: make(chan struct{}, mostAtOnce), claims: map[fds.OwnerKey]*claim{}}
	places.all = append(places.all, p)
	return p
}

// is reports whether it is that folder, under another path.
func (p *place) is(dir os.FileInfo) bool {
	now, err := os.Stat(p.path) // at this moment: it may have been made, or another put in its place
	return err == nil && os.SameFile(now, dir)
}

// leave closes the file after the last.
func (p *place) leave() {
	places.mu.Lock()
	defer places.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	places.all = slices.DeleteFunc(places.all, func(other *place) bool { return other == p })
	if p.file != nil {
		p.former = append(p.former, p.file)
	}
	for _, file := range p.former {
		_ = file.Close() // ends its locks
	}
}

// open returns the file that was opened last.
func (p *place) open() (*os.File, error) {
	p.mu.Lock()
	file := p.file
	p.mu.Unlock()
	if file != nil {
		return file, nil
	}
	return p.current()
}

// current returns the file that others find, which may have been removed or replaced since it
// was opened.
func (p *place) current() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := filepath.Join(p.path, claimsName)
	if p.file != nil {
		if info, err := os.Lstat(name); err == nil && os.SameFile(info, p.info) {
			return p.file, nil
		}
	}
	file, err := atomicfile.OpenShared(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	if p.file != nil {
		p.former = append(p.former, p.file)
		p.missing = len(p.claims) > 0
		for _, c := range p.claims {
			c.position = -1
		}
	}
	p.file, p.info, p.identity = file, info, 0
	return file, nil
}

// mostAtOnce is how many records a process changes at once. They go to the disk together. Of ten
// thousand each would take a thread, and the system goes through all locks of a file for each
// new one.
const mostAtOnce = 64

const (
	firstLockPause = 100 * time.Microsecond
	mostLockPause  = 20 * time.Millisecond
)

// lock waits until no goroutine or process has locked the byte, or ctx ends. With errNoLocks
// only goroutines of this process are kept out, and unlock is to be called.
func (p *place) lock(ctx context.Context, offset int64) (unlock func(), err error) {
	unlock, err = p.lockOne(ctx, offset)
	if err != nil {
		return unlock, err
	}
	p.mu.Lock()
	missing := p.missing
	if p.identity != 0 {
		keepByte(p.file, p.identity) // whoever closed the file by other ways has ended the lock
	}
	p.mu.Unlock()
	switch {
	case !missing:
	case offset == tableByte:
		p.restore()
	default:
		done, err := p.lockOne(ctx, tableByte)
		if err != nil && !errors.Is(err, errNoLocks) {
			unlock()
			return nil, err
		}
		p.restore()
		done()
	}
	return unlock, nil
}

func (p *place) lockOne(ctx context.Context, offset int64) (unlock func(), err error) {
	leave, err := p.local.Lock(ctx, offset)
	if err != nil {
		return nil, err
	}
	for pause := firstLockPause; ; pause = min(2*pause, mostLockPause) {
		unlock, err := p.try(ctx, offset)
		switch {
		case unlock != nil:
			return func() {
				unlock()
				leave()
			}, err
		case err != nil:
			leave()
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			leave()
			return nil, keylock.Ended(ctx)
		}
	}
}

// try is one attempt to lock a byte, once there is a slot for it. Unlock is nil where another
// process has it.
func (p *place) try(ctx context.Context, offset int64) (unlock func(), err error) {
	free := func() {}
	if offset != tableByte {
		select {
		case p.slots <- struct{}{}:
			free = func() { <-p.slots }
		case <-ctx.Done():
			return nil, keylock.Ended(ctx)
		}
	}
	for {
		file, err := p.open()
		if err != nil {
			free()
			return nil, err
		}
		ok, err := lockByte(file, offset)
		switch {
		case errors.Is(err, errNoLocks):
			return free, err
		case err != nil || !ok:
			free()
			return nil, err
		}
		now, err := p.current()
		if err == nil && now == file {
			return func() {
				unlockByte(file, offset)
				free()
			}, nil
		}
		unlockByte(file, offset) // nobody else finds that file
		if err != nil {
			free()
			return nil, err
		}
	}
}
