package statestore_test

import (
	"testing"

	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/statestore/statetest"
)

func TestMemoryIsAStore(t *testing.T) {
	statetest.Run(t, func(*testing.T) statestore.Store { return new(statestore.Memory) }, statetest.Options{
		Reopen: func(_ *testing.T, s statestore.Store) statestore.Store { return s },
	})
}

func TestAFolderIsAStore(t *testing.T) {
	open := func(t *testing.T, path string) *statestore.Folder {
		f, err := statestore.OpenFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	statetest.Run(t, func(t *testing.T) statestore.Store { return open(t, t.TempDir()) }, statetest.Options{
		Reopen: func(t *testing.T, s statestore.Store) statestore.Store {
			return open(t, statestore.FolderPath(s.(*statestore.Folder)))
		},
	})
}
