package marks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		childMain(folder)
		return
	}
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// mark is the nth of all marks of tests.
func mark(n int) Mark {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return Mark(sum[:16])
}

// marksOf are those from first up to and without end.
func marksOf(first, end int) (all []Mark) {
	for n := first; n < end; n++ {
		all = append(all, mark(n))
	}
	return all
}

// open opens a Log that is closed when the test ends.
func open(t testing.TB, s Settings) *Log {
	t.Helper()
	l, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // tests that write look at the error themselves
	return l
}

func add(t testing.TB, l *Log, marks ...Mark) {
	t.Helper()
	if err := l.Add(t.Context(), time.Now(), marks...); err != nil {
		t.Fatal(err)
	}
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// seen fails unless all marks from first up to and without end are seen.
func seen(t testing.TB, l *Log, first, end int) {
	t.Helper()
	for n := first; n < end; n++ {
		if !l.Seen(mark(n)) {
			t.Fatalf("mark %d of %d to %d is not seen", n, first, end-1)
		}
	}
}

func unseen(t testing.TB, l *Log, first, end int) {
	t.Helper()
	for n := first; n < end; n++ {
		if l.Seen(mark(n)) {
			t.Fatalf("mark %d of %d to %d is seen", n, first, end-1)
		}
	}
}

// segments are the names of a folder's segments.
func segments(t testing.TB, folder string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// segmentBytes is a whole segment of marks that were added at a time.
func segmentBytes(at time.Time, marks ...Mark) []byte {
	data := header()
	for _, m := range marks {
		data = appendRecord(data, m, at.Unix())
	}
	return data
}

func write(t testing.TB, folder, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, folder, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// snapshot is all that a folder holds besides the lock.
func snapshot(t testing.TB, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprint(e.Name(), info.Mode(), info.Size(), info.ModTime())
		if e.Type().IsRegular() && info.Size() < 1<<20 {
			line += fmt.Sprintf(" %x", sha256.Sum256(read(t, folder, e.Name())))
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// logged collects what is logged.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// count returns how many lines have a text.
func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), text)
}
