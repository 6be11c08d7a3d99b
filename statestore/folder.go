package statestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// Folder keeps each record in a file of its own, and claims in one file for all. It must be
// on a local file system: locks are not reliable on network ones, and where there are none
// only goroutines of one process keep off one another. An earlier version of this SDK may use
// the folder too; nothing keeps its saves off this one's.
//
// Files that belong to another user, or are no files, are refused with an error that names
// them; a folder that others may be using too. See the package's documentation for the files.
type Folder struct {
	path   string
	ready  atomic.Bool // it is there, and its mode was seen to
	writes atomicfile.Group

	mu    sync.Mutex
	known map[Key]known
}

// known is a record that this process has read or written last.
type known struct {
	id       fileID
	own      bool // it is in the file that is its client's own
	revision string
}

// fileID tells whether a file is still the one that it was. The time is unlike any other, also
// within a tick of the system's clock: see dated.
type fileID struct {
	inode    uint64
	size     int64
	modified int64 // in nanoseconds
}

func idOf(info os.FileInfo) fileID {
	return fileID{inodeOf(info), info.Size(), info.ModTime().UnixNano()}
}

// dated returns a time within this second at random, for a new file. Windows counts in steps of
// 100 ns.
func dated() time.Time {
	const step = 100 * time.Nanosecond
	return time.Unix(time.Now().Unix(), rand.Int64N(int64(time.Second/step))*int64(step))
}

// settled is how old a file must be to be known by its time of modification: a later write
// then has another one, whoever it is by.
const settled = 4 * time.Second

var (
	_ Store   = (*Folder)(nil)
	_ Claimer = (*Folder)(nil)
)

// OpenFolder uses the folder at path, which is made when it is first needed.
func OpenFolder(path string) (*Folder, error) {
	if path == "" {
		return nil, fmt.Errorf("statestore: open folder: %w: no path; name a folder of this user's own", fds.ErrConfig)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("statestore: open folder: %w", err)
	}
	return &Folder{path: path, known: map[Key]known{}}, nil
}

// makeReady makes the folder.
func (f *Folder) makeReady() error {
	if err := atomicfile.Folder(f.path, claimsName, "*-*-*-*-*.json", "*-*-*-*-*.record"); err != nil {
		return err
	}
	f.ready.Store(true)
	return nil
}

// enter returns the folder's place. It is made before: one that is not there is not known to
// be the same under another path.
func (f *Folder) enter() *place {
	if !f.ready.Load() {
		_ = f.makeReady() // lock returns the error
	}
	return enter(f.path)
}

