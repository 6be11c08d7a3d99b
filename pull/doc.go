// Package pull reads one resource owner's data from an information provider's Web API, the Pull
// Model of FDS: which devices and spaces there are, their latest status, their statistics,
// diagnostics and events. It also writes tags, by which a consumer groups devices and spaces, and
// nothing else.
//
// A [Client] belongs to one owner. Package fdsclient makes such clients (Owner.Pull). Use this
// package directly to bring credentials of your own: a Client knows no tokens. Its [Authorizer]
// adds the credentials to each request (W9), and renews them when the provider answers 401.
//
// # Lists
//
// Lists are iterators, and [Collect] gathers a short one:
//
//	for device, err := range client.Specifications(ctx, pull.Query{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(device.ID(), device.Type())
//	}
//
// Items are taken out of an answer one by one as it arrives. They keep their bytes as the
// provider sent them. A goroutine reads ahead while the loop uses what is there, by 1 MiB and by
// no more than the next page: so a list of any length takes bounded memory. The goroutine ends
// with the loop, which may end early. Each loop over the same list asks the provider anew.
//
// An item that is not what FDS says (fds.ErrItem) is an error in its place, and the list goes on
// after it when the loop does. Any other error is the last thing that a list yields; the items
// that came whole come before it. An answer with an error object is an error, whatever its HTTP
// status, and also when a list stands beside the object's status and message.
//
// # What a provider decides
//
// FDS leaves open the names of parameters, the form of dates, and the way in which a long list is
// split. All of it is one fds.Dialect: see the example "dialect". A parameter that the dialect
// does not name is not sent, since a provider refuses what it does not know.
//
// # Owners
//
// One access token may be that of several owners, who signed in together. With Config.Root a
// client reads the data of one of them, as far as the dialect knows how to ask for it
// (SubscriptionParameter) or to tell it (SubscriptionMember). What names another owner is left
// out. What could be another's is no item: in its place is an error that matches fds.ErrOwner.
//
// # Repetitions
//
// A request that fails for a reason that may pass is repeated, with jitter, for Config.RetryFor,
// as Retry-After says and not past the context's deadline. One that must not be carried out
// twice, to create a tag, is repeated only when it certainly was not. fds.ErrUnknownOutcome says
// that nobody can tell: see the example of [Client.CreateTag].
//
// An fds.Limit bounds the requests of all owners of a provider together. With Query.Version a
// list that has not changed costs an answer without content.
//
// # Bounds
//
// Nothing that a provider sends is trusted. Every answer has a bound, also as decompressed, and so
// has every item, header, page count and wait. A list as a whole has one, in bytes and in time,
// and what Collect gathers.
//
// A list whose loop blocks holds about 1 MiB, and up to 3 MiB where its items are as large as
// Config.MaxItemBytes. A thousand such lists hold about 1 GiB, however long they are.
//
// Credentials go over https to the provider's own origin and nowhere else, whatever redirects and
// links say. Errors hold no part of an answer but the provider's own short message, quoted, with
// the token taken out where the provider echoes it.
package pull
