//go:build !windows

package statestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// TestWhereNothingCanBeWrittenAClaimIsGrantedAndSaysSo: a broken disk must not stop delivery.
func TestWhereNothingCanBeWrittenAClaimIsGrantedAndSaysSo(t *testing.T) {
	for what, spoil := range map[string]func(t *testing.T, disk *realtest.Disk){
		"read-only": func(_ *testing.T, disk *realtest.Disk) { disk.ReadOnly() },
		"full":      func(_ *testing.T, disk *realtest.Disk) { disk.Fill() },
	} {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, used before %v", what, used), func(t *testing.T) {
				disk := realtest.MemoryDisk(t, 256<<10)
				f, err := OpenFolder(filepath.Join(disk.Path, "state"))
				if err != nil {
					t.Fatal(err)
				}
				if used {
					mustClaim(t, f, newOwner())()
				}
				spoil(t, disk)
				owner := newOwner()
				release, err := f.Claim(t.Context(), owner)
				if err != nil && !errors.Is(err, fds.ErrNoClaims) || release == nil {
					t.Fatalf("Claim: %v", err)
				}
				if err == nil && !used {
					t.Errorf("Claim succeeds where nothing can be written")
				}
				wantClaimedBy(t, f, owner, os.Getpid()) // this process knows all the same
				release()
				if release, err = f.Claim(t.Context(), owner); release == nil {
					t.Fatal(err)
				}
				release()
			})
		}
	}
}

// TestAClaimOutlivesItsFile: whoever cleans up the folder takes no claim away.
func TestAClaimOutlivesItsFile(t *testing.T) {
	f, one, two := openTestFolder(t), newOwner(), newOwner()
	release := mustClaim(t, f, one)
	claims := filepath.Join(f.path, claimsName)
	for what, spoil := range map[string]func() error{
		"removed": func() error { return os.Remove(claims) },
		"replaced": func() error {
			return errors.Join(os.Remove(claims), os.WriteFile(claims, []byte(strings.Repeat("\xff", 5000)), 0o600))
		},
		"opened":    func() error { _, err := os.ReadFile(claims); return err }, // and closed, which ends locks
		"untouched": func() error { return nil },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		mustSave(t, f, Key{"app", newOwner(), "state"}, "{}", "") // whatever is done in the folder next
		if out, err := claimElsewhere(f, one); err == nil {
			t.Errorf("%s: another process has it too", what)
		} else if !strings.Contains(out, fmt.Sprintf("process %d ", os.Getpid())) {
			t.Errorf("%s: another process says %s", what, out)
		}
		if out, err := claimElsewhere(f, two); err != nil {
			t.Errorf("%s: another process says of another owner %s", what, out)
		}
	}
	release()
	if out, err := claimElsewhere(f, one); err != nil {
		t.Errorf("after its release another process says %s", out)
	}
}

// TestWhoeverChangesARecordLocksTheFileThatOthersFind, also after it was removed.
func TestWhoeverChangesARecordLocksTheFileThatOthersFind(t *testing.T) {
	defer func() { fcntlFlock = syscall.FcntlFlock }()
	f, key := openTestFolder(t), Key{"app", newOwner(), "state"}
	defer mustClaim(t, f, newOwner())()
	claims := filepath.Join(f.path, claimsName)
	if err := os.Remove(claims); err != nil {
		t.Fatal(err)
	}
	var locked syscall.Stat_t // the file whose lock was taken last and is held
	fcntlFlock = func(fd uintptr, command int, lock *syscall.Flock_t) error {
		if command == syscall.F_SETLK && lock.Start == byteOf(key) {
			if locked = (syscall.Stat_t{}); lock.Type == syscall.F_WRLCK {
				if err := syscall.Fstat(int(fd), &locked); err != nil {
					return err
				}
			}
		}
		return syscall.FcntlFlock(fd, command, lock)
	}
	p := enter(f.path)
	defer p.leave()
	unlock, err := f.lock(t.Context(), p, byteOf(key))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if info, err := os.Stat(claims); err != nil || inodeOf(info) != uint64(locked.Ino) {
		t.Errorf("another file is locked: %v", err)
	}
}

// TestADescriptorIsHeldForTheFolderAndNotForEachOwner, and none when nothing goes on.
func TestADescriptorIsHeldForTheFolderAndNotForEachOwner(t *testing.T) {
	f := openTestFolder(t)
	open := func() (n int) {
		entries, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Skip(err)
		}
		for _, e := range entries {
			if target, err := os.Readlink("/dev/fd/" + e.Name()); err == nil && strings.HasPrefix(target, f.path) {
				n++
			}
		}
		return n
	}
	mustSave(t, f, Key{"app", newOwner(), "state"}, "{}", "")
	if n := open(); n != 0 {
		t.Errorf("%d descriptors without a claim", n)
	}
	var releases []func()
	for range 500 {
		releases = append(releases, mustClaim(t, f, newOwner()))
	}
	if n := open(); n > 1 {
		t.Errorf("%d descriptors for 500 claims", n)
	}
	for _, release := range releases {
		release()
	}
	if n := open(); n != 0 {
		t.Errorf("%d descriptors after the last claim", n)
	}
}

