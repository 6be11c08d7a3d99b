package tokenstore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/tokenstore/storetest"
)

func TestMemoryIsAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) tokenstore.Store { return tokenstore.OpenMemory() }, storetest.Options{})
}

func TestAFolderIsAStore(t *testing.T) {
	t.Parallel()
	identity := tokenstore.NewIdentity(t)
	open := func(t *testing.T, path string) *tokenstore.Folder {
		f, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: path, Identity: identity})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	storetest.Run(t,
		func(t *testing.T) tokenstore.Store { return open(t, t.TempDir()) },
		storetest.Options{Reopen: func(t *testing.T, s tokenstore.Store) tokenstore.Store {
			return open(t, tokenstore.FolderPath(s.(*tokenstore.Folder)))
		}})
}

// Also when its disk is full.
func TestAFolderOnASmallDiskIsAStore(t *testing.T) {
	t.Parallel()
	identity := tokenstore.NewIdentity(t)
	disks := map[string]*realtest.Disk{} // by path
	open := func(t *testing.T, path string) *tokenstore.Folder {
		f, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: path, Identity: identity})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	storetest.Run(t,
		func(t *testing.T) tokenstore.Store {
			disk := realtest.MemoryDisk(t, 8<<20)
			f := open(t, filepath.Join(disk.Path, "grants"))
			disks[tokenstore.FolderPath(f)] = disk
			return f
		},
		storetest.Options{
			Reopen: func(t *testing.T, s tokenstore.Store) tokenstore.Store {
				return open(t, tokenstore.FolderPath(s.(*tokenstore.Folder)))
			},
			Break: func(t *testing.T, s tokenstore.Store) func() {
				return disks[tokenstore.FolderPath(s.(*tokenstore.Folder))].Fill()
			},
			SavesWhenBroken: true,
		})
}

func TestAKeyringIsAStore(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{
		2400,     // as on Windows and macOS
		64 << 10, // as with the Secret Service
	} {
		t.Run(fmt.Sprintf("entries of %d bytes", limit), func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) tokenstore.Store { return tokenstore.OpenFakeKeyring(t, limit) },
				storetest.Options{
					Reopen: func(t *testing.T, s tokenstore.Store) tokenstore.Store {
						return tokenstore.ReopenKeyring(t, s.(*tokenstore.Keyring))
					},
					Break: func(t *testing.T, s tokenstore.Store) func() {
						return tokenstore.BreakFakeKeyring(s.(*tokenstore.Keyring))
					},
				})
		})
	}
}

func TestARealKeyringIsAStore(t *testing.T) {
	service := realtest.SecretService(t)
	open := func(t *testing.T, service, locks string) tokenstore.Store {
		k, err := tokenstore.OpenKeyring(tokenstore.KeyringConfig{Service: service, LockFolder: locks})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	locks := t.TempDir()
	storetest.Run(t,
		func(t *testing.T) tokenstore.Store { return open(t, t.Name(), locks) },
		storetest.Options{
			Reopen: func(t *testing.T, _ tokenstore.Store) tokenstore.Store { return open(t, t.Name(), locks) },
			Break: func(*testing.T, tokenstore.Store) func() {
				service.Lock()
				return service.Unlock
			},
		})
}
