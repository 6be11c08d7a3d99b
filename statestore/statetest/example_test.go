package statetest_test

import (
	"testing"

	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/statestore/statetest"
)

// myStore is a store of your own. Here a folder keeps the records; yours has a database.
type myStore struct {
	*statestore.Folder
	path string
}

func openMyStore(t *testing.T, path string) *myStore {
	folder, err := statestore.OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	return &myStore{folder, path}
}

// testMyStore is TestMyStore where your store's tests are.
func testMyStore(t *testing.T) {
	statetest.Run(t, func(t *testing.T) statestore.Store {
		return openMyStore(t, t.TempDir()) // empty each time
	}, statetest.Options{
		Reopen: func(t *testing.T, store statestore.Store) statestore.Store {
			return openMyStore(t, store.(*myStore).path) // the same records, as another process has them
		},
	})
}

func Example() {
	// `go test` runs TestMyStore, which is testMyStore above.
}