func TestAttackOfManySavesAtOnceFewTakeThreadsAndLocks(t *testing.T) {
	var mu sync.Mutex
	locked, most := 0, 0
	defer func() { fcntlFlock = syscall.FcntlFlock }()
	fcntlFlock = func(fd uintptr, command int, lock *syscall.Flock_t) error {
		if lock.Start < recordByte || command != syscall.F_SETLK {
			return syscall.FcntlFlock(fd, command, lock)
		}
		mu.Lock()
		defer mu.Unlock()
		err := syscall.FcntlFlock(fd, command, lock)
		switch {
		case lock.Type == syscall.F_UNLCK:
			locked--
		case err == nil:
			locked++
			most = max(most, locked)
		}
		return err
	}
	f := openTestFolder(t)
	var all sync.WaitGroup
	for range 1000 {
		key := Key{"app", newOwner(), "state"}
		all.Go(func() {
			if _, err := f.Save(t.Context(), key, []byte("{}"), ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most > mostAtOnce || most < 2 || locked != 0 {
		t.Errorf("%d records were locked at once, and %d are", most, locked)
	}
	// With all slots taken a save ends with its context.
	p := f.enter()
	defer p.leave()
	for range mostAtOnce {
		p.slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := f.Save(ctx, Key{"app", newOwner(), "state"}, []byte("{}"), ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a save without a slot: %v", err)
	}
}

// TestOnAFileSystemWithoutLocksRecordsAreKeptAllTheSame: goroutines of one process keep off one
// another, and a claim says that others do not see it.
func TestOnAFileSystemWithoutLocksRecordsAreKeptAllTheSame(t *testing.T) {
	defer func() { fcntlFlock = syscall.FcntlFlock }()
	for _, fault := range []syscall.Errno{syscall.ENOLCK, syscall.ENOTSUP, syscall.ENOSYS, syscall.EINVAL} {
		fcntlFlock = func(uintptr, int, *syscall.Flock_t) error { return fault }
		f, owner := openTestFolder(t), newOwner()
		key := Key{"app", owner, "state"}
		revision := mustSave(t, f, key, "1", "")
		if _, err := f.Save(t.Context(), key, []byte("2"), ""); !errors.Is(err, fds.ErrConflict) {
			t.Errorf("%v: Save: %v", fault, err)
		}
		if err := f.Delete(t.Context(), key, revision); err != nil {
			t.Errorf("%v: Delete: %v", fault, err)
		}
		for range 2 {
			release, err := f.Claim(t.Context(), owner)
			if !errors.Is(err, fds.ErrNoClaims) || !errors.Is(err, fault) || release == nil {
				t.Fatalf("%v: Claim: %v", fault, err)
			}
			wantClaimedBy(t, f, owner, os.Getpid())
			release()
		}
	}
}

func TestAFolderIsTheSameUnderAnotherPath(t *testing.T) {
	f, key := openTestFolder(t), Key{"app", newOwner(), "state"}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(f.path, link); err != nil {
		t.Fatal(err)
	}
	g, err := OpenFolder(link)
	if err != nil {
		t.Fatal(err)
	}
	release := mustClaim(t, f, key.Owner)
	wantClaimedBy(t, g, key.Owner, os.Getpid())
	wantRecord(t, f, key, "")
	revision := mustSave(t, g, key, "{}", "")
	if _, err := f.Save(t.Context(), key, nil, ""); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("Save: %v", err)
	}
	mustSave(t, f, key, "{}", revision)
	release()
	mustClaim(t, g, key.Owner)()
}

// The folder is made by whoever needs it first, when another path to it may be known already.
func TestAFolderThatWasNotThereIsTheSameUnderAnotherPath(t *testing.T) {
	base, owner := t.TempDir(), newOwner()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(base, link); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(filepath.Join(base, "state"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := OpenFolder(filepath.Join(link, "state"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := f.enter(), g.enter() // both before anything is done
	if first != second {
		t.Error("it is two places")
	}
	first.leave()
	second.leave()
	if err := os.RemoveAll(f.path); err != nil {
		t.Fatal(err)
	}
	release := mustClaim(t, f, owner)
	defer release()
	wantClaimedBy(t, g, owner, os.Getpid())
	mustClaim(t, g, newOwner())() // which closes the file of a folder that it has alone
	if says, err := claimElsewhere(f, owner); err == nil || !strings.Contains(says, fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("another process claims what this one has: %q, %v", says, err)
	}
}
