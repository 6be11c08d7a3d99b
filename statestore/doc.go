// Package statestore keeps what a program must remember of resource owners between its runs,
// besides their grants: how far an owner's messages were handled, for one. None of it is secret.
//
// # Which store
//
//   - [OpenFolder]: files in a folder.
//   - [Memory]: forgets everything when the process ends. For tests.
//   - A [Store] of your own. Package statetest checks it.
//
// # Records
//
// A store keeps records of at most 512 KiB, under a client ID, an owner and a name. A save
// replaces only the record that was loaded. So two that work on one owner cannot undo what the
// other has saved.
//
// # Claims
//
// A store may be a [Claimer] too. Then of all processes that use it, one at a time consumes an
// owner. Who comes second learns which process has it. Both stores of this package are claimers.
//
// # Stores of one's own
//
// In a database a record is one row: the key, the data, and the revision. Each write takes a new
// revision, from a sequence or at random: none is given again for a key, not after a Delete
// either. Save is one statement, "update ... where key = ? and revision = ?", or an insert that
// fails where there is a row. When it changed none, it is a conflict. A claim is a session lock
// of the database, or a row with an expiry that the holder prolongs.
//
// # The files of a Folder
//
// The record "state" is in <subscription ID>-<issuer>.json, where the issuer is the first 8
// bytes of its SHA-256 in hex, and the subscription ID in lower case:
//
//	{"version":1,"owner":{"issuer":"...","subscription_id":"..."},"client_id":"...","revision":"...","sum":"...","state":DATA}
//
// DATA is the data, byte for byte, and sum its CRC-32C in hex. Earlier versions of this SDK
// read and write the same file without client_id, revision and sum. What they have written is
// the record of each client that loads it, until one of them has saved it. Then other clients
// of the same owner in the folder have theirs in <subscription ID>-<issuer>-<client>.json,
// where the client is shortened as the issuer is. A client that has such a file keeps to it.
//
// A record of another name is in <subscription ID>-<issuer>-<client>-<name>.record, and so is
// what is no JSON, but for its name:
//
//	fds-record 2
//	{"version":2,"owner":{...},"client_id":"...","name":"...","revision":"...","sum":"..."}
//	DATA
//
// Each file is written beside its name, flushed and renamed, with mode 0600. Its time of
// modification is within a second of the true one, and at random there, so that a process
// knows without reading whether a record is still the one that it has read or written. Records
// that are saved at the same time go to the disk together, at most 64 at once, which
// costs less than one after another.
//
// The file claims has a table of who has claimed what, which matters as long as the process
// that wrote an entry has a certain byte of the file locked, and bytes that are locked while a
// record is changed. It may be deleted when no process uses the folder, and while one does its
// claims are noted again. A program should not open it: on unix that ends the locks of the
// process, until it uses the folder next.
package statestore
