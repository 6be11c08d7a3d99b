package marks

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestAttackALinkInASegmentsPlaceIsNotFollowed(t *testing.T) {
	folder, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "file")
	precious := segmentBytes(time.Now(), mark(1))
	if err := os.WriteFile(elsewhere, precious, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lockName, nameOf(1)} {
		link := filepath.Join(folder, name)
		if err := os.Symlink(elsewhere, link); err != nil {
			t.Skipf("symbolic links are not allowed here: %v", err)
		}
		if _, err := Open(Settings{Folder: folder}); !errors.Is(err, fds.ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(elsewhere); err != nil || string(got) != string(precious) {
		t.Errorf("the link's target is now %q, %v", got, err)
	}
}

func TestAttackAFolderInASegmentsPlaceIsRefused(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, nameOf(1)), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Settings{Folder: folder}); !errors.Is(err, fds.ErrUnsafe) {
		t.Error(err)
	}
}

func TestAttackAHugeFileIsReadUpToItsBound(t *testing.T) {
	var log logged
	folder := t.TempDir()
	write(t, folder, nameOf(1), segmentBytes(time.Now(), marksOf(0, 5)...))
	if err := os.Truncate(filepath.Join(folder, nameOf(1)), 100<<30); err != nil { // it has holes
		t.Skipf("no such file can be made here: %v", err)
	}
	began := time.Now()
	l := open(t, Settings{Folder: folder, Logger: log.logger()})
	seen(t, l, 0, 5)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := l.Stats(); got != (Stats{Kept: 5, Damaged: mostOfASegment - 5 + 1}) || log.count("larger than one can be") != 1 {
		t.Errorf("%+v, %s", got, log.all.String())
	}
	add(t, l, mark(5))
	if names := segments(t, folder); len(names) != 2 {
		t.Errorf("it was gone on with: %v", names)
	}
}

func TestAttackGarbageIsReadUpToABound(t *testing.T) {
	folder := t.TempDir()
	const many = 40
	garbage := make([]byte, leastOfASegment*recordSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(garbage) // never fails
	write(t, folder, nameOf(1), segmentBytes(time.Now(), marksOf(0, 5)...))
	for n := range uint64(many) {
		write(t, folder, nameOf(2+n), garbage)
	}
	l := open(t, Settings{Folder: folder, Most: leastOfASegment})
	got := l.Stats()
	if got.Kept != 0 || got.Damaged > 3*leastOfASegment || got.Forgotten > many*leastOfASegment {
		t.Errorf("%+v", got)
	}
	add(t, l, mark(1))
	if names := segments(t, folder); len(names) != 1 {
		t.Errorf("%d segments are left", len(names))
	}
}

func TestAttackAFolderOfTooManySegmentsIsRefused(t *testing.T) {
	folder := t.TempDir()
	data := segmentBytes(time.Now(), mark(0))
	for n := range uint64(mostSegments + 1) {
		write(t, folder, nameOf(n), data)
	}
	if _, err := Open(Settings{Folder: folder}); !errors.Is(err, fds.ErrTooLarge) {
		t.Errorf("%d segments: %v", mostSegments+1, err)
	}
	if err := os.Remove(filepath.Join(folder, nameOf(mostSegments))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l := open(t, Settings{Folder: folder, Most: 1})
	t.Logf("%d segments: %v", mostSegments, time.Since(began))
	seen(t, l, 0, 1)
	if names := segments(t, folder); len(names) != 1 {
		t.Errorf("%d segments are left", len(names))
	}
}

func TestAttackANumberBeyondCountingIsRefused(t *testing.T) {
	for _, number := range []uint64{mostNumber, 1<<64 - 1} {
		folder := t.TempDir()
		write(t, folder, nameOf(number), segmentBytes(time.Now(), mark(0)))
		if _, err := Open(Settings{Folder: folder}); !errors.Is(err, fds.ErrCorrupt) || len(segments(t, folder)) != 1 {
			t.Errorf("%s: %v", nameOf(number), err)
		}
	}
	folder := t.TempDir()
	write(t, folder, nameOf(mostNumber-1), segmentBytes(time.Unix(0, 0), mark(0)))
	l := open(t, Settings{Folder: folder})
	add(t, l, mark(1))
	closed(t, l)
}
