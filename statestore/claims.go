package statestore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// Bytes of the claims file. Its content is a table of who has claimed what, and only that is
// ever written: bytes can be locked where a file has none.
//
// A lock for each claim would be simpler, but the system goes through all locks of a file for
// each new one: 10,000 take it most of a second, and every save half a millisecond more.
const (
	tableByte    = int64(1) << 60 // is locked by whoever makes a claim
	identityByte = int64(1) << 61 // and above: one of each process that has claims, locked while it lives
	recordByte   = int64(1) << 62 // and above: locked by whoever changes that record
)

// The table has levels, each twice as large as the one before. An entry stands at one of a few
// positions of a level that its hash tells, of the first level that has room there. It is the
// hash of the owner and the byte of the process that has it: where nobody has that byte locked
// the entry is void, and so it is when it is 0.
const (
	entrySize   = 16
	windowSize  = 8 // entries
	firstLevel  = 128
	levels      = 14
	windowBytes = windowSize * entrySize
)

// claim is an owner that this process has claimed.
type claim struct {
	position int64 // of its entry in the place's file; -1: none
}

func hashOf(texts ...string) uint64 {
	h := sha256.New()
	for _, text := range texts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		h.Write([]byte(text))
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// byteOf is the byte for the record of that name of an owner, whichever client's it is:
// clients may share a file.
func byteOf(key Key) int64 {
	return recordByte | int64(hashOf(key.Owner.Issuer, key.Owner.SubscriptionID.String(), key.Name)>>2)
}

// Claim implements [Claimer] for all that use the folder on this machine. Where the folder
// cannot be written to, or its file system has no locks, the error matches [fds.ErrNoClaims].
func (f *Folder) Claim(ctx context.Context, owner fds.OwnerKey) (release func(), err error) {
	if err := checkOwner(ctx, owner); err != nil {
		return nil, fmt.Errorf("statestore: claim %s: %w", shownOwner(owner), err)
	}
	p := f.enter()
	if !p.take(owner) {
		p.leave()
		return nil, &ClaimedError{Owner: owner, PID: os.Getpid(), Place: f.path}
	}
	release = sync.OnceFunc(func() {
		p.give(owner)
		p.leave()
	})
	unlock, err := f.lock(ctx, p, tableByte)
	if err == nil {
		var pid int
		pid, err = p.note(owner)
		unlock()
		if errors.Is(err, errClaimed) {
			release()
			return nil, &ClaimedError{Owner: owner, PID: pid, Place: f.path}
		}
	} else if unlock != nil {
		unlock()
	}
	switch {
	case err == nil:
		return release, nil
	case ctx.Err() == nil && (errors.Is(err, errNoLocks) || errors.Is(err, fs.ErrPermission) || isReadOnly(err) || atomicfile.IsFull(err)):
		return release, fmt.Errorf("statestore: claim %s: %w: %w", shownOwner(owner), fds.ErrNoClaims, err)
	}
	release()
	return nil, fmt.Errorf("statestore: claim %s: %w", shownOwner(owner), err)
}

// take reports whether no goroutine of this process has the owner.
func (p *place) take(owner fds.OwnerKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.claims[owner] != nil {
		return false
	}
	p.claims[owner] = &claim{position: -1}
	return true
}

// give ends a claim.
func (p *place) give(owner fds.OwnerKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.claims[owner].position; at >= 0 {
		// Only the half that makes it void, which nobody sees half written. An entry that
		// stays is this process' own to use again, and ends with it.
		_, _ = p.file.WriteAt(make([]byte, 8), at+8)
	}
	delete(p.claims, owner)
}

var errClaimed = errors.New("claimed")

// note writes the entry of an owner. The caller has locked the table. With errClaimed it
// returns the process that has the owner, where it is known.
func (p *place) note(owner fds.OwnerKey) (pid int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.noteIn(p.file, owner)
}

// restore notes all claims in a file that has taken the place of another. What someone else has
// claimed meanwhile is theirs. The caller has locked the table.
func (p *place) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for owner, c := range p.claims {
		if c.position < 0 {
			_, _ = p.noteIn(p.file, owner)
		}
	}
	p.missing = false
}

func (p *place) noteIn(file *os.File, owner fds.OwnerKey) (pid int, err error) {
	hash := hashOf(owner.Issuer, owner.SubscriptionID.String())
	if p.identity == 0 {
		if p.identity, err = identify(file); err != nil {
			return 0, err
		}
	}
	t := table{file: file, self: p.identity, alive: map[int64]liveness{}}
	at, pid, err := t.find(hash)
	if err != nil {
		return pid, err
	}
	entry := binary.BigEndian.AppendUint64(nil, hash)
	entry = binary.BigEndian.AppendUint64(entry, uint64(p.identity))
	if _, err := file.WriteAt(entry, at); err != nil {
		return 0, err
	}
	p.claims[owner].position = at
	return 0, nil
}

// identify locks a byte that no process has had before, as far as chance goes. It has the
// process' ID in it, for systems that do not name who has a lock.
func identify(file *os.File) (identity int64, err error) {
	for {
		identity = identityByte | rand.Int64N(1<<28)<<32 | int64(uint32(os.Getpid()))
		if ok, err := lockByte(file, identity); ok || err != nil {
			return identity, err
		}
	}
}

// table reads the claims of a file.
type table struct {
	file  *os.File
	self  int64
	alive map[int64]liveness
}

type liveness struct {
	lives bool
	pid   int
}

// find returns the position for an entry of that hash, or errClaimed and who has one.
func (t *table) find(hash uint64) (position int64, pid int, err error) {
	info, err := t.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	free, own := int64(-1), int64(-1)
	start := int64(0)
	for level := range levels {
		at := start + windowOf(hash, level)*windowBytes
		if start >= info.Size() {
			if own < 0 && free < 0 {
				free = at // in a new level
			}
			break
		}
		start += firstLevel * windowBytes << level
		window := make([]byte, windowBytes)
		if _, err := t.file.ReadAt(window, at); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		for n := int64(0); n < windowBytes; n += entrySize {
			same := binary.BigEndian.Uint64(window[n:]) == hash
			void, pid, err := t.void(int64(binary.BigEndian.Uint64(window[n+8:])), same, same || free < 0)
			switch {
			case err != nil:
				return 0, 0, err
			case !void && same:
				return 0, pid, errClaimed
			case void && same && own < 0:
				own = at + n
			case void && !same && free < 0:
				free = at + n
			}
		}
	}
	if own >= 0 {
		return own, 0, nil
	}
	if free < 0 {
		return 0, 0, fmt.Errorf("%w: too many claims", errNoLocks)
	}
	return free, 0, nil
}

func windowOf(hash uint64, level int) int64 {
	const golden = 0x9e3779b97f4a7c15
	return int64((hash ^ uint64(level)*golden) * golden >> 8 % (firstLevel << level))
}

// void reports whether an entry, of that hash or another, is nobody's, as far as that matters;
// else who has written it, where it is known. What this process has written and claims no more
// is void.
func (t *table) void(identity int64, same, matters bool) (void bool, pid int, err error) {
	switch {
	case identity&^(identityByte-1) != identityByte: // nobody writes that
		return true, 0, nil
	case identity == t.self:
		return same, 0, nil
	case !matters:
		return false, 0, nil
	}
	l, ok := t.alive[identity]
	if !ok {
		if l.lives, l.pid, err = holder(t.file, identity); err != nil {
			return false, 0, err
		}
		if l.pid == unnamed {
			l.pid = int(uint32(identity))
		}
		t.alive[identity] = l
	}
	return !l.lives, l.pid, nil
}
