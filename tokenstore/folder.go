package tokenstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// FolderConfig says where a [Folder] is and where its key comes from: exactly one
// of Passphrase, Identity and KeyringService is set.
type FolderConfig struct {
	// Path is the folder. It is created, with mode 0700, when missing. It must
	// be on a local file system: locks are not reliable on network ones.
	Path string

	// Passphrase protects the folder's key, which then is kept in the folder
	// itself. It costs about a second and 256 MB of memory once, at opening.
	// Nothing is trimmed from it.
	Passphrase fds.Secret

	// Identity is the folder's key itself: an age X25519 identity
	// ("AGE-SECRET-KEY-1..."), as age-keygen prints one, from a secret manager.
	Identity fds.Secret

	// KeyringService names the service under which the operating system's
	// keyring keeps the folder's key, one entry a folder. The keyring is asked
	// once, at opening.
	KeyringService string

	// KeyringTimeout bounds each call of the keyring; default 30 s, so that a
	// person can answer a prompt to unlock it.
	KeyringTimeout time.Duration

	gate       *callGate // nil: the system's keyring
	scryptWork int       // 0: age's default, 18
}

func (c FolderConfig) items() items { return newItems(c.gate, c.KeyringService, c.KeyringTimeout) }

// Folder keeps each grant in a file of its own, encrypted with age (X25519,
// ChaCha20-Poly1305) to the folder's key. A save writes one file; listing reads the
// first line of each and decrypts nothing.
//
// In the clear are each grant's key and subscription IDs, nothing else. Load finds
// out when they, or anything else of a record, were altered or swapped. What List
// says is only what the files claim. Nobody can tell a whole folder, or one
// record, from an older copy of itself that was put back.
//
// Reserve leaves a file of random bytes beside the grant, as large as two of its
// records and of 64 KiB at least, which the next Save fills and renames: on a full
// disk, or with a quota that is used up, it needs no other room. On file systems that
// never write in place (Btrfs, ZFS) that file is given up first, and another program
// may be faster to take its room; on Btrfs it is 512 KiB larger for that. A folder
// keeps 64 KiB for each grant whose renewal was cut short, until the next one.
//
// On unix files have mode 0600 and folders 0700. Wider modes of files that belong
// to the process's user are narrowed. Files and folders of other users are refused
// with [fds.ErrUnsafe], those of locks at each lock too; so is a folder without grants
// that others may be using. On Windows the access control list of the user's profile
// protects them. Symbolic links are never followed; files that are not the store's
// are left alone.
type Folder struct {
	path     string
	id       string // the folder's, as its key file says
	identity *age.X25519Identity
	locks    fileLocks
}

var _ Store = (*Folder)(nil)

const (
	grantSuffix = ".grant"
	locksName   = "locks"
	// unfinishedAge is when an unfinished file is taken for one whose writer died.
	unfinishedAge = time.Hour
)

