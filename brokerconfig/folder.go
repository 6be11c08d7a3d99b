package brokerconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// Names in the folder.
const (
	confName      = "mosquitto.conf"
	aclName       = "acl"
	caName        = "ca.pem"
	caKeyName     = "ca.key.age"
	serverName    = "server.pem"
	crlName       = "crl.pem"
	recordName    = "issued.json"
	readmeName    = "README.txt"
	ownersName    = "owners"
	providersName = "providers"
	dataName      = "data"
	lockName      = "lock"
	unreadName    = "unread"
	restartMark   = "restart\n" // in it
)

// Bounds of files.
const (
	mostConfBytes   = 1 << 20
	mostACLBytes    = 256 << 20
	mostRecordBytes = 256 << 20
	mostPEMBytes    = 1 << 20
	mostCRLBytes    = 64 << 20
)

// folder is one that Write works on, locked.
type folder struct {
	path    string
	lock    *flock.Flock
	written map[string]bool // files that this call has written, by their names
	unread  bool            // a broker may be running that has not read what was written,
	restart bool            // or has to be started anew for it
}

// isRead reports whether Mosquitto reads a file anew at SIGHUP, among those that Write changes.
func isRead(name string) bool { return name == aclName || name == crlName || name == serverName }

// markUnread notes, until a call has come to its end without faults and has said so, that Mosquitto
// is to read its files anew, or to be started anew: the call that finishes this one's work may find
// nothing to write.
func (f *folder) markUnread(restart bool) error {
	if f.unread && (f.restart || !restart) {
		return nil
	}
	f.unread, f.restart = true, f.restart || restart
	var how []byte
	if f.restart {
		how = []byte(restartMark)
	}
	if err := atomicfile.Write(f.file(unreadName), how); err != nil {
		return fileError(err)
	}
	return nil
}

// openFolder makes the folder unless it exists, and waits for its lock.
func openFolder(ctx context.Context, dir string) (*folder, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Folder(path, recordName, lockName); err != nil {
		return nil, fileError(err)
	}
	f := &folder{path: path, written: map[string]bool{}}
	// Nobody else can put a link or a pipe there: the folder is this user's.
	file, err := atomicfile.OpenShared(f.file(lockName))
	if err != nil {
		return nil, fileError(err)
	}
	_ = file.Close() // nothing was written
	f.lock = flock.New(f.file(lockName))
	if _, err := f.lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("another process works on %s: %w", path, context.Cause(ctx))
		}
		return nil, fileError(err)
	}
	for _, name := range []string{ownersName, providersName, dataName} {
		if err := atomicfile.Subfolder(f.file(name)); err != nil {
			f.close()
			return nil, fileError(err)
		}
	}
	for _, name := range []string{".", ownersName, providersName} {
		if err := atomicfile.CleanTemp(f.file(name), 0); err != nil { // of processes that have died: the lock is ours
			f.close()
			return nil, fileError(err)
		}
	}
	info, err := os.Lstat(f.file(unreadName))
	f.unread = err == nil
	f.restart = f.unread && info.Size() == int64(len(restartMark))
	return f, nil
}

func (f *folder) close() { _ = f.lock.Unlock() } // closing the file unlocks it anyway

func (f *folder) file(name string) string { return filepath.Join(f.path, filepath.FromSlash(name)) }

// read returns a file's content, nil where there is none.
func (f *folder) read(name string, limit int64) ([]byte, error) {
	data, err := atomicfile.Read(f.file(name), limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fileError(err)
	case len(data) == 0:
		return []byte{}, nil
	}
	return data, nil
}

// write writes a file unless it has that content.
func (f *folder) write(name string, before, content []byte) error {
	if before != nil && bytes.Equal(before, content) {
		return nil
	}
	if info, err := os.Lstat(f.file(name)); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is a link or no file; remove it", fds.ErrUnsafe, name)
	}
	if isRead(name) {
		if err := f.markUnread(false); err != nil {
			return err
		}
	}
	if err := atomicfile.Write(f.file(name), content); err != nil {
		return fileError(err)
	}
	f.written[name] = true
	return nil
}

func (f *folder) remove(name string) error {
	if err := atomicfile.Remove(f.file(name)); err != nil {
		return fileError(err)
	}
	return nil
}

// fileError classes an error of the file system.
func fileError(err error) error {
	switch {
	case errors.Is(err, atomicfile.ErrUnsafe):
		return fmt.Errorf("%w: %w", fds.ErrUnsafe, err)
	case errors.Is(err, atomicfile.ErrTooLarge):
		return fmt.Errorf("%w: %w", fds.ErrTooLarge, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; give this user the right to use it, or choose another folder", err)
	case atomicfile.IsFull(err):
		return fmt.Errorf("%w; make room on the disk", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; choose a folder that can be written", err)
	}
	return err
}
