package marks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestAMarkIsSeenAtOnceAndByTheNextProcess(t *testing.T) {
	s := Settings{Folder: filepath.Join(t.TempDir(), "a", "b")}
	l := open(t, s)
	unseen(t, l, 0, 10)
	add(t, l, marksOf(0, 5)...)
	seen(t, l, 0, 5)
	unseen(t, l, 5, 10)
	closed(t, l)

	l = open(t, s)
	seen(t, l, 0, 5)
	unseen(t, l, 5, 10)
	add(t, l, mark(5))
	add(t, l) // nothing
	if got := l.Stats(); got != (Stats{Kept: 6}) {
		t.Errorf("%+v", got)
	}
	closed(t, l)
	l = open(t, s)
	seen(t, l, 0, 6)
	if names := segments(t, s.Folder); len(names) != 1 {
		t.Errorf("the segments are %v: the last one was to be gone on with", names)
	}
}

func TestMarksWithoutAFolderAreInMemoryAlone(t *testing.T) {
	t.Chdir(t.TempDir())
	l := open(t, Settings{Most: 2000})
	add(t, l, marksOf(0, 5000)...)
	seen(t, l, 3000, 5000)
	if got := l.Stats(); got.Kept < 2000 || got.Kept >= 2000+leastOfASegment || got.Kept+int(got.Forgotten) != 5000 {
		t.Errorf("%+v", got)
	}
	closed(t, l)
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 0 {
		t.Errorf("there are files: %v, %v", entries, err)
	}
	other := open(t, Settings{})
	unseen(t, other, 3000, 5000)
}

func TestAFolderHasOneLogAtATime(t *testing.T) {
	s := Settings{Folder: t.TempDir()}
	l := open(t, s)
	if _, err := Open(s); !errors.Is(err, fds.ErrRunning) {
		t.Errorf("a second one in this process: %v", err)
	}
	closed(t, l)
	closed(t, l) // again
	if err := l.Add(t.Context(), time.Now(), mark(1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Add to a closed one: %v", err)
	}
	other := startChild(t, s.Folder)
	other.next(t)
	if _, err := Open(s); !errors.Is(err, fds.ErrRunning) {
		t.Errorf("a second one while another process has it: %v", err)
	}
	other.kill(t)
	open(t, s)
}

func TestBeyondMostTheOldestGoAndAreCounted(t *testing.T) {
	s := Settings{Folder: t.TempDir(), Most: 4 * leastOfASegment}
	l := open(t, s)
	for n := range 10 * leastOfASegment / 64 {
		add(t, l, marksOf(64*n, 64*(n+1))...)
	}
	const all, most = 10 * leastOfASegment, 5 * leastOfASegment // and one segment that is being filled
	for range 2 {
		got := l.Stats()
		if got.Kept < s.Most || got.Kept > most || l.Seen(mark(0)) {
			t.Errorf("%+v", got)
		}
		seen(t, l, all-s.Most, all)
		if names := segments(t, s.Folder); len(names) > 5 {
			t.Errorf("the segments are %v", names)
		}
		closed(t, l)
		l = open(t, s)
	}
	closed(t, l)

	s.Most = 1 // a segment all the same
	l = open(t, s)
	seen(t, l, all-leastOfASegment, all)
	if got := l.Stats(); got.Kept != leastOfASegment || got.Forgotten < 3*leastOfASegment {
		t.Errorf("with a smaller Most: %+v", got)
	}
	if names := segments(t, s.Folder); len(names) != 1 {
		t.Errorf("the segments are %v", names)
	}
}

func TestWhatIsBeyondMostIsNotRead(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, nameOf(1), make([]byte, 11*recordSize))
	write(t, folder, nameOf(2), make([]byte, 101*recordSize))
	write(t, folder, nameOf(3), segmentBytes(time.Now(), marksOf(0, leastOfASegment)...))
	old := time.Now().Add(-100 * time.Hour)
	if err := os.Chtimes(filepath.Join(folder, nameOf(1)), old, old); err != nil {
		t.Fatal(err)
	}
	l := open(t, Settings{Folder: folder, Most: leastOfASegment})
	seen(t, l, 0, leastOfASegment)
	if got := l.Stats(); got != (Stats{Kept: leastOfASegment, Forgotten: 100}) || len(segments(t, folder)) != 1 {
		t.Errorf("%+v, %v", got, segments(t, folder))
	}
}

func TestOneFileIsOpenAtATime(t *testing.T) {
	l := open(t, Settings{Folder: t.TempDir(), Most: 4 * leastOfASegment})
	for n := range 8 {
		add(t, l, marksOf(n*leastOfASegment, (n+1)*leastOfASegment+1)...)
		for n, s := range l.segments {
			if newest := n == len(l.segments)-1; newest != (s.file != nil) {
				t.Errorf("the file of segment %d of %d is open: %v", n+1, len(l.segments), s.file != nil)
			}
		}
	}
	closed(t, l)
	if newest := l.segments[len(l.segments)-1]; newest.file != nil {
		t.Error("a file is open at the end")
	}
}

