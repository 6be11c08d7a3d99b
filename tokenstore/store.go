package tokenstore

import (
	"context"
	"iter"
)

// Store keeps grants. All methods may be called from several goroutines at once,
// and several processes may use one keyring or folder at once.
//
// Errors match one of the classes of package fds with [errors.Is], or
// ctx.Err when ctx ended, and are of type *[Error]. They hold no secret. With a
// context from [Unattended] no method asks a person for anything.
//
// # Renewals
//
// A renewal spends the refresh token: what the server issues in its place can be had
// once only. Whoever renews a grant takes these steps, so that it is not lost:
//
//  1. Lock, and Load under the lock.
//  2. Set [Grant.Renewal] to say who asks since when, and Reserve. When that fails the
//     server is not asked.
//  3. Ask the server.
//  4. Save the new tokens, with the revision that Reserve gave, before using them.
//  5. Release the lease.
//
// A process that ends after step 2 leaves the tokens as they were, with the mark:
// whoever comes next knows that they may be spent.
//
// # Stores of one's own
//
// A store writes what [Grant.Encode] returns, encrypted, as one value, and reads it with
// [DecodeGrant]; both see to the mark. Package storetest checks the rest.
//
// In a database a grant is one row: the key, the subscription IDs, the record, and the
// revision, which each write takes anew from a sequence, or at random: none is ever given
// again for a key, not after a Delete either, since a Save with the revision of a deleted
// record would replace its successor. Save is one statement,
// "update ... where key = ? and revision = ?" or an insert that fails where there is a
// row; when it changed none, read the row: equal to the grant, the save was done
// before, else it is a conflict. Reserve is the same statement. It has reserved when
// the marked record is committed as durably as Save commits: that shows that this
// database can be written to now, and the rest is up to whoever runs it. A database
// or disk that can be filled up by others has to keep room back, such as a column of
// random bytes in a table that is rewritten in place, or a table space of its own
// with an alarm before it is full; what it cannot promise belongs into its
// documentation. A lease is a row with an expiry that the holder prolongs until
// Release; when that fails it closes Done before others can have the lock.
//
// In a replicated store the marked record must be on as many replicas as acknowledge
// a save, and be read after a failover; a Load under the lock must not be answered by
// a replica that lags behind. Locks come from the same consensus as the records, so
// that the revision refuses the save of a holder that was cut off.
type Store interface {
	// Probe reports whether a grant can be saved and read here now. It is asked
	// before an owner signs in, so that no fresh grant is lost afterwards.
	Probe(ctx context.Context) error

	// List returns every grant's key and subscription IDs, in no particular
	// order. A record that cannot be read is given as an Entry with what is
	// known of it and an error, and does not end the listing. The class of such an
	// error is [fds.ErrCorrupt], [fds.ErrTooLarge], [fds.ErrNewerFormat], [fds.ErrUnsafe] for one
	// that belongs to another user, or [fds.ErrStoreUnavailable] for one that may be read later. A
	// listing that cannot go on returns an error with the zero Entry and ends.
	List(ctx context.Context) iter.Seq2[Entry, error]

	// Load returns one grant with its Revision, or an error that matches
	// [fds.ErrNoGrant].
	Load(ctx context.Context, key Key) (Grant, error)

	// Lock waits until the caller alone holds the lock of that key, among all
	// goroutines and processes that use this store, or until ctx ends. The lock
	// is advisory: the other methods do not take it, and so may be called under
	// it. It is held until the lease is released, however long that takes.
	// A process that dies loses its locks. A holder that locks the same key
	// again waits for itself.
	Lock(ctx context.Context, key Key) (Lease, error)

	// Reserve is Save, and makes sure that the next Save under this key finds room
	// for a record up to twice as large. When it fails the record is as it was, and
	// its revision too: a store that is full, cannot be written to, or has lost the
	// caller's lease returns [fds.ErrStoreUnavailable]. What a store cannot promise of that its
	// own documentation says.
	Reserve(ctx context.Context, grant Grant) (revision string, err error)

	// Save stores grant under its key, in place of the record with Grant.Revision,
	// and returns the new record's revision. An empty Revision stands for no record.
	// Where another one is stored, or none, Save changes nothing and its error
	// matches [fds.ErrConflict]: load the grant again. But when the stored record equals
	// grant it succeeds, so that a Save whose outcome was lost can be repeated. Of
	// several Saves at once with one revision one succeeds. A record that cannot be
	// read is in the way too, which is [fds.ErrConflict] as well: delete it first.
	//
	// After a crash at any moment the old record or the new one is there, whole.
	// When Save has returned nil the record is durable. Change a grant that was
	// loaded rather than building a new one: see [Grant].
	//
	// A record that is too large for what Reserve made sure of may be saved in part:
	// after an error that matches [fds.ErrPartlySaved] the stored record has the refresh
	// token, lacks the access token, its type, expiry, scopes and certificate, and
	// has the revision that Save returned with the error. After any other error the
	// revision is empty.
	Save(ctx context.Context, grant Grant) (revision string, err error)

	// Delete removes a grant, whatever its revision, and what was reserved for it.
	// That there is none is no error.
	Delete(ctx context.Context, key Key) error
}
