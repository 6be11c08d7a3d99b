// Package storetest checks that a [tokenstore.Store] keeps the promises of that
// interface. The stores of package tokenstore pass it; run it in the tests of a
// store of your own:
//
//	func TestMyStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenstore.Store {
//			return openMyStore(t, t.TempDir())
//		}, storetest.Options{
//			// Another handle to the same records, as another process has it.
//			Reopen: func(t *testing.T, store tokenstore.Store) tokenstore.Store { ... },
//			// Nothing can be written any more, such as by filling the disk.
//			Break: func(t *testing.T, store tokenstore.Store) (mend func()) { ... },
//		})
//	}
//
// Among what it checks: a Save replaces only the record that was loaded, one of many
// at once succeeds, and it can be repeated; what Reserve has written marks the grant,
// keeps its tokens, outlives the process and ends with its refresh token; a store
// that breaks between Reserve and Save loses neither; a lock is held as long as the
// work takes.
//
// What it cannot check: that a crash leaves the old record or the new one, that
// locks hold between processes, that nothing is stored in the clear, and, without
// Options.Break, that Reserve makes sure of anything.
package storetest
