// Package statestore keeps what a program must remember of resource owners between its runs,
// besides their grants: where in the stream of messages it is, for one. None of it is secret.
//
// A [Store] keeps records of at most 512 KiB under a client ID, an owner and a name. A save
// replaces only the record that was loaded, so that two that work on one owner cannot undo
// what the other has saved. [Folder] keeps files, [Memory] forgets everything when the process
// ends. Package statetest checks any Store, also one you write yourself.
package statestore
