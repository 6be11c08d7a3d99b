//go:build !windows

package marks

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestAttackAPipeIsRefusedWithoutWaiting(t *testing.T) {
	for _, name := range []string{nameOf(1), lockName} {
		folder := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(folder, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Settings{Folder: folder}); !errors.Is(err, fds.ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttackOtherUsersFindMarksPrivate(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "marks")
	l := open(t, Settings{Folder: folder})
	add(t, l, mark(0))
	closed(t, l)
	paths := map[string]os.FileMode{folder: 0o700, filepath.Join(folder, lockName): 0o600, filepath.Join(folder, nameOf(1)): 0o600}
	for range 2 {
		for path, want := range paths {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s has mode %v (%v), want %v", path, info.Mode(), err, want)
			}
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		closed(t, open(t, Settings{Folder: folder}))
	}
}

func TestAttackAFolderThatOthersUseIsRefused(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "theirs", nil)
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Settings{Folder: folder}); !errors.Is(err, fds.ErrUnsafe) {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(folder, lockName)); err == nil {
		t.Error("a file was made in it")
	}
}

func TestAttackAnotherUsersSegmentIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	folder := t.TempDir()
	write(t, folder, nameOf(1), segmentBytes(time.Now(), mark(0)))
	if err := os.Chown(filepath.Join(folder, nameOf(1)), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Settings{Folder: folder}); !errors.Is(err, fds.ErrUnsafe) || len(segments(t, folder)) != 1 {
		t.Error(err)
	}
}
