// Package pull reads one resource owner's data from an information provider's
// Web API, the Pull Model of FDS: which devices and spaces there are, their
// latest status, their statistics, diagnostics and events. It is read only.
//
// A Client belongs to one owner and knows no tokens: its Authorizer adds the
// credentials to each request (W9) and renews them when the provider answers
// 401. fdsclient makes such clients; use this package directly to bring
// credentials of your own.
//
// Lists are iterators. Items are decoded one by one as they arrive, so that a
// list of any length takes the memory of one item, and each item keeps its bytes
// as the provider sent them:
//
//	for device, err := range client.Specifications(ctx, pull.Query{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(device.ID(), device.Type())
//	}
//
// An item that is not what FDS says (fds.ErrItem) is an error in its place, and
// the list goes on after it when the loop does. Any other error is the last
// thing that a list yields. A loop may end early; it leaves nothing open. Each
// loop over the same list asks the provider anew.
//
// Nothing that a provider sends is trusted. Every answer, item, header and wait
// has a bound. Credentials go over https to the provider's own origin and
// nowhere else, whatever redirects say. Errors hold no part of an answer but the
// provider's own short message, quoted.
package pull
