package marks

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

const (
	lockName = "marks.lock"

	// mostSegments is how many a folder may have: far more than settings ask for.
	mostSegments = 1 << 13
	mostNumber   = 1 << 62 // nobody counts as far
)

// Open reads the marks of a folder, which nobody else may use until Close. Errors match
// [fds.ErrRunning] where another Log has it, in this process or another, [fds.ErrNewerFormat] where a
// newer version has written a segment, and [fds.ErrUnsafe] where a file is not this user's own
// regular file or the folder is one that others use; then no segment was changed.
//
// Damaged records are passed over and counted. What is beyond Most, and what is more than twice Most
// with damaged records, is dropped without being read.
func Open(s Settings) (*Log, error) {
	l := &Log{
		most: min(cmp.Or(max(s.Most, 0), defaultMost), mostOfMost),
		keep: cmp.Or(max(s.For, 0), defaultFor),
		log:  cmp.Or(s.Logger, slog.New(slog.DiscardHandler)),
		next: 1,
	}
	l.each = leastOfASegment
	for l.each < mostOfASegment && 2*l.each <= l.most/shares {
		l.each *= 2
	}
	if s.Folder == "" {
		return l, nil
	}
	if err := l.openFolder(s.Folder); err != nil {
		return nil, fmt.Errorf("webhook: Settings.Folder %s: %w", s.Folder, saying(err))
	}
	return l, nil
}

func (l *Log) openFolder(folder string) (err error) {
	if l.folder, err = filepath.Abs(folder); err != nil {
		return err
	}
	if err := atomicfile.Folder(l.folder, lockName, "*"+suffix); err != nil {
		return err
	}
	if err := l.takeLock(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = l.lock.Unlock() // closing the file unlocks it anyway
		}
	}()
	numbers, err := segmentsIn(l.folder)
	if err != nil {
		return err
	}
	if len(numbers) > 0 {
		last := numbers[len(numbers)-1]
		if last >= mostNumber {
			return fmt.Errorf("%w: no segment has the number of %s; remove it", fds.ErrCorrupt, nameOf(last))
		}
		l.next = last + 1
	}
	if err := l.read(numbers); err != nil {
		return err
	}
	if l.damaged > 0 {
		l.log.Warn("webhook: damaged marks were passed over: what they stood for may be handled once more", "folder", l.folder, "records", l.damaged)
	}
	return nil
}

func (l *Log) takeLock() error {
	// Nobody else can put a link or a pipe there: the folder is this user's.
	path := filepath.Join(l.folder, lockName)
	file, err := atomicfile.OpenShared(path)
	if err != nil {
		return err
	}
	_ = file.Close() // nothing was written
	l.lock = flock.New(path)
	ok, err := l.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock %s: %w; choose a folder on a local disk", lockName, err)
	}
	if !ok {
		return fmt.Errorf("%w: another process, or another Receiver of this one, has it; end that one, or name a folder that is this one's alone", fds.ErrRunning)
	}
	return nil
}

// segmentsIn returns the numbers of the segments in a folder in ascending order.
func segmentsIn(folder string) (numbers []uint64, err error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if n, ok := numberOf(name); ok {
				numbers = append(numbers, n)
			}
		}
		if len(numbers) > mostSegments {
			return nil, fmt.Errorf("%w: there are more than %d files of marks; remove the oldest, or choose another folder", fds.ErrTooLarge, mostSegments)
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(numbers)
			return numbers, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// read reads segments from the newest on, and drops those that are too old or too many. Before it has
// looked at all of them it changes nothing.
func (l *Log) read(numbers []uint64) error {
	now := time.Now()
	looked := 0
	for _, n := range slices.Backward(numbers) {
		var s *segment
		var err error
		if l.count < l.most && looked/2 < l.most {
			var found scanned
			s, found, err = l.readOne(n, now)
			looked += found.looked
		} else {
			s, err = l.pass(n, now)
		}
		switch {
		case errors.Is(err, fds.ErrNewerFormat):
			return fmt.Errorf("%s: %w; use that version, or another folder", nameOf(n), err)
		case err != nil:
			return fmt.Errorf("%s: %w; remove it to go on without it", nameOf(n), err)
		}
		if len(s.set) == 0 {
			l.gone = append(l.gone, s)
			continue
		}
		l.segments = append(l.segments, s)
		l.count += s.count
	}
	slices.Reverse(l.gone)
	slices.Reverse(l.segments)
	l.drop(now)
	removed, err := l.remove(l.gone)
	l.gone, l.leftover = slices.Delete(l.gone, 0, removed), err // the next write removes what is left
	l.tell(nil, err, unremoved, "")
	return nil
}

// pass counts the records of a segment beyond Most without reading them.
func (l *Log) pass(number uint64, now time.Time) (*segment, error) {
	file, err := atomicfile.Open(l.path(number))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := scan(io.LimitReader(file, recordSize), nil); err != nil {
		return nil, err
	}
	if now.Sub(info.ModTime()) <= l.keep {
		l.forgotten += max(0, min(info.Size()/recordSize-1, mostOfASegment))
	}
	return &segment{number: number}, nil
}

func (l *Log) readOne(number uint64, now time.Time) (*segment, scanned, error) {
	file, err := atomicfile.Open(l.path(number))
	if err != nil {
		return nil, scanned{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, scanned{}, err
	}
	records := int(min(info.Size()/recordSize, mostOfASegment))
	room := records
	if number == l.next-1 { // it is gone on with
		room = max(room, l.each)
	}
	s := newSegment(number, room)
	s.named, s.set = true, make(map[Mark]struct{}, records)
	found, err := scan(file, func(m Mark, unix int64) {
		at := now
		if unix < now.Add(believed).Unix() {
			at = time.Unix(unix, 0)
		}
		if len(s.set) == 0 || at.Before(s.first) {
			s.first = at
		}
		if at.After(s.last) {
			s.last = at
		}
		s.put(m)
	})
	if err != nil {
		return nil, found, err
	}
	s.count, s.written = found.end, found.end
	s.sealed = !found.header || found.longer
	l.damaged += int64(found.damaged)
	if found.longer {
		l.log.Warn("webhook: a file of marks is larger than one can be: the rest was not read", "file", file.Name())
	}
	return s, found, nil
}
