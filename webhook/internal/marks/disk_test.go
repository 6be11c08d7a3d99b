package marks

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// TestAFullDiskLosesNoMark: marks that cannot be written are seen all the same, and are on disk once
// there is room.
func TestAFullDiskLosesNoMark(t *testing.T) {
	for name, disk := range map[string]func(*testing.T) *realtest.Disk{
		"a tmpfs": func(t *testing.T) *realtest.Disk { return realtest.MemoryDisk(t, 2<<20) },
		"an ext4": func(t *testing.T) *realtest.Disk { return realtest.Ext4Disk(t) },
		"a quota": func(t *testing.T) *realtest.Disk { return realtest.QuotaDisk(t, 8<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			var log logged
			d := disk(t)
			s := Settings{Folder: filepath.Join(d.Path, "marks"), Most: 1 << 20, Logger: log.logger()}
			l := open(t, s)
			const each = 333
			add(t, l, marksOf(0, each)...)
			free := d.Fill()
			n := each
			failed := 0
			safe := n
			for ; failed < 20; n += each {
				switch err := l.Add(t.Context(), time.Now(), marksOf(n, n+each)...); {
				case err == nil && failed > 0:
					t.Fatal("a full disk takes marks, though not those before them")
				case err == nil:
					safe = n + each
				default:
					failed++
					if got := l.Stats().Err; !strings.Contains(err.Error(), "make room on the disk") || got == nil || got.Error() != err.Error() {
						t.Errorf("%v; %v", err, got)
					}
				}
				if n > 1<<20 {
					t.Fatal("the disk is not full")
				}
			}
			seen(t, l, 0, n)
			if log.count("memory only") != 1 || log.count("written again") != 0 {
				t.Errorf("the log has:\n%s", log.all.String())
			}
			// Another process would find what Add has returned for, and nothing torn before it.
			crashed := t.TempDir()
			if err := os.CopyFS(crashed, os.DirFS(s.Folder)); err != nil {
				t.Fatal(err)
			}
			other := open(t, Settings{Folder: crashed, Most: s.Most})
			seen(t, other, 0, safe)
			if got := other.Stats(); got.Damaged != 0 {
				t.Errorf("after a crash: %+v", got)
			}

			free()
			add(t, l, marksOf(n, n+each)...)
			n += each
			if got := l.Stats(); got.Err != nil || log.count("memory only") != 1 || log.count("written again") != 1 {
				t.Errorf("%+v; the log has:\n%s", got, log.all.String())
			}

			free = d.Fill()
			for err := error(nil); err == nil; n += each {
				err = l.Add(t.Context(), time.Now(), marksOf(n, n+each)...)
			}
			free()
			closed(t, l) // writes them
			l = open(t, s)
			seen(t, l, 0, n)
			if got := l.Stats(); got != (Stats{Kept: n}) {
				t.Errorf("%+v, want %d", got, n)
			}
			closed(t, l)
		})
	}
}

// TestWhatAddHasReturnedForOutlivesAPowerLoss takes the disk at moments when nothing waits to be
// written. What is not flushed is not on it, as a file shows.
func TestWhatAddHasReturnedForOutlivesAPowerLoss(t *testing.T) {
	d := realtest.Ext4Disk(t)
	s := Settings{Folder: filepath.Join(d.Path, "marks"), Most: 4 * leastOfASegment}
	l := open(t, s)
	n := 0
	for _, some := range []int{1, 1, 100, leastOfASegment, 3 * leastOfASegment, 1, 4 * leastOfASegment} {
		var wait sync.WaitGroup
		first := n
		for n < first+some {
			part := min(37, first+some-n)
			from := n
			wait.Go(func() { add(t, l, marksOf(from, from+part)...) })
			n += part
		}
		wait.Wait()
		if err := os.WriteFile(filepath.Join(d.Path, "unflushed"), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		after := d.PowerLoss()
		if info, err := os.Stat(filepath.Join(after.Path, "unflushed")); err == nil && info.Size() > 0 {
			t.Fatal("this proves nothing: what was not flushed is there, too")
		}
		if err := os.Remove(filepath.Join(d.Path, "unflushed")); err != nil {
			t.Fatal(err)
		}
		next := open(t, Settings{Folder: filepath.Join(after.Path, "marks"), Most: s.Most})
		seen(t, next, max(0, n-s.Most), n)
		if got := next.Stats(); got.Damaged != 0 {
			t.Errorf("%+v", got)
		}
		closed(t, next)
	}
	closed(t, l)
}