// lock is place.lock in a folder that is made where it is not there.
func (f *Folder) lock(ctx context.Context, p *place, offset int64) (unlock func(), err error) {
	if !f.ready.Load() {
		if err := f.makeReady(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	unlock, err = p.lock(ctx, offset)
	if errors.Is(err, fs.ErrNotExist) { // it was removed meanwhile
		if err = f.makeReady(); err == nil {
			unlock, err = p.lock(ctx, offset)
		}
	}
	if ctx.Err() != nil {
		return unlock, err
	}
	return unlock, naming(filepath.Join(f.path, claimsName), err)
}

// Load implements [Store].
func (f *Folder) Load(ctx context.Context, key Key) (Record, error) {
	if err := key.check(ctx); err != nil {
		return Record{}, key.wrap("load", err)
	}
	stored, err := f.read(key)
	if stored.id != (fileID{}) && time.Since(time.Unix(0, stored.id.modified)) > settled {
		f.note(key, known{stored.id, stored.own, stored.Revision})
	}
	return stored.Record, key.wrap("load", err)
}

// note keeps what is known of a record; with the zero value nothing.
func (f *Folder) note(key Key, k known) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k == (known{}) {
		delete(f.known, key)
		return
	}
	f.known[key] = k
}

func (f *Folder) file(key Key, own bool) string {
	if own || key.Name != stateName {
		return filepath.Join(f.path, ownFile(key))
	}
	return filepath.Join(f.path, sharedFile(key.Owner))
}

// stored is what read finds: a record, or none where the Revision is "".
type stored struct {
	Record
	id  fileID
	own bool // it is in the client's own file, or is to be
}

// read finds the record of a key. The state is in the file that earlier versions use, unless
// that is another client's, or was when the client's own file was made. With an error that
// matches fds.ErrCorrupt it returns the revision.
func (f *Folder) read(key Key) (stored, error) {
	if key.Name != stateName {
		found, err := f.readFile(key, true)
		return stored{found.Record, found.id, true}, err
	}
	shared, err := f.readFile(key, false)
	if err == nil && shared.clientID != nil && *shared.clientID == key.ClientID {
		return stored{shared.Record, shared.id, false}, nil
	}
	own, ownErr := f.readFile(key, true)
	switch {
	case ownErr != nil || own.Revision != "", err == nil && shared.clientID != nil:
		return stored{own.Record, own.id, true}, ownErr
	}
	return stored{shared.Record, shared.id, false}, err
}

// fileContent is what readFile finds.
type fileContent struct {
	content
	id fileID
}

// readFile reads one file, which need not be there.
func (f *Folder) readFile(key Key, own bool) (fileContent, error) {
	name := f.file(key, own)
	file, err := atomicfile.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fileContent{}, nil
	}
	if err != nil {
		return fileContent{}, naming(name, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fileContent{}, naming(name, err)
	}
	limit := int64(MaxBytes + maxHeaderBytes)
	if key.Name == stateName && !own {
		limit = maxStateBytes
	}
	found := fileContent{id: idOf(info)}
	if info.Size() > limit {
		found.content, err = damaged(fmt.Append(nil, found.id), "it has %d bytes, at most %d are a record", info.Size(), limit)
		return found, naming(name, err)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return fileContent{}, naming(name, err)
	}
	found.content, err = decode(key, data, !own)
	return found, naming(name, err)
}

func naming(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fds.ErrCorrupt):
		return fmt.Errorf("%s: %w; delete it to go on without what it says", name, err)
	case errors.Is(err, atomicfile.ErrUnsafe):
		return fmt.Errorf("%s: %w; remove it", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// look is read without the Data, and reads nothing where this process was the last to read or
// write the record.
func (f *Folder) look(key Key) (stored, error) {
	f.mu.Lock()
	k, ok := f.known[key]
	f.mu.Unlock()
	if ok {
		if info, err := os.Lstat(f.file(key, k.own)); err == nil && info.Mode().IsRegular() && idOf(info) == k.id {
			return stored{Record{Revision: k.revision}, k.id, k.own}, nil
		}
	}
	found, err := f.read(key)
	if errors.Is(err, fds.ErrCorrupt) { // it can be replaced
		err = nil
	}
	return found, err
}

// change runs a change of the record that has the revision, while nobody else changes it.
func (f *Folder) change(ctx context.Context, key Key, revision string, change func(name string, own bool) error) error {
	p := f.enter()
	defer p.leave()
	unlock, err := f.lock(ctx, p, byteOf(key))
	if err != nil && !errors.Is(err, errNoLocks) {
		return err
	}
	defer unlock()
	now, err := f.look(key)
	if err != nil {
		return err
	}
	if now.Revision != revision {
		return conflict(now.Revision, revision)
	}
	return change(f.file(key, now.own), now.own)
}

// Save implements [Store].
func (f *Folder) Save(ctx context.Context, key Key, data []byte, revision string) (newRevision string, err error) {
	if err = key.check(ctx); err == nil {
		err = checkSize(data)
	}
	if err != nil {
		return "", key.wrap("save", err)
	}
	file, newRevision, err := encode(key, data)
	if err != nil {
		return "", key.wrap("save", err)
	}
	err = f.change(ctx, key, revision, func(name string, own bool) error {
		f.note(key, known{})
		at := dated()
		if err := f.writes.Write(name, at, file...); err != nil {
			return naming(name, err)
		}
		// Some file systems keep times that are too coarse, some none.
		if info, err := os.Lstat(name); err == nil && info.ModTime().Equal(at) {
			f.note(key, known{idOf(info), own, newRevision})
		}
		return nil
	})
	if err != nil {
		return "", key.wrap("save", err)
	}
	return newRevision, nil
}

// Delete implements [Store].
func (f *Folder) Delete(ctx context.Context, key Key, revision string) error {
	if err := key.check(ctx); err != nil {
		return key.wrap("delete", err)
	}
	if revision == "" { // then there is nothing to change
		found, err := f.read(key)
		if found.Revision != "" {
			err = conflict(found.Revision, "")
		}
		return key.wrap("delete", err)
	}
	return key.wrap("delete", f.change(ctx, key, revision, func(name string, _ bool) error {
		f.note(key, known{})
		return naming(name, atomicfile.Remove(name))
	}))
}
