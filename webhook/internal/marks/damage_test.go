package marks

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestATornTailIsOverwritten(t *testing.T) {
	for torn := 1; torn < recordSize; torn += 5 {
		s := Settings{Folder: t.TempDir()}
		l := open(t, s)
		add(t, l, marksOf(0, 3)...)
		closed(t, l)
		whole := read(t, s.Folder, nameOf(1))
		write(t, s.Folder, nameOf(1), whole[:len(whole)-torn])

		l = open(t, s)
		seen(t, l, 0, 2)
		unseen(t, l, 2, 3)
		add(t, l, marksOf(3, 5)...)
		closed(t, l)
		l = open(t, s)
		seen(t, l, 0, 2)
		seen(t, l, 3, 5)
		if got := l.Stats(); got != (Stats{Kept: 4}) || len(segments(t, s.Folder)) != 1 {
			t.Errorf("%d bytes less: %+v, %v", torn, got, segments(t, s.Folder))
		}
	}
}

func TestWhatIsBehindTheLastGoodRecordIsCutOff(t *testing.T) {
	s := Settings{Folder: t.TempDir()}
	write(t, s.Folder, nameOf(1), append(segmentBytes(time.Now(), marksOf(0, 3)...), make([]byte, 5*recordSize)...))
	for _, damaged := range []int64{5, 0} {
		l := open(t, s)
		seen(t, l, 0, 3)
		if got := l.Stats(); got.Damaged != damaged {
			t.Errorf("%+v", got)
		}
		add(t, l, mark(3))
		closed(t, l)
	}
}

// TestASegmentThatSomeoneCutOffIsGoneOnWith: what is gone does not make what follows a damage.
func TestASegmentThatSomeoneCutOffIsGoneOnWith(t *testing.T) {
	for _, left := range []int64{0, 5, recordSize, 3*recordSize + 1, -1} {
		s := Settings{Folder: t.TempDir()}
		path := filepath.Join(s.Folder, nameOf(1))
		l := open(t, s)
		add(t, l, marksOf(0, 10)...)
		closed(t, l)
		l = open(t, s)
		err := os.Truncate(path, max(0, left))
		if left < 0 {
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, mark(10))
		closed(t, l)
		l = open(t, s)
		seen(t, l, 0, int(max(0, left/recordSize-1)))
		seen(t, l, 10, 11)
		if got := l.Stats(); got.Damaged != 0 {
			t.Errorf("%d bytes: %+v", left, got)
		}
	}
}

// TestASegmentThatHasNotBecomeOneIsRemoved: a crash may leave a file without a whole header.
func TestASegmentThatHasNotBecomeOneIsRemoved(t *testing.T) {
	for _, size := range []int{0, 1, recordSize - 1, recordSize} {
		s := Settings{Folder: t.TempDir()}
		write(t, s.Folder, nameOf(1), segmentBytes(time.Now(), mark(0)))
		write(t, s.Folder, nameOf(2), header()[:size])
		l := open(t, s)
		seen(t, l, 0, 1)
		if names := segments(t, s.Folder); len(names) != 1 || l.Stats() != (Stats{Kept: 1}) {
			t.Errorf("%d bytes of a header: %v, %+v", size, names, l.Stats())
		}
		add(t, l, mark(1))
		closed(t, l)
		l = open(t, s)
		seen(t, l, 0, 2)
	}
}

func TestADamagedRecordIsPassedOverAndCounted(t *testing.T) {
	var log logged
	s := Settings{Folder: t.TempDir(), Logger: log.logger()}
	data := segmentBytes(time.Now(), marksOf(0, 100)...)
	for n := range recordSize { // another byte of each record
		data[(2*n+1)*recordSize+n] ^= 1 << (n % 8)
	}
	write(t, s.Folder, nameOf(1), data)
	l := open(t, s)
	for n := range 100 {
		if want := n%2 != 0 || n >= 2*recordSize; l.Seen(mark(n)) != want {
			t.Errorf("mark %d is seen: %v, want %v", n, !want, want)
		}
	}
	if got := l.Stats(); got != (Stats{Kept: 100 - recordSize, Damaged: recordSize}) || log.count("records=28") != 1 {
		t.Errorf("%+v, %s", got, log.all.String())
	}
	add(t, l, mark(100))
	closed(t, l)
	l = open(t, s)
	seen(t, l, 2*recordSize, 101)
}

func TestASegmentWithoutItsHeaderIsReadAndNotGoneOnWith(t *testing.T) {
	for name, damage := range map[string]func(data []byte){
		"the magic":    func(data []byte) { data[0] ^= 1 },
		"the version":  func(data []byte) { data[len(magic)+2] ^= 1 },
		"the zeros":    func(data []byte) { data[len(magic)+6] ^= 1 },
		"the checksum": func(data []byte) { data[recordSize-1] ^= 1 },
		"all of it":    func(data []byte) { clear(data[:recordSize]) },
	} {
		s := Settings{Folder: t.TempDir()}
		data := segmentBytes(time.Now(), marksOf(0, 10)...)
		damage(data)
		write(t, s.Folder, nameOf(7), data)
		for first := 10; first < 12; first++ {
			l := open(t, s)
			seen(t, l, 0, first)
			if got := l.Stats(); got.Damaged != 1 {
				t.Errorf("%s: %+v", name, got)
			}
			add(t, l, mark(first))
			closed(t, l)
		}
		if !bytes.Equal(read(t, s.Folder, nameOf(7)), data) || len(read(t, s.Folder, nameOf(8))) != 3*recordSize {
			t.Errorf("%s: the segments are %v", name, segments(t, s.Folder))
		}
	}
}

