//go:build !windows

package statestore

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// inPlaceOf are what others may put in the place of a file.
var inPlaceOf = map[string]func(t *testing.T, name, precious string) error{
	"a pipe":          func(_ *testing.T, name, _ string) error { return syscall.Mkfifo(name, 0o600) },
	"a folder":        func(_ *testing.T, name, _ string) error { return os.Mkdir(name, 0o700) },
	"a link":          func(_ *testing.T, name, precious string) error { return os.Symlink(precious, name) },
	"a link to none":  func(_ *testing.T, name, precious string) error { return os.Symlink(precious+"x", name) },
	"a link to a tty": func(_ *testing.T, name, _ string) error { return os.Symlink("/dev/zero", name) },
	"a socket": func(t *testing.T, name, _ string) error {
		t.Chdir(filepath.Dir(name)) // the name of a socket must be short
		l, err := net.Listen("unix", filepath.Base(name))
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	},
}

// TestAttackWhatIsNoFileOfOursIsRefusedAndNamed: it holds nobody up, and nothing is written
// through it.
func TestAttackWhatIsNoFileOfOursIsRefusedAndNamed(t *testing.T) {
	for what, make := range inPlaceOf {
		for _, name := range []string{"state", "other", claimsName} {
			t.Run(what+" for "+name, func(t *testing.T) {
				f, key := openTestFolder(t), Key{"app", newOwner(), name}
				precious := filepath.Join(t.TempDir(), "precious")
				writeFile(t, precious, "precious")
				file := f.file(key, name != "state")
				if name == claimsName {
					key.Name = "state"
					file = filepath.Join(f.path, claimsName)
				}
				if err := make(t, file, precious); err != nil {
					t.Fatal(err)
				}
				check := func(method string, err error) {
					t.Helper()
					if err == nil || errors.Is(err, fds.ErrConflict) || errors.Is(err, fds.ErrNoClaims) || !strings.Contains(err.Error(), file) {
						t.Errorf("%s returns %v, want an error that names %s", method, err, file)
					}
				}
				if name == claimsName {
					_, err := f.Claim(t.Context(), key.Owner)
					check("Claim", err)
				} else {
					_, err := f.Load(t.Context(), key)
					check("Load", err)
					check("Delete", f.Delete(t.Context(), key, ""))
				}
				_, err := f.Save(t.Context(), key, []byte("x"), "")
				check("Save", err)
				check("Delete", f.Delete(t.Context(), key, "x"))
				if data, err := os.ReadFile(precious); err != nil || string(data) != "precious" {
					t.Errorf("it was written through: %q, %v", data, err)
				}
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				mustSave(t, f, key, "x", "")
				mustClaim(t, f, key.Owner)()
			})
		}
	}
}

func TestAttackFilesOfOtherUsersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	f, key := openTestFolder(t), Key{"app", newOwner(), "state"}
	revision := mustSave(t, f, key, "x", "")
	for _, file := range []string{f.file(key, false), filepath.Join(f.path, claimsName)} {
		if err := os.Chown(file, 12345, -1); err != nil {
			t.Fatal(err)
		}
		g, err := OpenFolder(f.path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Save(t.Context(), key, []byte("y"), revision); !errors.Is(err, atomicfile.ErrUnsafe) || !strings.Contains(err.Error(), file) {
			t.Errorf("Save: %v", err)
		}
		if err := os.Chown(file, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOthersCannotReadWhatIsKept(t *testing.T) {
	f, key := openTestFolder(t), Key{"app", newOwner(), "state"}
	if err := os.Chmod(f.path, 0o755); err != nil {
		t.Fatal(err)
	}
	earlier := earlierFile(t, f, key.Owner, "{}")
	if err := os.Chmod(earlier, 0o644); err != nil {
		t.Fatal(err)
	}
	record := wantRecord(t, f, key, "{}")
	mustSave(t, f, key, "{}", record.Revision)
	for _, name := range []string{"", claimsName, filepath.Base(earlier)} {
		info, err := os.Stat(filepath.Join(f.path, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q has mode %v, %v", name, info.Mode(), err)
		}
	}
}

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
