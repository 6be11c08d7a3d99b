package tokenstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// lockGrant holds the grant's lock until the test ends, as whoever renews it does.
func lockGrant(t *testing.T, s Store, key Key) Lease {
	t.Helper()
	lease, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Release)
	return lease
}

// reserve marks g as being renewed and makes sure of room.
func reserve(t *testing.T, s Store, g Grant) Grant {
	t.Helper()
	g.Renewal.By, g.Renewal.Since = "here/1", time.Unix(1e9, 0)
	var err error
	if g.Revision, err = s.Reserve(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	wantStored(t, s, g)
	return g
}

// renewed returns g with other tokens.
func renewed(g Grant, size int) Grant {
	g.RefreshToken, g.Renewal = crashGrant(1, "renewed", size).RefreshToken, Renewal{}
	g.AccessToken, g.Scopes, g.AccessExpiry = fds.NewSecret("access"), []string{"scope"}, time.Unix(2e9, 0)
	return g
}

// wantStored is wantLoad with the revision.
func wantStored(t *testing.T, s Store, want Grant) {
	t.Helper()
	wantLoad(t, s, want)
	if g, err := s.Load(t.Context(), want.Key); err != nil || g.Revision != want.Revision {
		t.Fatalf("the stored revision is %q, want %q (%v)", g.Revision, want.Revision, err)
	}
}

// eachFullableDisk runs test with a folder on each kind of disk that can be filled up.
func eachFullableDisk(t *testing.T, test func(t *testing.T, disk *realtest.Disk, f *Folder)) {
	for _, d := range []struct {
		name string
		open func(testing.TB) *realtest.Disk
	}{
		{"in memory", func(t testing.TB) *realtest.Disk { return realtest.MemoryDisk(t, 256<<10) }},
		{"that writes in place", realtest.Ext4Disk},
		{"with a quota, that compresses and never writes in place", func(t testing.TB) *realtest.Disk { return realtest.QuotaDisk(t, 4<<20) }},
	} {
		t.Run(d.name, func(t *testing.T) {
			disk := d.open(t)
			test(t, disk, openFolder(t, FolderConfig{Path: filepath.Join(disk.Path, "grants"), Identity: NewIdentity(t)}))
		})
	}
}

func TestASaveTakesTheRoomThatWasReserved(t *testing.T) {
	f := openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	g := reserve(t, f, crashGrant(1, "old", 10))
	reserved, err := os.Stat(f.room(g.Key))
	if err != nil || reserved.Size() < leastRoom {
		t.Fatalf("reserved is %v, %v", reserved, err)
	}
	g = renewed(g, 3000)
	if g.Revision, err = f.Save(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	wantStored(t, f, g)
	now, err := os.Stat(f.file(g.Key))
	if err != nil || !os.SameFile(reserved, now) {
		t.Errorf("the saved record is not in the room that was reserved for it (%v)", err)
	}
	if _, err := os.Stat(f.room(g.Key)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reservation is still there: %v", err)
	}
	large := reserve(t, f, renewed(g, 100_000))
	if reserved, err := os.Stat(f.room(g.Key)); err != nil || reserved.Size() < 200_000 {
		t.Errorf("for a record of more than 100,000 bytes %v is reserved, %v", reserved, err)
	}
	if err := f.Delete(t.Context(), large.Key); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(f.path, g.hash()+"*")); err != nil || len(left) > 0 {
		t.Errorf("a deleted grant leaves %q, %v", left, err)
	}
}

func TestWhatWasReservedForIsSavedOnAFullDisk(t *testing.T) {
	t.Parallel()
	eachFullableDisk(t, func(t *testing.T, disk *realtest.Disk, f *Folder) {
		g := crashGrant(1, "old", 1500)
		saveAll(t, f, g)
		lockGrant(t, f, g.Key)
		g, err := loaded(t.Context(), f, g)
		if err != nil {
			t.Fatal(err)
		}
		g = renewed(reserve(t, f, g), 20_000)
		disk.Fill()
		if err := saveError(t, f, crashGrant(2, "other", 1500)); !errors.Is(err, fds.ErrStoreUnavailable) {
			t.Fatalf("the disk is not full: %v", err)
		}
		if g.Revision, err = f.Save(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		wantStored(t, f, g)
	})
}

func TestOnAFullDiskAReservationFailsAndChangesNothing(t *testing.T) {
	t.Parallel()
	eachFullableDisk(t, func(t *testing.T, disk *realtest.Disk, f *Folder) {
		g := crashGrant(1, "old", 1500)
		saveAll(t, f, g)
		lockGrant(t, f, g.Key)
		g, err := loaded(t.Context(), f, g)
		if err != nil {
			t.Fatal(err)
		}
		free := disk.Fill()
		marked := g
		marked.Renewal.By = "here/1"
		if _, err := f.Reserve(t.Context(), marked); !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "make room on the disk") {
			t.Errorf("Reserve gives %v", err)
		}
		wantStored(t, f, g)
		for _, name := range fileNames(t, f.path) {
			if strings.HasSuffix(name, roomSuffix) || atomicfile.IsTemp(name) {
				t.Errorf("%s is left behind", name)
			}
		}
		free()
		reserve(t, f, g)
	})
}

// A process that ended between Reserve and Save has left its room behind.
func TestOnAFullDiskTheRoomOfAnEarlierReservationWillDo(t *testing.T) {
	disk := realtest.MemoryDisk(t, 256<<10)
	config := FolderConfig{Path: filepath.Join(disk.Path, "grants"), Identity: NewIdentity(t)}
	g := reserve(t, openFolder(t, config), crashGrant(1, "old", 1500))
	disk.Fill()
	for range 10 { // processes, each of which ends before it saves
		f := openFolder(t, config)
		lease := lockGrant(t, f, g.Key)
		g.Renewal.Sent++
		g = reserve(t, f, g)
		lease.Release()
	}
	// Less than twice the record, but enough, is left of one by a writer who was faster.
	f := openFolder(t, config)
	if err := atomicfile.Shrink(f.room(g.Key), 40<<10); err != nil {
		t.Fatal(err)
	}
	writeUp(t, filepath.Join(disk.Path, "filler 2"))
	g = renewed(reserve(t, f, g), 10_000)
	var err error
	if g.Revision, err = f.Save(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	wantStored(t, f, g)
}

// writeUp writes a file until the disk is full.
func writeUp(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 1<<10))
	}
	if !atomicfile.IsFull(err) {
		t.Fatal(err)
	}
}

