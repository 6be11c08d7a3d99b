// Package fds has the words of the Facility Data Standard, version 2, as Go types. It does no
// input and output, and every other package of this module speaks in these words.
//
//   - Whose data: [SubscriptionID], [OwnerKey].
//   - Where it is published: [Root], the tree of one owner's topics.
//   - What it is: [Device], [Space], [Message], [Tag], and the [Item] that they share.
//   - How spaces lie in one another, and what is wrong with them: [NewSpaceTree].
//   - What a provider decides for itself: [Dialect].
//   - What goes wrong: every class of error of this module, [ErrSignInRequired] for one, and the
//     [ErrorObject] by which a provider says no.
//
// # Items
//
// FDS is open: providers send members that no page of the standard names. So an Item keeps the
// bytes that it was parsed from, and returns them untouched ([Item.Raw]). What the standard
// states is typed on top of them. All else is reached by [Item.Member] and [As].
//
// # Names that are not settled
//
// Several names are left open by the standard. Each is a setting of a Dialect, never a
// constant.
//
// # Spelling
//
// A SubscriptionID compares by value, whichever way it is spelt: two spellings must never make
// two owners. MQTT is case-sensitive, though. So what goes on the wire, the client ID and the
// topics, is spelt as the provider spelt it. A Root holds that spelling.
package fds
