package storetest_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/tokenstore/storetest"
)

// database has the grants. Here memory keeps them.
type database struct {
	*tokenstore.Memory
	down atomic.Bool
}

// myStore is a store of your own: a handle to the database.
type myStore struct{ *database }

// Save implements tokenstore.Store.
func (s myStore) Save(ctx context.Context, grant tokenstore.Grant) (revision string, err error) {
	if s.down.Load() {
		return "", &tokenstore.Error{Op: "save grant", Key: grant.Key, Class: fds.ErrStoreUnavailable}
	}
	return s.database.Save(ctx, grant)
}

// Reserve implements tokenstore.Store.
func (s myStore) Reserve(ctx context.Context, grant tokenstore.Grant) (revision string, err error) {
	if s.down.Load() {
		return "", &tokenstore.Error{Op: "reserve", Key: grant.Key, Class: fds.ErrStoreUnavailable}
	}
	return s.database.Reserve(ctx, grant)
}

// testMyStore is TestMyStore where your store's tests are.
func testMyStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) tokenstore.Store {
		return myStore{&database{Memory: tokenstore.OpenMemory()}} // empty each time
	}, storetest.Options{
		Reopen: func(t *testing.T, store tokenstore.Store) tokenstore.Store {
			return myStore{store.(myStore).database} // the same grants, as another process has them
		},
		Break: func(t *testing.T, store tokenstore.Store) (mend func()) {
			store.(myStore).down.Store(true)
			return func() { store.(myStore).down.Store(false) }
		},
	})
}

func Example() {
	// `go test` runs TestMyStore, which is testMyStore above.
}