func TestAReservationWithoutRoomForItsMarkLeavesNothingBehind(t *testing.T) {
	disk := realtest.MemoryDisk(t, 256<<10)
	f := openFolder(t, FolderConfig{Path: filepath.Join(disk.Path, "grants"), Identity: NewIdentity(t)})
	g := crashGrant(1, "old", 30<<10)
	saveAll(t, f, g)
	g, err := loaded(t.Context(), f, g)
	if err != nil {
		t.Fatal(err)
	}
	gap := filepath.Join(disk.Path, "gap")
	if err := atomicfile.Reserve(gap, leastRoom+4<<10); err != nil {
		t.Fatal(err)
	}
	disk.Fill()
	if err := os.Remove(gap); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reserve(t.Context(), g); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("Reserve gives %v", err)
	}
	wantStored(t, f, g)
	if _, err := os.Stat(f.room(g.Key)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was reserved is still there: %v", err)
	}
}

func TestInAReadOnlyFolderWhoseLocksAreWritableNothingIsReserved(t *testing.T) {
	disk, locks := realtest.MemoryDisk(t, 256<<10), realtest.MemoryDisk(t, 64<<10)
	f := openFolder(t, FolderConfig{Path: filepath.Join(disk.Path, "grants"), Identity: NewIdentity(t)})
	g := crashGrant(1, "old", 1500)
	saveAll(t, f, g)
	locks.Mount(f.locks.folder)
	writable := disk.ReadOnly()
	lockGrant(t, f, g.Key)
	g, err := loaded(t.Context(), f, g)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reserve(t.Context(), g); !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "make the folder writable") {
		t.Errorf("Reserve gives %v", err)
	}
	wantStored(t, f, g)
	writable()
	reserve(t, f, g)
}

func TestARecordBeyondTheReservationSavesItsRefreshTokenFirst(t *testing.T) {
	disk := realtest.MemoryDisk(t, 2<<20)
	f := openFolder(t, FolderConfig{Path: filepath.Join(disk.Path, "grants"), Identity: NewIdentity(t)})
	g := crashGrant(1, "old", 100)
	g.ProofKey, g.GrantType, g.CertificateThumbprint = fds.NewSecret("proof"), "type", "thumb"
	saveAll(t, f, g)
	g, err := loaded(t.Context(), f, g)
	if err != nil {
		t.Fatal(err)
	}
	g = reserve(t, f, g)
	free := disk.Fill()
	g = renewed(g, 3000)
	g.AccessToken = fds.NewSecret(strings.Repeat("x", 2*leastRoom))
	revision, err := f.Save(t.Context(), g)
	if !errors.Is(err, fds.ErrPartlySaved) || errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "the refresh token is safe") {
		t.Errorf("Save gives %v", err)
	}
	part := g
	part.AccessToken, part.TokenType, part.AccessExpiry, part.Scopes, part.CertificateThumbprint = fds.Secret{}, "", time.Time{}, nil, ""
	part.Revision = revision
	wantStored(t, f, part)

	free()
	g.Revision = revision
	if g.Revision, err = f.Save(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	wantStored(t, f, g)

	large := renewed(reserve(t, f, g), 10)
	large.AccessToken = fds.NewSecret(strings.Repeat("x", 400_000))
	if large.Revision, err = f.Save(t.Context(), large); err != nil {
		t.Fatalf("with room for the whole: %v", err)
	}
	wantStored(t, f, large)
}

