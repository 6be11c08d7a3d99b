package tokenstore

import (
	"context"
	"iter"
)

// Store keeps grants. All methods may be called from several goroutines at once,
// and several processes may use one keyring or folder at once.
//
// Errors match one of the sentinels of this package with [errors.Is], or
// ctx.Err when ctx ended, and are of type *[Error]. They hold no secret.
type Store interface {
	// Probe says whether a grant can be saved and read here now. It is asked
	// before an owner signs in, so that no fresh grant is lost afterwards.
	Probe(ctx context.Context) error

	// List gives every grant's key and subscription IDs, in no particular
	// order. A record that cannot be read is given as an Entry with what is
	// known of it and an error, and does not end the listing; a listing that
	// cannot go on gives an error with the zero Entry and ends.
	List(ctx context.Context) iter.Seq2[Entry, error]

	// Load gives one grant with its Revision, or an error that matches
	// [ErrNotFound].
	Load(ctx context.Context, key Key) (Grant, error)

	// Reserve is Save, and makes sure that the next Save under this key finds room
	// for a record up to twice as large. Whoever renews a grant does it before
	// asking the server, with [Grant.Renewal] saying so, and asks only when it has
	// succeeded: what the server then issues can be had once only. When Reserve
	// fails the record is as it was.
	Reserve(ctx context.Context, grant Grant) (revision string, err error)

	// Save stores grant under its key, in place of the record with Grant.Revision,
	// and gives the new record's revision. An empty Revision stands for no record.
	// Where another one is stored, or none, Save changes nothing and its error
	// matches [ErrConflict]; but when the stored record equals grant, as after a
	// Save whose outcome was lost, it succeeds.
	//
	// After a crash at any moment the old record or the new one is there, whole.
	// When Save has returned nil the record is durable. Change a grant that was
	// loaded rather than building a new one: see [Grant]. After an error that
	// matches [ErrPartlySaved] revision is that of the part that was saved.
	Save(ctx context.Context, grant Grant) (revision string, err error)

	// Delete removes a grant. That there is none is no error.
	Delete(ctx context.Context, key Key) error

	// Lock waits until the caller alone holds the lock of that key, among all
	// goroutines and processes that use this store, or until ctx ends. The lock
	// is advisory: the other methods do not take it, and so may be called under
	// it. It is held until the lease is released, however long that takes.
	// A process that dies loses its locks. A holder that locks the same key
	// again waits for itself.
	Lock(ctx context.Context, key Key) (Lease, error)
}