// OpenFolder opens the folder, or makes it with a key of its own. Errors match
// [fds.ErrConfig] (the configuration), [fds.ErrWrongKey], [fds.ErrStoreUnavailable] (the
// keyring, the disk), [fds.ErrUnsafe], [fds.ErrCorrupt] or [fds.ErrNewerFormat].
func OpenFolder(ctx context.Context, config FolderConfig) (*Folder, error) {
	const op = "open folder"
	if err := config.validate(); err != nil {
		return nil, &Error{Op: op, Class: fds.ErrConfig, Err: err}
	}
	if err := contextError(ctx, op, Key{}); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(config.Path)
	if err != nil {
		return nil, fileError(op, Key{}, err)
	}
	if err := atomicfile.Folder(path, keyFileName, locksName); err != nil {
		return nil, fileError(op, Key{}, err)
	}
	f := &Folder{path: path, locks: fileLocks{folder: filepath.Join(path, locksName), within: true}}
	f.id, f.identity, err = f.openKey(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.CleanTemp(path, unfinishedAge); err != nil {
		return nil, fileError(op, Key{}, err)
	}
	f.cleanRooms()
	return f, nil
}

func (c FolderConfig) validate() error {
	sources := 0
	for _, set := range []bool{!c.Passphrase.IsZero(), !c.Identity.IsZero(), c.KeyringService != ""} {
		if set {
			sources++
		}
	}
	switch {
	case c.Path == "":
		return errors.New("the configuration has no Path")
	case sources == 0:
		return errors.New("the configuration names no key: set Passphrase, Identity or KeyringService of tokenstore.FolderConfig")
	case sources > 1:
		return errors.New("the configuration names more than one key: set only one of Passphrase, Identity and KeyringService")
	case c.KeyringTimeout < 0:
		return errors.New("KeyringTimeout is negative")
	}
	return checkService(c.KeyringService)
}

func (f *Folder) file(key Key) string { return filepath.Join(f.path, key.hash()+grantSuffix) }

// Probe implements [Store]: it writes a file, encrypted as a grant is, and reads it back.
func (f *Folder) Probe(ctx context.Context) error {
	const op = "probe folder"
	if err := contextError(ctx, op, Key{}); err != nil {
		return err
	}
	if err := f.checkKeyFile(op); err != nil {
		return err
	}
	// Named like an unfinished file, so that one left behind by a crash is cleaned up.
	probe := filepath.Join(f.path, ".tmp-probe-"+rand.Text())
	sealed, err := seal(folderPrefix, []byte("probe"), []byte(probe), f.identity.Recipient())
	if err != nil {
		return &Error{Op: op, Err: err}
	}
	if err := atomicfile.Write(probe, sealed); err != nil {
		return fileError(op, Key{}, err)
	}
	read, err := atomicfile.Read(probe, maxFileSize)
	err = errors.Join(err, atomicfile.Remove(probe))
	if err != nil {
		return fileError(op, Key{}, err)
	}
	if _, content, err := unseal(folderPrefix, read, f.identity); err != nil || string(content) != probe {
		return &Error{Op: op, Class: fds.ErrStoreUnavailable, Err: errors.New("what was written is not what was read"), Hint: "check the disk"}
	}
	return nil
}

// List implements [Store]. It tells what the files' first lines claim; Load checks
// them. A file that is no grant is skipped, one that is named like a grant and is
// none is given with an error. That there is no grant is believed of the folder that was
// opened alone: a file system that is not mounted for a while is empty, too.
func (f *Folder) List(ctx context.Context) iter.Seq2[Entry, error] {
	const op = "list grants"
	return func(yield func(Entry, error) bool) {
		if err := contextError(ctx, op, Key{}); err != nil {
			yield(Entry{}, err)
			return
		}
		names, err := os.ReadDir(f.path)
		if err != nil {
			yield(Entry{}, fileError(op, Key{}, err))
			return
		}
		isGrant := func(name fs.DirEntry) bool { return isRecordFile(name.Name(), grantSuffix) }
		if !slices.ContainsFunc(names, isGrant) {
			if err := f.checkKeyFile(op); err != nil {
				yield(Entry{}, err)
			}
			return
		}
		for _, name := range names {
			if !isGrant(name) {
				continue
			}
			if err := contextError(ctx, op, Key{}); err != nil {
				yield(Entry{}, err)
				return
			}
			entry, err := f.readEntry(name.Name())
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted since the folder was read
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

// isRecordFile reports whether the name is one that Key.hash could have given, with suffix.
func isRecordFile(name, suffix string) bool {
	hash, ok := strings.CutSuffix(name, suffix)
	if !ok || len(hash) != hashName.EncodedLen(32) {
		return false
	}
	_, err := hashName.DecodeString(hash)
	return err == nil
}

// readEntry reads the first line of one file.
func (f *Folder) readEntry(name string) (Entry, error) {
	const op = "list grant"
	file, err := atomicfile.Open(filepath.Join(f.path, name))
	if err != nil {
		return Entry{}, recordFileError(op, Key{}, name, err)
	}
	defer file.Close()
	header, err := readHeader(grantPrefix, file)
	if err != nil {
		return Entry{}, recordFileError(op, Key{}, name, err)
	}
	entry, class, err := decodeEntry(header)
	if err != nil {
		return entry, &Error{Op: op, Key: entry.Key, Class: class, Err: fmt.Errorf("%s: %w", name, err)}
	}
	if entry.hash()+grantSuffix != name {
		return entry, &Error{Op: op, Key: entry.Key, Class: fds.ErrCorrupt, Err: fmt.Errorf("%s: %w", name, errOtherGrant)}
	}
	return entry, nil
}

var errOtherGrant = errors.New("the file's name is that of another grant: it was renamed or edited")

// Load implements [Store].
func (f *Folder) Load(ctx context.Context, key Key) (Grant, error) {
	const op = "load grant"
	if err := contextError(ctx, op, key); err != nil {
		return Grant{}, err
	}
	file, err := atomicfile.Read(f.file(key), maxFileSize)
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.checkKeyFile(op); err != nil { // as List says
			return Grant{}, err
		}
		return Grant{}, &Error{Op: op, Key: key, Class: fds.ErrNoGrant}
	}
	if err != nil {
		return Grant{}, recordFileError(op, key, key.hash()+grantSuffix, err)
	}
	return f.decode(op, key, file)
}

// decode reads a grant's file.
func (f *Folder) decode(op string, key Key, file []byte) (Grant, error) {
	name := key.hash() + grantSuffix
	corrupt := func(err error) (Grant, error) {
		return Grant{}, &Error{Op: op, Key: key, Class: fds.ErrCorrupt, Err: fmt.Errorf("%s: %w", name, err)}
	}
	header, content, err := unseal(grantPrefix, file, f.identity)
	if errors.Is(err, errWrongIdentity) {
		return corrupt(errors.New("it is not encrypted to this folder's key: it is from another folder, or damaged"))
	}
	if err != nil {
		return corrupt(err)
	}
	entry, class, err := decodeEntry(header)
	if err != nil {
		return Grant{}, &Error{Op: op, Key: key, Class: class, Err: fmt.Errorf("%s: %w", name, err)}
	}
	grant, err := DecodeGrant(content)
	if err != nil {
		return Grant{}, err
	}
	if entry.Key != key || grant.Key != key || !slices.Equal(entry.Subscriptions, grant.Subscriptions) {
		return corrupt(errOtherGrant)
	}
	grant.Revision = fileRevision(file)
	return grant, nil
}

// Lock implements [Store] with a locked file in the folder's subfolder "locks".
func (f *Folder) Lock(ctx context.Context, key Key) (Lease, error) {
	return lockKey(ctx, &f.locks, key.hash(), key)
}

// lockKey takes the lock of that name for key.
func lockKey(ctx context.Context, locks *fileLocks, name string, key Key) (Lease, error) {
	const op = "lock grant"
	if err := contextError(ctx, op, key); err != nil {
		return nil, err
	}
	lease, err := locks.lock(ctx, name)
	switch {
	case err == nil:
		return lease, nil
	case ctx.Err() != nil:
		return nil, &Error{Op: op, Key: key, Err: err}
	}
	return nil, fileError(op, key, err)
}

// fileError classes an error of the file system.
func fileError(op string, key Key, err error) error {
	e := &Error{Op: op, Key: key, Class: fds.ErrStoreUnavailable, Err: err}
	switch {
	case errors.Is(err, atomicfile.ErrUnsafe):
		e.Class = fds.ErrUnsafe
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "give this user the right to use the folder, or choose another one"
	case atomicfile.IsFull(err):
		e.Hint = "make room on the disk, or raise this user's quota"
	case errors.Is(err, syscall.EROFS):
		e.Hint = "make the folder writable, or choose another one"
	}
	return e
}

// recordFileError classes an error in reading one record.
func recordFileError(op string, key Key, name string, err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, atomicfile.ErrTooLarge):
		return &Error{Op: op, Key: key, Class: fds.ErrTooLarge, Err: err}
	case errors.Is(err, errNoHeader):
		return &Error{Op: op, Key: key, Class: fds.ErrCorrupt, Err: fmt.Errorf("%s: %w", name, err)}
	case errors.As(err, &path) && errors.Is(err, fs.ErrPermission):
		// The folder could be used, so it is this file's owner or mode, and the
		// other records are as good as ever.
		return &Error{Op: op, Key: key, Class: fds.ErrUnsafe, Err: err, Hint: "give this user the right to read the file"}
	case errors.As(err, &path), errors.Is(err, atomicfile.ErrUnsafe):
		return fileError(op, key, err)
	}
	return &Error{Op: op, Key: key, Class: fds.ErrCorrupt, Err: fmt.Errorf("%s: %w", name, err)}
}
