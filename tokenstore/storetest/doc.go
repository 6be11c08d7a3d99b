// Package storetest checks that a [tokenstore.Store] keeps the promises of that
// interface. The stores of package tokenstore pass it; run it in the tests of a
// store of your own:
//
//	func TestMyStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenstore.Store {
//			return openMyStore(t, t.TempDir())
//		}, storetest.Options{})
//	}
//
// What it cannot check: that a crash leaves the old record or the new one, that
// locks hold between processes, and that nothing is stored in the clear.
package storetest
