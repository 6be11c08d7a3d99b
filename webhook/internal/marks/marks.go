package marks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Mark names something that was handled: 16 bytes of a SHA-256.
type Mark [16]byte

// Settings say where marks are kept, and how many for how long.
type Settings struct {
	// Folder is where the marks are, a folder of this user's own on a local disk. It is made where
	// there is none. "" keeps them in memory alone.
	Folder string
	// Most is how many marks are kept at least; beyond it the oldest go, a sixteenth of them at a time
	// or less (but 1,664 at least). Default: 1,000,000; at most 1<<30.
	Most int
	// For is how long a mark is kept at least, unless Most is reached; at most a sixteenth longer
	// where others are added. Default: 76 h.
	For    time.Duration
	Logger *slog.Logger // nil: none
}

// Bounds of settings and of segments.
const (
	defaultMost = 1_000_000
	defaultFor  = 76 * time.Hour
	mostOfMost  = 1 << 30

	shares          = 16            // of Most or For in a segment
	leastOfASegment = mapFill << 7  // records, where Most would have fewer
	mostOfASegment  = mapFill << 16 // records, also of what is read
	mapFill         = 13            // of 16 places of a map taken: it grows by twofold, at 14 of 16
	believed        = 24 * time.Hour
)

// Log is the marks of one folder. Its methods are safe for concurrent use.
type Log struct {
	folder string
	most   int
	each   int // records in a segment
	keep   time.Duration
	log    *slog.Logger
	lock   *flock.Flock // nil in memory

	mu        sync.RWMutex
	segments  []*segment // oldest first; the last takes what is added
	gone      []*segment // dropped; their files are to be removed
	count     int        // records in all segments
	next      uint64     // number of the next segment
	forgotten int64
	damaged   int64
	failure   error  // of the last write; nil: none
	leftover  error  // why a file in gone was not removed
	waiting   *round // of those who wait for the next write; nil: nobody
	writing   bool
	closed    bool
	writers   sync.WaitGroup // one at most

	open *segment // whose file is open; the writer's
}

// round is a write for which any number wait.
type round struct {
	done chan struct{}
	err  error // once done
}

// Stats are what is seen of a Log.
type Stats struct {
	Kept      int   // marks; one that was added twice may count twice
	Forgotten int64 // marks that went before their time, since there were more than Most
	Damaged   int64 // records that Open passed over
	Err       error // why marks were not written, or old ones not removed, the last time; nil: they were
}

var errClosed = fmt.Errorf("webhook: Settings.Folder: %w", os.ErrClosed)

// Seen reports whether a mark was added, also when it is not on disk. It reads no disk.
func (l *Log) Seen(m Mark) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at := m.inSieve()
	for _, s := range slices.Backward(l.segments) {
		if s.has(m, at) {
			return true
		}
	}
	return false
}

// Add adds marks of that time, which are seen at once, and returns when they are on disk, as the
// function that Note returns does.
func (l *Log) Add(ctx context.Context, at time.Time, marks ...Mark) error {
	return l.Note(at, marks...)(ctx)
}

// Note adds marks of that time, which are seen at once, and returns a function that waits until they
// are on disk, and all that was seen when Note was called, also by a call without marks. All who come
// while a write is under way share the next one. With an error the marks are not known to be on disk:
// they stay seen in this process, and the next call tries again to write them, too. The end of ctx
// ends the wait and not the write.
func (l *Log) Note(at time.Time, marks ...Mark) (wait func(ctx context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed && len(marks) > 0 {
		return func(context.Context) error { return errClosed }
	}
	now := time.Now()
	if at.Sub(now) > believed {
		at = now
	}
	for _, m := range marks {
		l.insert(m, at, now)
	}
	if len(marks) > 0 {
		l.drop(now)
	}
	if l.folder == "" || len(marks) == 0 && !l.writing { // who waits has a writer
		return func(context.Context) error { return nil }
	}
	if l.waiting == nil {
		l.waiting = &round{done: make(chan struct{})}
	}
	r := l.waiting
	if !l.writing {
		l.writing = true
		l.writers.Go(l.write)
	}
	return func(ctx context.Context) error {
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return fmt.Errorf("webhook: Settings.Folder: wait for the disk: %w", context.Cause(ctx))
		}
	}
}

// insert notes a mark in the newest segment, or begins another. The caller has locked mu.
func (l *Log) insert(m Mark, at, now time.Time) {
	var s *segment
	if len(l.segments) > 0 {
		s = l.segments[len(l.segments)-1]
	}
	if s == nil || s.sealed || s.count >= l.each || now.Sub(s.first) >= l.keep/shares {
		s = newSegment(l.next, l.each)
		s.first, s.last = now, at
		l.next++
		l.segments = append(l.segments, s)
	}
	s.put(m)
	s.count++
	l.count++
	if at.After(s.last) {
		s.last = at
	}
	if l.folder != "" {
		s.todo = appendRecord(s.todo, m, at.Unix())
	}
}

// drop takes the oldest segments out that are too old or too many, but for the newest of all. The
// caller has locked mu.
func (l *Log) drop(now time.Time) {
	for len(l.segments) > 1 {
		s := l.segments[0]
		old := now.Sub(s.last) > l.keep
		if !old && l.count-s.count < l.most {
			return
		}
		if !old {
			l.forgotten += int64(len(s.set))
		}
		l.count -= s.count
		l.segments = slices.Delete(l.segments, 0, 1)
		s.set, s.sieve, s.todo = nil, nil, nil
		if l.folder != "" {
			l.gone = append(l.gone, s)
		}
	}
}

// Stats returns what is seen of the Log at this moment.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := Stats{Forgotten: l.forgotten, Damaged: l.damaged, Err: cmp.Or(l.failure, l.leftover)}
	for _, one := range l.segments {
		s.Kept += len(one.set)
	}
	return s
}

// Close waits for the write under way, tries once more to write what is not on disk, and unlocks the
// folder. It returns why something is not on disk. Marks are still seen then, but Add fails.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	if l.folder == "" {
		return nil
	}
	l.writers.Wait()
	err := l.writeOnce() // there is no other writer any more
	l.turnTo(nil)
	return errors.Join(err, l.lock.Unlock())
}
