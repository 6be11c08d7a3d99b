package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// disk stands between the package and the system's flushes, of which each takes a second.
type disk struct {
	fail func(name string) error // nil: none fails

	mu        sync.Mutex
	now, most int // flushes
	folders   int // flushes of the folder
	nameless  int // files that were flushed before they had their name
}

// slowDisk has the test's flushes go through a disk.
func slowDisk(t *testing.T) *disk {
	d := new(disk)
	system := flushFile
	flushFile = func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		d.mu.Lock()
		if d.now++; info.IsDir() {
			d.folders++
		} else if IsTemp(f.Name()) {
			d.nameless++
		}
		d.most = max(d.most, d.now)
		d.mu.Unlock()
		time.Sleep(time.Second)
		d.mu.Lock()
		d.now--
		d.mu.Unlock()
		if d.fail != nil {
			if err := d.fail(filepath.Base(f.Name())); err != nil {
				return err
			}
		}
		return system(f)
	}
	t.Cleanup(func() { flushFile = system })
	return d
}

// writeAll writes so many files at once and returns their errors.
func writeAll(g *Group, folder string, count int) []error {
	errs := make([]error, count)
	var all sync.WaitGroup
	for n := range count {
		all.Go(func() {
			errs[n] = g.Write(filepath.Join(folder, strconv.Itoa(n)), time.Time{}, []byte("content "), []byte(strconv.Itoa(n)))
		})
	}
	all.Wait()
	return errs
}

func TestFilesThatAreWrittenAtOnceShareTheFlushOfTheirFolder(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const files = 100
		d, began := slowDisk(t), time.Now()
		for n, err := range writeAll(new(Group), folder, files) {
			if err != nil {
				t.Fatal(err)
			}
			name := strconv.Itoa(n)
			if data, err := Read(filepath.Join(folder, name), 100); err != nil || string(data) != "content "+name {
				t.Errorf("%q, %v", data, err)
			}
		}
		if d.folders > 2 { // the first may have come alone
			t.Errorf("the folder was flushed %d times", d.folders)
		}
		if d.nameless != files {
			t.Errorf("%d files of %d were flushed before they had their names", d.nameless, files)
		}
		if took, most := time.Since(began), time.Duration(files/flushing+5)*time.Second; took > most || d.most > flushing || d.most < 2 {
			t.Errorf("it took the time of %v flushes, of which %d went on at once", took/time.Second, d.most)
		}
	})
}

func TestAWriteThatComesAloneWaitsForNoOther(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		slowDisk(t)
		began := time.Now()
		if err := new(Group).Write(filepath.Join(folder, "a"), time.Time{}, []byte("a")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v, want that of the flushes of the file and the folder", took)
		}
	})
}

func TestWhatFailsOfAGroupIsToldToThoseWhomItConcerns(t *testing.T) {
	full := errors.New("the disk is full")
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, g := slowDisk(t), new(Group)
		flushes := 0
		d.fail = func(name string) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			if strings.HasPrefix(name, tempPrefix) {
				flushes++ // those of the folder come at any place between
				if flushes == 3 {
					return full
				}
			}
			return nil
		}
		failed := 0
		for n, err := range writeAll(g, folder, 20) {
			_, there := os.Stat(filepath.Join(folder, strconv.Itoa(n)))
			if failures := errors.Is(err, full); failures != (there != nil) || err != nil && !failures {
				t.Errorf("file %d: %v, and %v", n, err, there)
			} else if failures {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d writes failed for one flush that did", failed)
		}
		d.fail = func(name string) error {
			if name == filepath.Base(folder) {
				return full
			}
			return nil
		}
		for n, err := range writeAll(g, folder, 20) {
			if !errors.Is(err, full) {
				t.Errorf("file %d, whose name is not known to be on the disk: %v", n, err)
			}
		}
		if names, err := os.ReadDir(folder); err != nil || len(names) != 20 {
			t.Errorf("%d files are left, %v", len(names), err)
		}
		d.fail = nil
		if err := errors.Join(writeAll(g, folder, 20)...); err != nil {
			t.Errorf("after errors: %v", err)
		}
	})
}
