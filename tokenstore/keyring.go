package tokenstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// KeyringConfig configures a [Keyring].
type KeyringConfig struct {
	// Service is the name under which the keyring keeps the entries and shows
	// them to its user, such as the application's name; at most 128 bytes.
	Service string

	// LockFolder holds the files that processes lock; it has no secrets, but whoever
	// can write to it can stop the application, so that it must be this user's own
	// ([fds.ErrUnsafe] at each lock).
	// Default: "fds-go/locks" in the user's configuration folder. All processes
	// that use one service must name the same folder.
	LockFolder string

	// Timeout bounds each call of the keyring; default 30 s, so that a person
	// can answer a prompt to unlock it. An operation is several calls.
	Timeout time.Duration

	gate  *callGate // nil: the system's keyring
	chunk int       // 0: as the system's keyring allows
}

// Keyring keeps grants in the operating system's keyring: the Secret Service over
// D-Bus (gnome-keyring, KWallet, KeePassXC), macOS's keychain, Windows's credential
// manager. It is meant for a few dozen grants: a call takes milliseconds (on macOS a
// process each), and an operation takes several calls, one after the other. For more
// grants use a [Folder] whose key is kept in the keyring.
//
// A call that the keyring does not answer in time fails with [fds.ErrStoreUnavailable]. It
// cannot be stopped, so its goroutine stays until the keyring answers; until then
// all further calls of this process fail at once, so that there is never more than
// one such goroutine.
//
// A keyring keeps no room back. Reserve writes the grant's record with its mark, which
// shows that one of its size can be written now: a keyring that is locked, or gone, or
// full before that is found out before the server is asked. One that is locked, or
// whose disk fills up, between Reserve and Save still loses what the server issued,
// unless the process lives until it can be saved.
//
// With a context from [Unattended] no prompt is shown: on Linux and BSD the keyring is
// looked at before each call, and while it is locked the call fails with
// [fds.ErrStoreUnavailable]. Whether macOS's keychain would ask cannot be told without having
// it ask, so there it may; Windows asks nobody. Some keyrings (KeePassXC) can be set
// to ask about each access, also while they are unlocked; that is up to their user.
//
// Entries are named index, grant-... and probe. The index tells which grants there
// are, since a keyring cannot be asked. A grant whose index entry someone removed is
// not listed, but still loaded, and listed again after its next Save.
type Keyring struct {
	items   items
	records records
	locks   fileLocks
	writing string // name of the lock that writers of this service hold
}

var _ Store = (*Keyring)(nil)

// OpenKeyring checks the configuration and touches no keyring; [Keyring.Probe] does.
// Errors match [fds.ErrConfig], or [fds.ErrStoreUnavailable] when there is no place for locks.
func OpenKeyring(config KeyringConfig) (*Keyring, error) {
	const op = "open keyring"
	malformed := func(err error) (*Keyring, error) {
		return nil, &Error{Op: op, Class: fds.ErrConfig, Err: err}
	}
	if config.Service == "" {
		return malformed(errors.New("the configuration has no Service"))
	}
	if err := checkService(config.Service); err != nil {
		return malformed(err)
	}
	if config.Timeout < 0 {
		return malformed(errors.New("the configuration's Timeout is negative"))
	}
	folder := config.LockFolder
	if folder == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return nil, &Error{Op: op, Class: fds.ErrStoreUnavailable, Err: err, Hint: "set tokenstore.KeyringConfig.LockFolder"}
		}
		folder = filepath.Join(base, "fds-go", "locks")
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, fileError(op, Key{}, err)
	}
	if config.chunk == 0 {
		config.chunk = systemChunk
	}
	items := newItems(config.gate, config.Service, config.Timeout)
	sum := sha256.Sum256([]byte(config.Service))
	k := &Keyring{
		items:   items,
		records: records{items: items, chunk: config.chunk},
		locks:   fileLocks{folder: folder},
		writing: "keyring-" + hashName.EncodeToString(sum[:]),
	}
	return k, nil
}

func recordName(key Key) string { return "grant-" + key.hash() }

// write runs f while no other goroutine or process changes this service's entries.
func (k *Keyring) write(ctx context.Context, op string, key Key, f func() error) error {
	if err := contextError(ctx, op, key); err != nil {
		return err
	}
	// Other writers may be many, but one that hangs must not hang us: Save may be
	// called with a context that never ends.
	waiting, cancel := context.WithTimeout(ctx, 4*k.items.timeout)
	defer cancel()
	lease, err := k.locks.lock(waiting, k.writing)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return &Error{Op: op, Key: key, Err: err}
	case waiting.Err() != nil:
		return &Error{Op: op, Key: key, Class: fds.ErrStoreUnavailable, Err: errors.New("another process has been writing to the keyring for too long"),
			Hint: "end that process"}
	default:
		return fileError(op, key, err)
	}
	defer lease.Release()
	return recordError(op, key, f())
}

