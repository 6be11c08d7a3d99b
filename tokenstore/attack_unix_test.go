//go:build !windows

package tokenstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// eachLocker runs test with stores that lock files, and the folder of those.
func eachLocker(t *testing.T, test func(t *testing.T, s Store, locks string)) {
	eachSharedStore(t, func(t *testing.T, kind, folder string, _ fds.Secret, s Store) {
		if kind == "folder" {
			folder = filepath.Join(folder, locksName)
		}
		test(t, s, folder)
	})
}

// wantLocked returns what Lock says, which may not take long.
func wantLocked(t *testing.T, s Store, key Key) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	lease, err := s.Lock(ctx, key)
	if err == nil {
		lease.Release()
	}
	return err
}

func TestAttackLocksOfAnotherUserAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	eachLocker(t, func(t *testing.T, s Store, locks string) {
		g := crashGrant(1, "x", 10)
		saveAll(t, s, g)
		if err := os.Chown(locks, 12345, -1); err != nil { // its owner could remove what we lock
			t.Fatal(err)
		}
		if err := wantLocked(t, s, g.Key); !errors.Is(err, fds.ErrUnsafe) {
			t.Errorf("Lock in another user's folder gives %v", err)
		}
		for op, err := range map[string]error{"Save": saveError(t, s, crashGrant(2, "x", 10)), "Delete": s.Delete(t.Context(), g.Key)} {
			if !errors.Is(err, fds.ErrUnsafe) {
				t.Errorf("%s with another user's locks gives %v", op, err)
			}
		}
		wantLoad(t, s, g)
	})
}

func TestAttackALockFileIsAFileOfOurs(t *testing.T) {
	key := crashGrant(1, "", 0).Key
	for _, c := range []struct {
		name  string
		plant func(path string) error
		taken bool
	}{
		{"a pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }, false},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o700) }, false},
		{"a link", func(path string) error {
			target := filepath.Join(filepath.Dir(path), "target")
			return errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, path))
		}, false},
		{"a link to nothing", func(path string) error { return os.Symlink(path+"-none", path) }, false},
		{"another user's file", func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o666), os.Chown(path, 12345, -1)) }, false},
		{"a file of ours that others may open", func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachLocker(t, func(t *testing.T, s Store, locks string) {
				if c.name == "another user's file" && os.Geteuid() != 0 {
					t.Skip("only root can give a file away")
				}
				name := key.hash()
				if k, ok := s.(*Keyring); ok {
					name = k.lockName(key)
				}
				if err := wantLocked(t, s, key); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(locks, name+lockSuffix)
				if err := c.plant(path); err != nil {
					t.Fatal(err)
				}
				if !c.taken {
					if err := wantLocked(t, s, key); !errors.Is(err, fds.ErrUnsafe) {
						t.Errorf("Lock gives %v", err)
					}
					return
				}
				lease, err := s.Lock(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				defer lease.Release()
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("the lock file has mode %v, %v", info.Mode(), err)
				}
			})
		})
	}
}

func TestAttackALinkIsNoFolderOfLocks(t *testing.T) {
	f := openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	if err := errors.Join(os.RemoveAll(f.locks.folder), os.Symlink(t.TempDir(), f.locks.folder)); err != nil {
		t.Fatal(err)
	}
	if err := wantLocked(t, f, crashGrant(1, "", 0).Key); !errors.Is(err, fds.ErrUnsafe) {
		t.Errorf("Lock gives %v", err)
	}
}
