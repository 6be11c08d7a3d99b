package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const writerFolder = "ATOMICFILE_TEST_WRITER_FOLDER"

// TestMain runs the endless writer that TestAKilledWriterLeavesAWholeFile kills.
func TestMain(m *testing.M) {
	if folder := os.Getenv(writerFolder); folder != "" {
		path, reserved := filepath.Join(folder, "file"), filepath.Join(folder, "reserved")
		for n := 1; ; n++ {
			var err error
			if n%2 == 0 {
				err = Write(path, content(n))
			} else if err = Reserve(reserved, int64(len(content(n)))+1000); err == nil {
				err = Fill(reserved, path, content(n))
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// content is 300 KB of one byte, so that a part or a mixture shows.
func content(n int) []byte { return bytes.Repeat([]byte{byte('a' + n%26)}, 300_000) }

func whole(data []byte) bool {
	return len(data) == 300_000 && bytes.Count(data, data[:1]) == len(data)
}

func TestAFileIsReadBackAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, want := range []string{"first", "", "a longer second text"} {
		if err := Write(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path, int64(len(want)))
		if err != nil || string(got) != want {
			t.Fatalf("Read = %q, %v; want %q", got, err, want)
		}
	}
	names(t, filepath.Dir(path), "file")
}

func TestAKilledWriterLeavesAWholeFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := Write(path, content(0)); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		writer := exec.Command(os.Args[0])
		writer.Env = append(os.Environ(), writerFolder+"="+folder)
		writer.Stderr = os.Stderr
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		before, err := Read(path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		changes := 0
		for deadline := time.Now().Add(20 * time.Second); changes < 3+round; {
			now, err := Read(path, 1<<20)
			if err != nil || !whole(now) {
				t.Fatalf("a reader saw %d bytes, not a whole file (%v)", len(now), err)
			}
			if !bytes.Equal(now, before) {
				before, changes = now, changes+1
			}
			if time.Now().After(deadline) {
				t.Fatal("the writer changes nothing")
			}
		}
		if err := writer.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = writer.Wait() // killed: the error says so
		now, err := Read(path, 1<<20)
		if err != nil || !whole(now) {
			t.Fatalf("after the kill the file has %d bytes, not a whole content (%v)", len(now), err)
		}
	}
	if err := errors.Join(CleanTemp(folder, -time.Minute), Remove(filepath.Join(folder, "reserved"))); err != nil {
		t.Fatal(err)
	}
	names(t, folder, "file")
}

func TestAFailedWriteKeepsTheOldAndLeavesNothingBehind(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "taken")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("x")); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	names(t, folder, "taken")
	if err := Write(filepath.Join(folder, "none", "file"), []byte("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a missing folder gives %v", err)
	}
}

func TestRemoveDeletesFilesOnly(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := Remove(path); err != nil {
		t.Fatalf("removing nothing: %v", err)
	}
	if err := Write(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	names(t, folder)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("removing a folder gives %v", err)
	}
	names(t, folder, "file")
}

func TestOnlyOldUnfinishedFilesAreCleanedUp(t *testing.T) {
	folder := t.TempDir()
	old, young, other := filepath.Join(folder, tempPrefix+"1"), filepath.Join(folder, tempPrefix+"2"), filepath.Join(folder, "kept")
	for _, path := range []string{old, young, other} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, tempPrefix+"folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{old, other, filepath.Join(folder, tempPrefix+"folder")} {
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := CleanTemp(folder, time.Hour); err != nil {
		t.Fatal(err)
	}
	names(t, folder, tempPrefix+"2", tempPrefix+"folder", "kept")
}

func TestAttackAFileBeyondTheBoundIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Write(path, make([]byte, 101)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 100); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("101 bytes with a bound of 100 give %v", err)
	}
	if _, err := Read(path, 101); err != nil {
		t.Fatalf("101 bytes with a bound of 101 give %v", err)
	}
}

func TestAMissingFileSaysSo(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestAttackASymbolicLinkIsNotReadAndNotWrittenThrough(t *testing.T) {
	folder := t.TempDir()
	target, link := filepath.Join(folder, "target"), filepath.Join(folder, "link")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Skipf("symbolic links are not allowed here: %v", err)
	}
	if _, err := Read(link, 100); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("reading a link gives %v", err)
	}
	if err := Write(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "precious" {
		t.Fatalf("the link's target is now %q, %v", got, err)
	}
	if got, err := Read(link, 100); err != nil || string(got) != "new" {
		t.Fatalf("in the link's place: %q, %v", got, err)
	}
}

func TestAFolderIsNotReadAsAFileNorAFileUsedAsAFolder(t *testing.T) {
	folder := t.TempDir()
	if _, err := Read(folder, 100); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("reading a folder gives %v", err)
	}
	path := filepath.Join(folder, "file")
	if err := Write(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := Folder(path); err == nil {
		t.Fatal("a file passes for a folder")
	}
}

func TestAttackOtherUsersFindFilesAndFoldersPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes: the folder's access control list counts")
	}
	folder := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(folder, "file")
	mode := func(path string, want fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Fatalf("%s has mode %v (%v), want %v", filepath.Base(path), info.Mode().Perm(), err, want)
		}
	}
	if err := Folder(folder); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	mode(filepath.Dir(folder), 0o700)
	mode(folder, 0o700)
	mode(path, 0o600)
	for _, p := range []string{folder, path} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := Folder(folder, "other", "f*"); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 10); err != nil {
		t.Fatal(err)
	}
	mode(folder, 0o700)
	mode(path, 0o600)
}

func names(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("the folder holds %v, want %v", got, want)
	}
}

func TestANewFileReplacesNone(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	var group sync.WaitGroup
	var made atomic.Int32
	for n := range 8 {
		group.Go(func() {
			switch err := WriteNew(path, content(n)); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if data, err := Read(path, 1<<20); err != nil || !whole(data) || made.Load() != 1 {
		t.Errorf("%d were made, %d bytes, %v", made.Load(), len(data), err)
	}
	names(t, folder, "file")
}