// Probe implements [Store]: it writes an entry, reads it and deletes it, and reads
// the index, without which a saved grant is not found again. It may show the user a
// prompt to unlock the keyring.
func (k *Keyring) Probe(ctx context.Context) error {
	const op, entry = "probe keyring", "probe"
	return k.write(ctx, op, Key{}, func() error {
		if _, err := k.readIndex(ctx, k.records.get); err != nil {
			return k.indexError(op, Key{}, "a grant could be saved, but not its place in the index", err)
		}
		if err := k.items.set(ctx, entry, fds.NewSecret(rand.Text())); err != nil {
			return err
		}
		return k.items.remove(ctx, entry)
	})
}

// List implements [Store].
func (k *Keyring) List(ctx context.Context) iter.Seq2[Entry, error] {
	const op = "list grants"
	return func(yield func(Entry, error) bool) {
		if err := contextError(ctx, op, Key{}); err != nil {
			yield(Entry{}, err)
			return
		}
		index, err := k.readIndex(ctx, k.read)
		if err != nil {
			yield(Entry{}, k.indexError(op, Key{}, "the index cannot be read", err))
			return
		}
		for _, e := range index.entries {
			entry := e.Entry
			var err error
			if e.unsettled {
				// Its Save or Delete was interrupted: the record has the truth.
				var grant Grant
				grant, err = k.Load(ctx, e.Key)
				if errors.Is(err, fds.ErrNoGrant) {
					continue
				}
				if err == nil {
					entry = grant.Entry()
				}
			} else if err = contextError(ctx, op, Key{}); err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

// read reads a record beside writers, which may change it while its parts are read.
func (k *Keyring) read(ctx context.Context, name string) (fds.Secret, error) {
	for range 3 {
		data, err := k.records.get(ctx, name)
		if !errors.Is(err, errParts) {
			return data, err
		}
	}
	// Damaged, or changed each time. While no one writes it will show.
	var (
		data fds.Secret
		err  error
	)
	if err := k.write(ctx, "read record", Key{}, func() error {
		data, err = k.records.get(ctx, name)
		return nil
	}); err != nil {
		return fds.Secret{}, err
	}
	return data, err
}

// Load implements [Store].
func (k *Keyring) Load(ctx context.Context, key Key) (Grant, error) {
	const op = "load grant"
	if err := contextError(ctx, op, key); err != nil {
		return Grant{}, err
	}
	return k.load(ctx, op, key, k.read)
}

type readFunc func(ctx context.Context, name string) (fds.Secret, error)

func (k *Keyring) load(ctx context.Context, op string, key Key, read readFunc) (Grant, error) {
	data, err := read(ctx, recordName(key))
	switch {
	case errors.Is(err, errNoItem):
		return Grant{}, &Error{Op: op, Key: key, Class: fds.ErrNoGrant}
	case err != nil:
		return Grant{}, recordError(op, key, err)
	}
	grant, err := DecodeGrant([]byte(data.Reveal()))
	if err != nil {
		return Grant{}, err
	}
	if grant.Key != key {
		return Grant{}, &Error{Op: op, Key: key, Class: fds.ErrCorrupt, Err: errors.New("the keyring's entry holds another grant")}
	}
	grant.Revision = textSum(data.Reveal())
	return grant, nil
}

// Reserve implements [Store], as far as a keyring can: see [Keyring].
func (k *Keyring) Reserve(ctx context.Context, grant Grant) (revision string, err error) {
	return k.put(ctx, "reserve grant", grant, false)
}

// Save implements [Store].
func (k *Keyring) Save(ctx context.Context, grant Grant) (revision string, err error) {
	return k.put(ctx, "save grant", grant, true)
}

// put writes a grant in place of the one that was loaded. Urgent is one that cannot be
// had again.
func (k *Keyring) put(ctx context.Context, op string, grant Grant, urgent bool) (revision string, err error) {
	data, err := grant.Encode()
	if err != nil {
		return "", err
	}
	err = k.write(ctx, op, grant.Key, func() error {
		if err := k.locks.check(k.lockName(grant.Key)); err != nil && !urgent {
			return fileError(op, grant.Key, err)
		}
		old, err := k.unchanged(ctx, op, grant, string(data))
		if err != nil {
			return err
		}
		return k.save(ctx, op, grant, old, data, urgent)
	})
	if err != nil {
		return "", err
	}
	return textSum(string(data)), nil
}

// unchanged returns the stored record's head when the record is the one that was loaded,
// or already the one that is to be written.
func (k *Keyring) unchanged(ctx context.Context, op string, grant Grant, data string) (head, error) {
	name, now := recordName(grant.Key), ""
	old, err := k.records.head(ctx, name)
	if err == nil {
		var stored fds.Secret
		stored, err = k.records.text(ctx, name, old)
		now = textSum(stored.Reveal())
	}
	switch {
	case errors.Is(err, errNoItem):
		now = ""
	case errors.Is(err, errParts), errors.Is(err, fds.ErrNewerFormat): // no grant that could have been loaded
		return head{}, conflict(op, grant.Key, true, grant.Revision)
	case err != nil:
		return head{}, err
	}
	if now == grant.Revision || now == textSum(data) {
		return old, nil
	}
	return head{}, conflict(op, grant.Key, now != "", grant.Revision)
}

// save keeps this order, so that a crash between two steps loses no grant:
// the index names the grant as unsettled, the record is written, the index settles.
// An unsettled grant is listed if and only if its record is there. An urgent record is
// written whatever becomes of the index: its refresh token may be the only one that
// still works.
func (k *Keyring) save(ctx context.Context, op string, grant Grant, old head, data []byte, urgent bool) error {
	record := func() error {
		return recordError(op, grant.Key, k.records.replace(ctx, recordName(grant.Key), old, fds.NewSecret(string(data))))
	}

	index, err := k.readIndex(ctx, k.records.get)
	if err != nil {
		if !urgent {
			return k.indexError(op, grant.Key, "the index cannot be read", err)
		}
		if err := record(); err != nil {
			return err
		}
		return k.indexError(op, grant.Key, "the grant is saved, but not its place in the index", err)
	}
	changed := k.settle(ctx, &index, grant.Key)
	place, known := index.find(grant.Key)
	if !known {
		place = len(index.entries)
		index.entries = append(index.entries, indexEntry{})
	}
	var indexErr error
	if e := index.entries[place]; !known || e.unsettled || !slices.Equal(e.Subscriptions, grant.Subscriptions) {
		changed = true
		index.entries[place] = indexEntry{Entry: grant.Entry(), unsettled: true}
		if indexErr = k.writeIndex(ctx, index); indexErr != nil && (!known || !urgent) {
			return indexErr
		}
	}
	if err := record(); err != nil {
		return err
	}
	if indexErr != nil {
		return indexErr
	}
	if changed {
		index.entries[place].unsettled = false
		// An entry that stays unsettled costs a look at its record, no more.
		_ = k.writeIndex(ctx, index)
	}
	return nil
}

// indexError is about an index that cannot be read, which gave err. Its class is
// that of the whole store, whatever became of the index: a damaged record is one
// grant's alone.
func (k *Keyring) indexError(op string, key Key, what string, err error) error {
	e := &Error{Op: op, Key: key, Class: fds.ErrStoreUnavailable, Err: fmt.Errorf("%s: %w", what, err)}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Class = nil
	case errors.Is(err, fds.ErrCorrupt):
		e.Hint = fmt.Sprintf("remove the keyring's entry %s of service %s; each grant is listed again after its next renewal or sign-in", indexName, quote(k.items.service))
	}
	return e
}

// Delete implements [Store].
func (k *Keyring) Delete(ctx context.Context, key Key) error {
	const op = "delete grant"
	return k.write(ctx, op, key, func() error { return k.remove(ctx, key) })
}

// remove keeps this order, so that a crash between two steps leaves no secret that
// nothing names: the index calls the grant unsettled, the record goes, the index
// forgets the grant.
func (k *Keyring) remove(ctx context.Context, key Key) error {
	index, err := k.readIndex(ctx, k.records.get)
	if err != nil {
		if err := k.records.remove(ctx, recordName(key)); err != nil {
			return err
		}
		return k.indexError("delete grant", key, "the grant is deleted, but not its place in the index", err)
	}
	changed := k.settle(ctx, &index, key)
	place, known := index.find(key)
	if known && !index.entries[place].unsettled {
		index.entries[place].unsettled = true
		if err := k.writeIndex(ctx, index); err != nil {
			return err
		}
	}
	if err := k.records.remove(ctx, recordName(key)); err != nil {
		return err
	}
	if known {
		index.entries = slices.Delete(index.entries, place, place+1)
	} else if !changed {
		return nil
	}
	return k.writeIndex(ctx, index)
}

// settle completes what other interrupted Saves and Deletes began, as far as that
// works now, and reports whether the index is to be written.
func (k *Keyring) settle(ctx context.Context, index *index, but Key) (changed bool) {
	index.entries = slices.DeleteFunc(index.entries, func(e indexEntry) bool {
		if !e.unsettled || e.Key == but {
			return false
		}
		_, err := k.records.get(ctx, recordName(e.Key))
		if !errors.Is(err, errNoItem) {
			return false
		}
		// The parts go too, before the entry that leads to them.
		gone := k.records.remove(ctx, recordName(e.Key)) == nil
		changed = changed || gone
		return gone
	})
	for n, e := range index.entries {
		if !e.unsettled || e.Key == but {
			continue
		}
		if grant, err := k.load(ctx, "load grant", e.Key, k.records.get); err == nil {
			index.entries[n] = indexEntry{Entry: grant.Entry()}
			changed = true
		}
	}
	return changed
}

// Lock implements [Store] with a locked file in LockFolder.
func (k *Keyring) Lock(ctx context.Context, key Key) (Lease, error) {
	return lockKey(ctx, &k.locks, k.lockName(key), key)
}

func (k *Keyring) lockName(key Key) string {
	return k.writing[len("keyring-"):][:12] + "-" + key.hash()
}
