// Package fds is the vocabulary of the Facility Data Standard, version 2:
// whose data it is (SubscriptionID, OwnerKey), where it is published (Root,
// Topic), what it is (Device, Space, Message, Tag and the Item they share) and
// how a provider says no (ErrorObject). A SpaceTree puts spaces into one another
// and says what is wrong with them. The package does no input or output.
//
// FDS is open: providers send members that no page of the standard names, and
// several names are not settled yet. So an Item keeps the bytes that it was
// parsed from and gives them back untouched; what the standard states is typed
// on top of them; and a name that the standard leaves open is a setting of a
// Dialect, never a constant.
//
// A SubscriptionID compares by value whichever way it is spelt, since two
// spellings must never make two owners. MQTT is case-sensitive though, so what
// goes on the wire, the client ID and the topics, is spelt as the provider
// spelt it: that is what a Root holds.
package fds
