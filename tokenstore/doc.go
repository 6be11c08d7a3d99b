// Package tokenstore keeps grants: what a resource owner has granted an application, so that the
// owner's user signs in once (W10). A [Grant] has the refresh token, the access token while it is
// still fresh, and the subscription IDs that they are for.
//
// # Which store
//
//   - [OpenKeyring]: the keyring of the operating system. For a desktop, and a few owners.
//   - [OpenFolder]: a folder with an encrypted file for each grant. For servers, and many owners.
//   - [OpenMemory]: forgets everything when the process ends. For tests.
//   - A [Store] of your own: the interface is small, says what it must promise, and has a recipe
//     for databases. Package storetest checks it.
//
// [Move] moves grants from one store to another.
//
// # Nothing in the clear
//
// Nothing is ever stored in the clear. No store falls back to a weaker one: where a keyring is
// missing, the error says so, and the choice of another store is the user's.
//
// # One of each
//
// A grant is named by its [Key], and may be for several subscription IDs. It must exist once
// only: providers rotate refresh tokens, and take the second use of an old one for theft. So
// whoever renews a grant
//
//  1. takes its lock ([Store].Lock), and reads it again under that lock;
//  2. has the store make sure of room for what will be issued (Reserve);
//  3. asks the provider;
//  4. saves the new tokens before using them (Save).
//
// Package fdsclient does that. The example of Store has the steps.
package tokenstore
