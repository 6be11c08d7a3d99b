package marks

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// write goes on as long as someone waits.
func (l *Log) write() {
	for {
		l.mu.Lock()
		r := l.waiting
		l.waiting = nil
		l.writing = r != nil
		l.mu.Unlock()
		if r == nil {
			return
		}
		r.err = l.writeOnce()
		close(r.done)
	}
}

// job is what is to be appended to a segment.
type job struct {
	segment *segment
	records []byte
}

// writeOnce removes the files of dropped segments and writes all that is not on disk. It returns an
// error when something of that still is not.
func (l *Log) writeOnce() error {
	l.mu.Lock()
	gone := slices.Clone(l.gone)
	var jobs []job
	for _, s := range l.segments {
		if len(s.todo) > 0 {
			jobs = append(jobs, job{s, s.todo})
			s.todo = nil
		}
	}
	l.mu.Unlock()

	removed, removeErr := l.remove(gone)
	var err error
	for n, j := range jobs {
		l.turnTo(j.segment)
		path := l.path(j.segment.number)
		rest, failed := j.segment.write(path, j.records)
		if jobs[n].records = rest; failed == nil {
			continue
		}
		err = cmp.Or(err, fmt.Errorf("webhook: Settings.Folder: write %s: %w", path, saying(failed)))
		if !errors.Is(failed, errRemoved) { // which is of that file alone
			break
		}
	}

	l.mu.Lock()
	l.gone = slices.Delete(l.gone, 0, removed)
	for _, j := range jobs {
		if s := j.segment; len(j.records) > 0 && s.set != nil { // else it was dropped meanwhile
			s.todo = append(j.records, s.todo...)
		}
	}
	failure, leftover := l.failure, l.leftover
	l.failure, l.leftover = err, removeErr
	l.mu.Unlock()
	l.tell(failure, err, "webhook: the marks of what was handled are kept in memory only, until they can be written", "webhook: the marks of what was handled are written again")
	l.tell(leftover, removeErr, unremoved, "webhook: files of former marks are removed again")
	return err
}

const unremoved = "webhook: a file of former marks cannot be removed; it is tried again"

// tell logs that something fails, once until it works again.
func (l *Log) tell(before, now error, fails, works string) {
	switch {
	case before == nil && now != nil:
		l.log.Warn(fails, "error", now)
	case before != nil && now == nil:
		l.log.Info(works)
	}
}

// turnTo closes the file of the segment before, to which nothing is appended any more.
func (l *Log) turnTo(s *segment) {
	if l.open != nil && l.open != s {
		_ = l.open.close() // what was to be on disk is
	}
	l.open = s
}

// remove removes files, the oldest first, and returns of how many segments; the next call goes on.
func (l *Log) remove(gone []*segment) (removed int, err error) {
	for _, s := range gone {
		_ = s.close() // what was written is not wanted any more
		path := l.path(s.number)
		if err = os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("webhook: Settings.Folder: remove %s: %w", path, saying(err))
			break
		}
		err = nil
		removed++
	}
	if removed > 0 {
		_ = atomicfile.SyncFolder(l.folder) // a file that comes back is removed again
	}
	return removed, err
}

func (l *Log) path(number uint64) string { return filepath.Join(l.folder, nameOf(number)) }

// saying adds what to do about an error of the file system.
func saying(err error) error {
	switch {
	case errors.Is(err, atomicfile.ErrUnsafe):
		return fmt.Errorf("%w: %w", fds.ErrUnsafe, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let this process's user write to it, or choose another folder", err)
	case atomicfile.IsFull(err):
		return fmt.Errorf("%w; make room on the disk", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; choose a folder that can be written to", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; if someone removed the folder, start this process anew", err)
	}
	return err
}
