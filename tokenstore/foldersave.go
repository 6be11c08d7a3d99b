package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// Beside a grant's file there may be one that Reserve has left for the next Save:
// random bytes, that the file system has written and so has room for. Save fills it
// and renames it over the grant. Nobody reads it, so that it may be left behind,
// torn or lost at any moment; the next Reserve of the grant makes use of it.
//
// Random, since a disk that compresses keeps no room for zeros.
const (
	roomSuffix = ".reserved"
	// leastRoom is what a reservation has at least, for a token answer of a size that
	// the grant's record does not suggest.
	leastRoom = 64 << 10
)

// fileRevision names a grant's file. Encryption makes each write another one, so
// that writes of older versions of this package are noticed too.
func fileRevision(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

func (f *Folder) room(key Key) string { return filepath.Join(f.path, key.hash()+roomSuffix) }

// seal returns a grant's file.
func (f *Folder) seal(op string, grant Grant) ([]byte, error) {
	content, err := grant.Encode()
	if err != nil {
		return nil, err
	}
	header, class, err := encodeEntry(grant.Entry())
	if err != nil {
		return nil, &Error{Op: op, Key: grant.Key, Class: class, Err: err}
	}
	sealed, err := seal(grantPrefix, header, content, f.identity.Recipient())
	if err != nil {
		return nil, &Error{Op: op, Key: grant.Key, Err: err}
	}
	return sealed, nil
}

// write runs save while no other goroutine or process writes to this grant's files,
// and only when the stored grant is the one that was loaded, or equals the one to be
// saved.
func (f *Folder) write(ctx context.Context, op string, grant Grant, save func() (revision string, err error)) (revision string, err error) {
	writing, err := f.lockWriting(ctx, op, grant.Key)
	if err != nil {
		return "", err
	}
	defer writing.Release()
	file, err := atomicfile.Read(f.file(grant.Key), maxFileSize)
	stored := !errors.Is(err, fs.ErrNotExist)
	if stored && err != nil {
		return "", recordFileError(op, grant.Key, grant.Key.hash()+grantSuffix, err)
	}
	now := ""
	if stored {
		now = fileRevision(file)
	}
	if now != grant.Revision {
		if there, err := f.decode(op, grant.Key, file); !stored || err != nil || !there.Equal(grant) {
			return "", conflict(op, grant.Key, stored, grant.Revision)
		}
	}
	return save()
}

// lockWriting keeps other writers of the key away. A few files serve all keys; they
// are never removed, since there may be no room to make them again when a grant must
// be saved.
func (f *Folder) lockWriting(ctx context.Context, op string, key Key) (*lease, error) {
	writing, err := f.locks.lockLasting(ctx, "writing-"+key.hash()[:1])
	switch {
	case err == nil:
		return writing, nil
	case ctx.Err() != nil:
		return nil, &Error{Op: op, Key: key, Err: err}
	}
	return nil, fileError(op, key, err)
}

// Reserve implements [Store]. Beside the grant it leaves a file as large as two of
// it, of 64 KiB at least.
func (f *Folder) Reserve(ctx context.Context, grant Grant) (revision string, err error) {
	const op = "reserve grant"
	if err := contextError(ctx, op, grant.Key); err != nil {
		return "", err
	}
	sealed, err := f.seal(op, grant)
	if err != nil {
		return "", err
	}
	return f.write(ctx, op, grant, func() (string, error) {
		if err := f.locks.check(grant.Key.hash()); err != nil {
			return "", fileError(op, grant.Key, err)
		}
		made, err := f.makeRoom(grant.Key, len(sealed))
		if err != nil {
			return "", fileError(op, grant.Key, err)
		}
		if err := f.writeBeside(grant.Key, sealed); err != nil {
			if made {
				_ = atomicfile.Remove(f.room(grant.Key)) // the error to tell is the one before
			}
			return "", fileError(op, grant.Key, err)
		}
		return fileRevision(sealed), nil
	})
}

// makeRoom reserves room for twice a record of size. On a full disk what an earlier
// reservation has left will do, if it is large enough.
func (f *Folder) makeRoom(key Key, size int) (made bool, err error) {
	room := f.room(key)
	before, err := atomicfile.Reserved(room)
	if err != nil {
		return false, err
	}
	err = atomicfile.Reserve(room, max(2*int64(size), leastRoom))
	if atomicfile.IsFull(err) && before >= enoughRoom(size) {
		return false, nil
	}
	return before == 0 && err == nil, err
}

func enoughRoom(size int) int64 { return max(3*int64(size)/2, leastRoom/4) }

// writeBeside writes a grant's file while there is a reservation for the next one.
// On a full disk it takes what the reservation has to spare.
func (f *Folder) writeBeside(key Key, sealed []byte) error {
	const block = 8 << 10 // the file and what the file system needs for it
	room := f.room(key)
	err := atomicfile.Write(f.file(key), sealed)
	if !atomicfile.IsFull(err) {
		return err
	}
	before, reservedErr := atomicfile.Reserved(room)
	less := before - int64(len(sealed)) - block
	if reservedErr != nil || less < enoughRoom(len(sealed)) || atomicfile.Shrink(room, less) != nil {
		return err
	}
	if err := atomicfile.Write(f.file(key), sealed); err != nil {
		return err
	}
	_ = atomicfile.Reserve(room, before) // the former file's room is free now
	return nil
}

// cleanRooms removes what was reserved for grants that an older version of this
// package has deleted since. What belongs to a grant its next renewal makes use of.
func (f *Folder) cleanRooms() {
	names, _ := os.ReadDir(f.path) // a room that stays is only litter
	for _, name := range names {
		if !isRecordFile(name.Name(), roomSuffix) {
			continue
		}
		room := filepath.Join(f.path, name.Name())
		if _, err := os.Lstat(strings.TrimSuffix(room, roomSuffix) + grantSuffix); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if info, err := name.Info(); err == nil && time.Since(info.ModTime()) > unfinishedAge { // else a first save may be under way
			_ = atomicfile.Remove(room)
		}
	}
}

// Save implements [Store]. Where Reserve has left room it needs no other.
func (f *Folder) Save(ctx context.Context, grant Grant) (revision string, err error) {
	const op = "save grant"
	if err := contextError(ctx, op, grant.Key); err != nil {
		return "", err
	}
	sealed, err := f.seal(op, grant)
	if err != nil {
		return "", err
	}
	return f.write(ctx, op, grant, func() (string, error) {
		_ = f.locks.check(grant.Key.hash()) // ends a lease that is lost; what was issued is saved all the same
		roomErr := atomicfile.Fill(f.room(grant.Key), f.file(grant.Key), sealed)
		switch {
		case roomErr == nil:
			return fileRevision(sealed), nil
		case errors.Is(roomErr, atomicfile.ErrTooLarge):
			return f.saveLarge(op, grant, sealed)
		case errors.Is(roomErr, fs.ErrNotExist):
			roomErr = nil
		}
		if err := atomicfile.Write(f.file(grant.Key), sealed); err != nil {
			return "", fileError(op, grant.Key, errors.Join(err, roomErr))
		}
		return fileRevision(sealed), nil
	})
}

// saveLarge saves a record for which Reserve has not left enough room: first what
// cannot be had again, in that room, then the whole.
func (f *Folder) saveLarge(op string, grant Grant, sealed []byte) (revision string, err error) {
	small := grant
	small.AccessToken, small.TokenType, small.AccessExpiry = fds.Secret{}, "", time.Time{}
	small.Scopes, small.CertificateThumbprint = nil, ""
	part, err := f.seal(op, small)
	if err != nil {
		return "", err
	}
	partErr := atomicfile.Fill(f.room(grant.Key), f.file(grant.Key), part)
	err = atomicfile.Write(f.file(grant.Key), sealed)
	switch {
	case err == nil:
		return fileRevision(sealed), nil
	case partErr != nil:
		return "", fileError(op, grant.Key, errors.Join(err, partErr))
	}
	return fileRevision(part), &Error{Op: op, Key: grant.Key, Class: fds.ErrPartlySaved, Err: err,
		Hint: "the refresh token is safe; make room on the disk, and a new access token will be asked for"}
}

// Delete implements [Store].
func (f *Folder) Delete(ctx context.Context, key Key) error {
	const op = "delete grant"
	if err := contextError(ctx, op, key); err != nil {
		return err
	}
	writing, err := f.lockWriting(ctx, op, key)
	if err != nil {
		return err
	}
	defer writing.Release()
	for _, path := range []string{f.file(key), f.room(key)} {
		if err := atomicfile.Remove(path); err != nil {
			return fileError(op, key, err)
		}
	}
	return nil
}
