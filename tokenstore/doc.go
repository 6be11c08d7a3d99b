// Package tokenstore keeps what a resource owner granted: the refresh token that
// spares the owner a second sign-in (W10), the access token while it is still
// fresh, and the subscription IDs they are for.
//
// A [Store] is a small interface with three implementations. [Keyring] keeps
// grants in the operating system's keyring and is meant for a desktop and a
// handful of owners. [Folder] keeps each grant in an encrypted file of its own
// and is meant for servers and for many owners. [Memory] forgets everything when
// the process ends and is meant for tests. Package storetest checks any Store,
// also one you write yourself.
//
// A grant is named by its [Key] and may be for several subscription IDs. It must
// exist once only: providers rotate refresh tokens and treat the second use of an
// old one as theft. So whoever renews a grant does it under [Store.Lock], reads
// the grant again under that lock, has the store make sure of room for what will be
// issued ([Store.Reserve]), and saves the new tokens before using them. [Store] has
// the steps, and what a store of your own must promise.
//
// Nothing is ever stored in the clear, and no store falls back to a weaker one:
// where a keyring is missing the error says so, and the choice of another store
// is the user's.
package tokenstore
