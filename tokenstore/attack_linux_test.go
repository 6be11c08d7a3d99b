package tokenstore

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

func TestAttackAnotherUsersGrantFileIsOneRecordsTrouble(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	f, hurt, well, file := twoGrants(t)
	check := func(t *testing.T, reader Store) {
		t.Helper()
		if ids, errs := list(t, reader); len(ids) != 1 || ids[0] != well.GrantID || len(errs) != 1 || !errors.Is(errs[0], fds.ErrUnsafe) || errors.Is(errs[0], fds.ErrStoreUnavailable) {
			t.Errorf("List gives %q, %v", ids, errs)
		}
		if _, err := reader.Load(t.Context(), hurt.Key); !errors.Is(err, fds.ErrUnsafe) || errors.Is(err, fds.ErrStoreUnavailable) {
			t.Errorf("Load gives %v", err)
		}
		wantLoad(t, reader, well)
	}
	if err := os.Chown(file, 12345, -1); err != nil {
		t.Fatal(err)
	}
	t.Run("that may be read", func(t *testing.T) { check(t, f) })

	// As a user who is not root finds it: it cannot even be opened.
	const user = 12345
	for _, path := range append(fileNames(t, f.path), filepath.Dir(f.path)) {
		owner := user
		if path == file {
			owner = 0
		}
		if err := os.Chown(path, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("that may not be read", func(t *testing.T) { as(t, user, func() { check(t, f) }) })
}

// as runs f with the rights of another user, in this thread.
func as(t *testing.T, user int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(user), ^uintptr(0)); errno != 0 {
		t.Fatal(errno)
	}
	defer func() {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); errno != 0 {
			panic(errno)
		}
		runtime.UnlockOSThread()
	}()
	f()
}