func TestALockFileThatIsGoneEndsItsLeaseAndStopsAReservation(t *testing.T) {
	if !pathsAreUnlinked {
		t.Skip("Windows removes no open file")
	}
	for _, c := range []struct {
		name   string
		change func(path string) error
	}{
		{"removed", os.Remove},
		{"replaced", func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachSharedStore(t, func(t *testing.T, kind, folder string, _ fds.Secret, s Store) {
				g := crashGrant(1, "old", 10)
				file := filepath.Join(folder, locksName, g.hash()+lockSuffix)
				if k, ok := s.(*Keyring); ok {
					file = filepath.Join(folder, k.lockName(g.Key)+lockSuffix)
				}
				lease := lockGrant(t, s, g.Key)
				g = reserve(t, s, g)
				if err := c.change(file); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Reserve(t.Context(), g); !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "removed or replaced") {
					t.Errorf("Reserve gives %v", err)
				}
				select {
				case <-lease.Done():
				default:
					t.Error("the lease is not done")
				}
				// What the server has issued is saved all the same.
				g = renewed(g, 10)
				var err error
				if g.Revision, err = s.Save(t.Context(), g); err != nil {
					t.Error(err)
				}
				wantStored(t, s, g)
				lease.Release()
				if _, err := os.Lstat(file); c.name == "replaced" && err != nil {
					t.Errorf("the other holder's file went too: %v", err)
				}
			})
		})
	}
}

func TestASaveUnderALostLockSaysSoThroughTheLease(t *testing.T) {
	if !pathsAreUnlinked {
		t.Skip("Windows removes no open file")
	}
	eachSharedStore(t, func(t *testing.T, kind, folder string, _ fds.Secret, s Store) {
		g := crashGrant(1, "old", 10)
		lease := lockGrant(t, s, g.Key)
		locks, err := filepath.Glob(filepath.Join(folder, "*"+lockSuffix))
		if kind == "folder" {
			locks, err = filepath.Glob(filepath.Join(folder, locksName, "*"+lockSuffix))
		}
		if err != nil || len(locks) != 1 {
			t.Fatalf("lock files %q, %v", locks, err)
		}
		if err := os.Remove(locks[0]); err != nil {
			t.Fatal(err)
		}
		if err := saveError(t, s, g); err != nil {
			t.Error(err)
		}
		select {
		case <-lease.Done():
		default:
			t.Error("the lease is not done")
		}
	})
}

func TestAReservationOfADeletedGrantGoes(t *testing.T) {
	config := FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)}
	f := openFolder(t, config)
	var grants []Grant
	then := time.Now().Add(-2 * unfinishedAge)
	for n := range 3 {
		g := reserve(t, f, crashGrant(n, "x", 10))
		if n < 2 {
			if err := os.Chtimes(f.room(g.Key), then, then); err != nil {
				t.Fatal(err)
			}
		}
		if n != 1 { // as an older version of this package deletes it
			if err := os.Remove(f.file(g.Key)); err != nil {
				t.Fatal(err)
			}
		}
		grants = append(grants, g)
	}
	foreign := filepath.Join(f.path, "notes"+roomSuffix)
	writeFile(t, foreign, []byte("precious"))
	if err := os.Chtimes(foreign, then, then); err != nil {
		t.Fatal(err)
	}
	f = openFolder(t, config)
	for n, g := range grants {
		_, err := os.Stat(f.room(g.Key))
		if gone := errors.Is(err, os.ErrNotExist); gone != (n == 0) {
			t.Errorf("grant %d: %v", n, err)
		}
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file that is not the store's: %v", err)
	}
}

func TestAttackAReservationThatIsNoFileOfOursDoesNotStopASave(t *testing.T) {
	f := openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	g := reserve(t, f, crashGrant(1, "old", 10))
	if err := os.Remove(f.room(g.Key)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.room(g.Key), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reserve(t.Context(), g); err == nil {
		t.Error("a folder passes for a reservation")
	}
	g = renewed(g, 10)
	var err error
	if g.Revision, err = f.Save(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	wantStored(t, f, g)
}

// As one of an older version of this package, which knows no revisions.
func TestAWriterThatKnowsNoRevisionsIsNoticed(t *testing.T) {
	f := openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	g := reserve(t, f, crashGrant(1, "old", 10))
	same, err := f.seal("save grant", g)
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(f.file(g.Key), same); err != nil {
		t.Fatal(err)
	}
	if err := saveError(t, f, renewed(g, 10)); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("Save over it gives %v", err)
	}
	if _, err := f.Reserve(t.Context(), renewed(g, 10)); !errors.Is(err, fds.ErrConflict) {
		t.Errorf("Reserve over it gives %v", err)
	}
	// But it may have been our own write, whose outcome we did not learn.
	if err := os.Remove(f.room(g.Key)); err != nil {
		t.Fatal(err)
	}
	reserve(t, f, g)
	if _, err := os.Stat(f.room(g.Key)); err != nil {
		t.Errorf("nothing is reserved: %v", err)
	}
}
