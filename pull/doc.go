// Package pull reads one resource owner's data from an information provider's
// Web API, the Pull Model of FDS: which devices and spaces there are, their
// latest status, their statistics, diagnostics and events. What it changes there
// is tags alone, by which a consumer groups devices and spaces.
//
// A Client belongs to one owner and knows no tokens: its Authorizer adds the
// credentials to each request (W9) and renews them when the provider answers
// 401. fdsclient makes such clients; use this package directly to bring
// credentials of your own.
//
// # Lists
//
// Lists are iterators, and Collect gathers a short one:
//
//	for device, err := range client.Specifications(ctx, pull.Query{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(device.ID(), device.Type())
//	}
//
// Items are taken out of an answer one by one as it arrives and keep their bytes
// as the provider sent them. A goroutine reads ahead while the loop uses what is
// there, by 1 MiB and by no more than the next page, so a list of any length takes
// bounded memory. It ends with the loop, which may end early. Each loop over the
// same list asks the provider anew.
//
// An item that is not what FDS says (fds.ErrItem) is an error in its place, and
// the list goes on after it when the loop does. Any other error is the last
// thing that a list yields; the items that came whole come before it. An answer
// with an error object is one, whatever its HTTP status and also when a list stands
// beside the object's status and message.
//
// What FDS leaves open, the names of parameters, the form of dates, the way in
// which a long list is split, is one fds.Dialect. A parameter that it does not name
// is not sent, since a provider refuses what it does not know.
//
// # Owners
//
// One access token may be that of several owners, who signed in together. With
// Config.Root a client reads the data of one, as far as the dialect knows how to ask for
// it (SubscriptionParameter) or to tell it (SubscriptionMember): what names another owner
// is left out, and what could be another's is an error that matches fds.ErrOwner, in its
// place, and not an item.
//
// # Manners
//
// A request that fails for a reason that may pass is repeated, with jitter, for
// Config.RetryFor, as Retry-After says and not past the context's deadline. One
// that must not be carried out twice, to create a tag, is repeated only when it
// certainly was not; fds.ErrUnknownOutcome says that nobody can tell. A Limit bounds the
// requests of all owners of a provider together. With Query.Version a list that has
// not changed costs an answer without content.
//
// # Bounds
//
// Nothing that a provider sends is trusted. Every answer, also as decompressed,
// every item, header, page count and wait has a bound, and so have a list as a whole,
// in bytes and in time, and what Collect gathers. A list whose loop blocks holds about
// 1 MiB, and up to 3 MiB where its items are as large as Config.MaxItemBytes: a thousand
// of them about 1 GiB, however long they are. Credentials go over https to
// the provider's own origin and nowhere else, whatever redirects and links say.
// Errors hold no part of an answer but the provider's own short message, quoted,
// with the token taken out where the provider echoes it.
package pull
