//go:build !windows

package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAttackAPipeIsRefusedWithoutWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 10); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("got %v", err)
	}
	if err := Reserve(path, 10); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("as a reservation it gives %v", err)
	}
}

func TestAttackAFolderThatOthersUseIsRefusedAndNotChanged(t *testing.T) {
	for _, c := range []struct {
		name string
		mode os.FileMode
		file string // in it; "" none
		ours bool
	}{
		{"with files of others", 0o755, "theirs", false},
		{"that others may write to", 0o777, "theirs", false},
		{"that is meant for many, as /tmp is", os.ModeSticky | 0o777, "", false},
		{"that is meant for many, with a file like ours", os.ModeSticky | 0o777, "ours.1", false},
		{"that is empty", 0o755, "", true},
		{"of a fresh file system", 0o755, "lost+found", true},
		{"with a file of ours", 0o775, "ours.1", true},
		{"with files of others, and nobody else's", 0o700, "theirs", true},
	} {
		folder := t.TempDir()
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(folder, c.file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(folder, c.mode); err != nil {
			t.Fatal(err)
		}
		err := Folder(folder, "ours.?")
		info, statErr := os.Stat(folder)
		if statErr != nil {
			t.Fatal(statErr)
		}
		now := info.Mode() &^ os.ModeDir
		if c.ours && (err != nil || now != 0o700) || !c.ours && (!errors.Is(err, ErrUnsafe) || now != c.mode) {
			t.Errorf("a folder %s gives %v, and now has mode %v", c.name, err, now)
		}
	}
}

func TestAttackAReadableFolderIsOneThatOthersCannotWriteTo(t *testing.T) {
	for _, c := range []struct {
		mode, want os.FileMode // want 0: refused
		file       string
	}{
		{0o755, 0o755, "theirs"},
		{0o700, 0o700, "theirs"},
		{0o775, 0, "theirs"},
		{0o757, 0, "theirs"},
		{0o775, 0o755, "ours.1"},
		{os.ModeSticky | 0o777, 0, "ours.1"},
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, c.file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(folder, c.mode); err != nil {
			t.Fatal(err)
		}
		err := ReadableFolder(folder, "ours.?")
		info, statErr := os.Stat(folder)
		if statErr != nil {
			t.Fatal(statErr)
		}
		now := info.Mode() &^ os.ModeDir
		if c.want != 0 && (err != nil || now != c.want) || c.want == 0 && (!errors.Is(err, ErrUnsafe) || now != c.mode) {
			t.Errorf("a folder of mode %v with a file %s gives %v, and now has mode %v", c.mode, c.file, err, now)
		}
	}
}

func TestAttackASubfolderIsNoLinkAndMakesNoFolderAboveIt(t *testing.T) {
	folder := t.TempDir()
	if err := Subfolder(filepath.Join(folder, "none", "sub")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the folder above it: %v", err)
	}
	elsewhere, link := t.TempDir(), filepath.Join(folder, "link")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	if err := Subfolder(link); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a link gives %v", err)
	}
	for range 2 {
		if err := Subfolder(filepath.Join(folder, "sub")); err != nil {
			t.Error(err)
		}
	}
}

func TestAttackWhatBelongsToSomeoneElseIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	folder := filepath.Join(t.TempDir(), "folder")
	path := filepath.Join(folder, "file")
	if err := Folder(folder); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, folder} {
		if err := os.Chown(p, 12345, -1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Read(path, 10); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("reading another user's file gives %v", err)
	}
	if err := Reserve(path, 10); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("reserving with another user's file gives %v", err)
	}
	if err := Folder(folder); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("using another user's folder gives %v", err)
	}
}