func TestAFileThatCannotBeRemovedIsTriedAgain(t *testing.T) {
	var log logged
	folder := t.TempDir()
	l := open(t, Settings{Folder: folder, Most: 3 * leastOfASegment, Logger: log.logger()})
	add(t, l, marksOf(0, 3*leastOfASegment)...)
	taken := filepath.Join(folder, nameOf(2)) // by a folder that is not empty
	if err := errors.Join(os.Remove(taken), os.MkdirAll(filepath.Join(taken, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for n := 3; n < 9; n += 3 {
		add(t, l, marksOf(n*leastOfASegment, (n+3)*leastOfASegment)...)
	}
	if got := l.Stats(); got.Err == nil || log.count("cannot be removed") != 1 || log.count("memory only") != 0 || len(segments(t, folder)) != 8 {
		t.Errorf("%+v, %v; the log has %s", got, segments(t, folder), log.all.String())
	}
	if err := os.Remove(filepath.Join(taken, "x")); err != nil {
		t.Fatal(err)
	}
	add(t, l, mark(-1))
	if got := l.Stats(); got.Err != nil || len(l.gone) != 0 || len(segments(t, folder)) != len(l.segments) {
		t.Errorf("%+v, %d are left, and %v", got, len(l.gone), segments(t, folder))
	}
}

func TestAFileThatFailedIsOpenedAnew(t *testing.T) {
	s := Settings{Folder: t.TempDir()}
	l := open(t, s)
	add(t, l, mark(0))
	if err := l.segments[0].file.Close(); err != nil { // nothing can be written to it any more
		t.Fatal(err)
	}
	if err := l.Add(t.Context(), time.Now(), mark(1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a write that fails: %v", err)
	}
	add(t, l, mark(2))
	closed(t, l)
	l = open(t, s)
	seen(t, l, 0, 3)
}

func TestAMarkOfThePastIsSeen(t *testing.T) {
	l := open(t, Settings{Folder: t.TempDir()})
	if err := l.Add(t.Context(), time.Time{}, mark(0)); err != nil || !l.Seen(mark(0)) {
		t.Errorf("%v, seen: %v", err, l.Seen(mark(0)))
	}
}

func TestAMarkIsKeptForItsTimeAndASixteenth(t *testing.T) {
	for name, reopen := range map[string]bool{"in one process": false, "by others that follow": true} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := Settings{Folder: folder, For: 16 * time.Hour}
				l := open(t, s)
				const perHour = 4
				for n := range 40 * perHour {
					add(t, l, mark(n))
					seen(t, l, max(0, n-16*perHour), n+1)
					if n > 18*perHour+1 {
						unseen(t, l, n-18*perHour-1, n-18*perHour)
					}
					if reopen && n%3 == 0 {
						closed(t, l)
						l = open(t, s)
					}
					time.Sleep(time.Hour / perHour)
				}
				if got := l.Stats(); got.Forgotten != 0 {
					t.Errorf("%+v", got)
				}
				if names := segments(t, folder); len(names) > 19 {
					t.Errorf("there are %d segments", len(names))
				}
				time.Sleep(s.For + 2*time.Hour)
				add(t, l, mark(1000))
				if got := l.Stats(); got.Kept != 1 || len(segments(t, folder)) != 1 {
					t.Errorf("after a pause: %+v, %v", got, segments(t, folder))
				}
				closed(t, l)
			})
		})
	}
}

func TestAllWhoComeDuringAWriteShareTheNext(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Settings{Folder: folder})
		add(t, l, mark(0))
		synctest.Wait() // its writer has ended
		l.mu.Lock()
		l.writing = true // as if one were under way
		l.mu.Unlock()
		var wait sync.WaitGroup
		returned := make([]bool, 101)
		for n := 1; n <= 100; n++ {
			wait.Go(func() {
				add(t, l, mark(n))
				returned[n] = true
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait.Go(func() {
			if err := l.Add(ctx, time.Now(), mark(101)); !errors.Is(err, context.Canceled) {
				t.Errorf("the wait that a context ended: %v", err)
			}
			cancel()
		})
		synctest.Wait()
		seen(t, l, 0, 102) // at once
		if names := segments(t, folder); len(read(t, folder, names[0])) != 2*recordSize {
			t.Error("something was written meanwhile")
		}
		for n := 1; n <= 100; n++ {
			if returned[n] {
				t.Fatalf("Add of %d has returned, and it is not on disk", n)
			}
		}
		cancel()
		synctest.Wait()
		l.mu.Lock()
		r := l.waiting
		l.mu.Unlock()
		l.write()
		if names := segments(t, folder); len(read(t, folder, names[0])) != 103*recordSize || r.err != nil {
			t.Errorf("one write has not written all: %v", r.err)
		}
		wait.Wait()
		closed(t, l)
	})
}

func TestASegmentHasItsMarksWhateverItsSieveSays(t *testing.T) {
	for _, room := range []int{0, 1, 100, 1 << 16} {
		s := newSegment(1, room)
		for n := range 2000 {
			s.put(mark(n))
		}
		for n := range 4000 {
			if got := s.has(mark(n), mark(n).inSieve()); got != (n < 2000) {
				t.Errorf("room for %d: mark %d is there: %v", room, n, got)
			}
		}
	}
}
