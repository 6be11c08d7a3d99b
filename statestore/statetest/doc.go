// Package statetest checks that a [statestore.Store] keeps the promises of that interface,
// and of [statestore.Claimer] where it is one. The stores of package statestore pass it; run
// it in the tests of a store of your own:
//
//	func TestMyStore(t *testing.T) {
//		statetest.Run(t, func(t *testing.T) statestore.Store {
//			return openMyStore(t, t.TempDir())
//		}, statetest.Options{
//			// Another handle to the same records, as another process has it.
//			Reopen: func(t *testing.T, store statestore.Store) statestore.Store { ... },
//		})
//	}
//
// What it cannot check: that a crash leaves the old record or the new one, that what was saved
// is durable, and that a claim ends with its process.
package statetest
