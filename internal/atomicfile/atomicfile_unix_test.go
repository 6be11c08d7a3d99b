//go:build !windows

package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAPipeIsRefusedWithoutWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 10); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("got %v", err)
	}
}

func TestWhatBelongsToSomeoneElseIsRefused(t *testing.T) {
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
	if err := Folder(folder); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("using another user's folder gives %v", err)
	}
}