func TestASegmentOfANewerVersionIsRefusedAndNothingIsChanged(t *testing.T) {
	newer := append(header()[:recordSize-4], make([]byte, 40)...)
	newer[len(magic)+3]++
	newer = append(withChecksum(newer[:recordSize-4:recordSize-4]), "whatever it is that a newer version has there"...)
	for name, number := range map[string]uint64{"the newest": 9, "the oldest, beyond Most": 1} {
		folder := t.TempDir()
		s := Settings{Folder: folder, Most: leastOfASegment}
		write(t, folder, nameOf(number), newer)
		write(t, folder, nameOf(5), segmentBytes(time.Unix(1000, 0), mark(1))) // too old
		write(t, folder, nameOf(6), segmentBytes(time.Now(), marksOf(2, 2+leastOfASegment)...))
		write(t, folder, nameOf(7), segmentBytes(time.Now(), mark(1))[:50]) // torn
		before := snapshot(t, folder)
		_, err := Open(s)
		if !errors.Is(err, fds.ErrNewerFormat) || snapshot(t, folder) != before {
			t.Errorf("%s: %v; before:\n%s\nnow:\n%s", name, err, before, snapshot(t, folder))
		}
		if err := os.Remove(filepath.Join(folder, nameOf(number))); err != nil {
			t.Fatal(err)
		}
		open(t, s) // it was unlocked
	}
}

func TestMarksOfTheFutureCountAsOfNow(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := Settings{Folder: folder}
		year := 365 * 24 * time.Hour
		write(t, folder, nameOf(1), segmentBytes(time.Now().Add(10*year), mark(0)))
		write(t, folder, nameOf(2), segmentBytes(time.Now().Add(12*time.Hour), mark(1)))
		write(t, folder, nameOf(3), segmentBytes(time.Unix(-1<<62, 0), mark(2)))
		write(t, folder, nameOf(4), segmentBytes(time.Unix(1<<62, 0), mark(3)))
		l := open(t, s)
		seen(t, l, 0, 4)
		if err := l.Add(t.Context(), time.Now().Add(100*year), mark(4)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(l.keep - time.Hour)
		add(t, l, mark(5))
		seen(t, l, 0, 6)
		time.Sleep(2 * time.Hour)
		add(t, l, mark(6))
		unseen(t, l, 0, 1)
		seen(t, l, 1, 6)
		time.Sleep(12 * time.Hour)
		add(t, l, mark(7))
		unseen(t, l, 0, 5)
		seen(t, l, 5, 8)
		if got := l.Stats(); got.Forgotten != 0 {
			t.Errorf("%+v", got)
		}
		closed(t, l)
	})
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	folder := t.TempDir()
	old := segmentBytes(time.Unix(1000, 0), mark(0))
	for _, name := range []string{"README", "1.marks", "000000000000000A.marks", "0000000000000001.marks.bak", "00000000000000001.marks", "-000000000000001.marks", "+000000000000001.marks", ".marks", "000000000000000g.marks"} {
		write(t, folder, name, old)
	}
	if err := os.Mkdir(filepath.Join(folder, "2.marks"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, folder)
	l := open(t, Settings{Folder: folder})
	if got := l.Stats(); got != (Stats{}) || snapshot(t, folder) != before {
		t.Errorf("%+v; before:\n%s\nnow:\n%s", got, before, snapshot(t, folder))
	}
}

// TestTheFirstFormatIsRead opens what testdata has, which is never written anew: every later version
// reads it.
func TestTheFirstFormatIsRead(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "earlier", "1"))); err != nil {
		t.Fatal(err)
	}
	l := open(t, Settings{Folder: folder, For: 250 * 365 * 24 * time.Hour})
	seen(t, l, 0, 8)
	if got := l.Stats(); got != (Stats{Kept: 8, Damaged: 1}) {
		t.Errorf("%+v", got)
	}
	add(t, l, mark(8))
	closed(t, l)
	for _, name := range segments(t, filepath.Join("testdata", "earlier", "1")) {
		earlier := read(t, filepath.Join("testdata", "earlier", "1"), name)
		if !bytes.HasPrefix(read(t, folder, name), earlier) {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestAFileThatIsRemovedWhileItIsInUseKeepsNoLaterOneFromTheDisk(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows removes no file that is open")
	}
	settings := Settings{Folder: t.TempDir(), Most: 4 * leastOfASegment}
	l := open(t, settings)
	add(t, l, mark(0))
	for _, name := range segments(t, settings.Folder) {
		if err := os.Remove(filepath.Join(settings.Folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	const end = leastOfASegment + 10 // the last 10 are in another file
	if err := l.Add(t.Context(), time.Now(), marksOf(1, end)...); !errors.Is(err, errRemoved) {
		t.Error(err)
	}
	if err := l.Close(); !errors.Is(err, errRemoved) {
		t.Error(err)
	}
	seen(t, open(t, settings), leastOfASegment, end)
}

func TestAFileThatIsRemovedWhileItIsInUseIsToldOf(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows removes no file that is open")
	}
	folder := t.TempDir()
	log := &logged{}
	l := open(t, Settings{Folder: folder, Logger: log.logger()})
	add(t, l, marksOf(0, 10)...)
	for _, name := range segments(t, folder) {
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		if err := l.Add(t.Context(), time.Now(), mark(10+n)); !errors.Is(err, errRemoved) {
			t.Error(err)
		}
	}
	if stats := l.Stats(); stats.Err == nil || log.count("kept in memory only") != 1 {
		t.Error(stats, log)
	}
	seen(t, l, 0, 13)
	if err := l.Close(); !errors.Is(err, errRemoved) {
		t.Error(err)
	}
}
