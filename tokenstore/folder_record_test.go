package tokenstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// twoGrants is a folder with a grant to hurt and one that must stay well.
func twoGrants(t *testing.T) (f *Folder, hurt, well Grant, file string) {
	t.Helper()
	f = openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	hurt, well = crashGrant(1, "hurt", 10), crashGrant(2, "well", 10)
	saveAll(t, f, hurt, well)
	return f, hurt, well, f.file(hurt.Key)
}

func TestAttackNoChangedByteOfARecordPasses(t *testing.T) {
	t.Parallel()
	f, hurt, well, file := twoGrants(t)
	original, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := f.Load(t.Context(), hurt.Key)
		if !errors.Is(err, fds.ErrCorrupt) && !errors.Is(err, fds.ErrNewerFormat) {
			t.Fatalf("%s: Load gives %+v, %v", what, g, err)
		}
		if !strings.Contains(err.Error(), hurt.GrantID) {
			t.Fatalf("%s: the error does not name the grant: %v", what, err)
		}
		if shown := err.Error(); leaksText(shown, hurt) {
			t.Fatalf("%s: the error shows a token: %v", what, err)
		}
	}
	for n := range original {
		for _, flip := range []byte{1, 0x20, 0x80} {
			data := bytes.Clone(original)
			data[n] ^= flip
			check(fmt.Sprintf("byte %d of %d ^ %#x", n, len(original), flip), data)
		}
	}
	for n := range original {
		check(fmt.Sprintf("cut after %d bytes", n), original[:n])
	}
	check("one byte more", append(bytes.Clone(original), 'x'))
	wantLoad(t, f, well)
	if ids, errs := list(t, f); !slices.Contains(ids, well.GrantID) {
		t.Errorf("List gives %q, %v", ids, errs)
	}
	saveAll(t, f, hurt)
	wantLoad(t, f, hurt)
}

func leaksText(shown string, g Grant) bool { return strings.Contains(shown, g.RefreshToken.Reveal()) }

func TestAttackSwappedAndEditedRecordsAreFoundOut(t *testing.T) {
	type paths struct{ hurt, well string }
	for _, c := range []struct {
		name   string
		change func(t *testing.T, f *Folder, p paths)
		listed int // grants that List returns without an error
	}{
		{"the file of another grant", func(t *testing.T, _ *Folder, p paths) { copyFile(t, p.well, p.hurt) }, 1},
		{"the line of another grant", func(t *testing.T, _ *Folder, p paths) {
			well, hurt := readLines(t, p.well), readLines(t, p.hurt)
			writeFile(t, p.hurt, slices.Concat(well[0], hurt[1]))
		}, 1},
		{"the ciphertext of another grant", func(t *testing.T, _ *Folder, p paths) {
			well, hurt := readLines(t, p.well), readLines(t, p.hurt)
			writeFile(t, p.hurt, slices.Concat(hurt[0], well[1]))
		}, 2},
		{"other subscriptions", func(t *testing.T, _ *Folder, p paths) {
			hurt := readLines(t, p.hurt)
			writeFile(t, p.hurt, slices.Concat(bytes.Replace(hurt[0], []byte("subscription of 1"), []byte("subscription of 2"), 1), hurt[1]))
		}, 2},
		{"the same grant of another folder", func(t *testing.T, f *Folder, p paths) {
			other := openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
			saveAll(t, other, crashGrant(1, "hurt", 10))
			copyFile(t, filepath.Join(other.path, filepath.Base(p.hurt)), p.hurt)
		}, 2},
		{"nothing", func(t *testing.T, _ *Folder, p paths) { writeFile(t, p.hurt, nil) }, 1},
		{"a line without end", func(t *testing.T, _ *Folder, p paths) {
			writeFile(t, p.hurt, append([]byte(grantPrefix), bytes.Repeat([]byte("x"), maxHeaderSize+100)...))
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, hurt, well, file := twoGrants(t)
			c.change(t, f, paths{file, f.file(well.Key)})
			if g, err := f.Load(t.Context(), hurt.Key); !errors.Is(err, fds.ErrCorrupt) {
				t.Errorf("Load gives %+v, %v", g, err)
			}
			wantLoad(t, f, well)
			ids, errs := list(t, f)
			if len(ids) != c.listed || !slices.Contains(ids, well.GrantID) || len(ids)+len(errs) != 2 {
				t.Errorf("List gives %q and %v", ids, errs)
			}
			for _, err := range errs {
				if !errors.Is(err, fds.ErrCorrupt) {
					t.Errorf("List gives %v", err)
				}
			}
		})
	}
}

func TestAttackWhatIsNotAFileOfOursIsNotFollowed(t *testing.T) {
	f, hurt, well, file := twoGrants(t)
	precious := filepath.Join(t.TempDir(), "precious")
	copyFile(t, file, precious) // even when it leads to a proper grant
	before, err := os.ReadFile(precious)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, file); err != nil {
		t.Skipf("symbolic links are not allowed here: %v", err)
	}
	if _, err := f.Load(t.Context(), hurt.Key); !errors.Is(err, fds.ErrUnsafe) {
		t.Errorf("Load through a link gives %v", err)
	}
	if ids, errs := list(t, f); len(ids) != 1 || len(errs) != 1 || !errors.Is(errs[0], fds.ErrUnsafe) {
		t.Errorf("List with a link gives %q, %v", ids, errs)
	}
	saveAll(t, f, hurt)
	wantLoad(t, f, hurt)
	if err := errors.Join(os.Remove(file), os.Symlink(precious, file), f.Delete(t.Context(), hurt.Key)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(precious); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the link's target was changed (%v)", err)
	}

	if err := os.MkdirAll(filepath.Join(file, "precious"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(t.Context(), hurt.Key); !errors.Is(err, fds.ErrUnsafe) {
		t.Errorf("Load of a folder gives %v", err)
	}
	if err := f.Delete(t.Context(), hurt.Key); !errors.Is(err, fds.ErrUnsafe) {
		t.Errorf("Delete of a folder gives %v", err)
	}
	if err := saveError(t, f, hurt); !errors.Is(err, fds.ErrUnsafe) {
		t.Errorf("Save over a folder gives %v", err)
	}
	wantLoad(t, f, well)
	if ids, errs := list(t, f); len(ids) != 1 || len(errs) != 1 || !errors.Is(errs[0], fds.ErrUnsafe) {
		t.Errorf("List with a folder gives %q, %v", ids, errs)
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	f, hurt, well, _ := twoGrants(t)
	foreign := []string{"notes.txt", "x.grant", strings.ToUpper(hurt.hash()) + grantSuffix, hurt.hash() + grantSuffix + "~", hurt.hash(),
		strings.Repeat("1", 52) + grantSuffix, ".hidden" + grantSuffix}
	for _, name := range foreign {
		writeFile(t, filepath.Join(f.path, name), []byte("precious"))
	}
	if ids, errs := list(t, f); len(ids) != 2 || len(errs) != 0 {
		t.Errorf("List gives %q, %v", ids, errs)
	}
	again := openFolder(t, FolderConfig{Path: f.path, Identity: fds.NewSecret(f.identity.String())})
	for _, g := range []Grant{hurt, well} {
		if err := again.Delete(t.Context(), g.Key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range foreign {
		if data, err := os.ReadFile(filepath.Join(f.path, name)); err != nil || string(data) != "precious" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

func TestAnUnfinishedFileHidesNothingAndGoes(t *testing.T) {
	f, hurt, _, file := twoGrants(t)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	unfinished, young := filepath.Join(f.path, ".tmp-123"), filepath.Join(f.path, ".tmp-456")
	writeFile(t, unfinished, data[:len(data)/2])
	writeFile(t, young, data[:len(data)/2])
	if !atomicfile.IsTemp(unfinished) {
		t.Fatal("this is not how unfinished files are named")
	}
	wantLoad(t, f, hurt)
	if ids, errs := list(t, f); len(ids) != 2 || len(errs) != 0 {
		t.Errorf("List gives %q, %v", ids, errs)
	}
	then := time.Now().Add(-2 * unfinishedAge)
	if err := os.Chtimes(unfinished, then, then); err != nil {
		t.Fatal(err)
	}
	openFolder(t, FolderConfig{Path: f.path, Identity: fds.NewSecret(f.identity.String())})
	if _, err := os.Stat(unfinished); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old unfinished file stays: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("an unfinished file that may be in use goes: %v", err)
	}
}

func TestAttackOtherUsersFindTheFolderOfGrantsPrivate(t *testing.T) {
	if !pathsAreUnlinked {
		t.Skip("Windows has no modes")
	}
	f, hurt, _, file := twoGrants(t)
	mode := func(path string, want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", filepath.Base(path), info.Mode().Perm(), err, want)
		}
	}
	for _, path := range fileNames(t, f.path) {
		want := os.FileMode(0o600)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			want = 0o700
		}
		mode(path, want)
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f = openFolder(t, FolderConfig{Path: f.path, Identity: fds.NewSecret(f.identity.String())})
	list(t, f)
	mode(f.path, 0o700)
	mode(file, 0o600)
	mode(filepath.Join(f.path, keyFileName), 0o600)
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(file, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(t.Context(), hurt.Key); !errors.Is(err, fds.ErrUnsafe) || !strings.Contains(err.Error(), "12345") {
		t.Errorf("another user's file gives %v", err)
	}
	if err := os.Chown(f.path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(t.Context(), FolderConfig{Path: f.path, Identity: fds.NewSecret(f.identity.String())}); !errors.Is(err, fds.ErrUnsafe) {
		t.Errorf("another user's folder gives %v", err)
	}
}

func TestAttackAFileBeyondItsBoundIsNotRead(t *testing.T) {
	f, hurt, well, file := twoGrants(t)
	huge, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(huge.Truncate(1<<40), huge.Close()); err != nil { // sparse
		t.Skipf("no sparse files here: %v", err)
	}
	if _, err := f.Load(t.Context(), hurt.Key); !errors.Is(err, fds.ErrTooLarge) {
		t.Errorf("Load gives %v", err)
	}
	wantLoad(t, f, well)
}

func TestTheLargestGrantFitsIntoAFile(t *testing.T) {
	f := openFolder(t, FolderConfig{Path: t.TempDir(), Identity: NewIdentity(t)})
	g := crashGrant(1, "", 0)
	for len(g.Subscriptions) < 3000 {
		g.Subscriptions = append(g.Subscriptions, fmt.Sprintf("9f1c2f0a-5b7e-4e0f-8f1a-%012d", len(g.Subscriptions)))
	}
	data, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	g.RefreshToken = fds.NewSecret(strings.Repeat("x", MaxGrantSize-len(data)-len(`"refresh_token":"",`)+len(g.RefreshToken.Reveal())))
	if data, err = g.Encode(); err != nil || len(data) < MaxGrantSize-100 {
		t.Fatalf("the grant has %d bytes, %v", len(data), err)
	}
	saveAll(t, f, g)
	wantLoad(t, f, g)
	if ids, errs := list(t, f); len(ids) != 1 || len(errs) != 0 {
		t.Errorf("List gives %q, %v", ids, errs)
	}
}

func TestAttackWhoCopiesTheFolderFindsNoSecretInTheClear(t *testing.T) {
	f := openFolder(t, FolderConfig{Path: t.TempDir(), Passphrase: fds.NewSecret("the passphrase"), scryptWork: lightWork})
	g := crashGrant(1, "REFRESH", 100)
	g.AccessToken, g.Scopes, g.TokenType = fds.NewSecret("ACCESS"), []string{"SCOPE"}, "TYPE"
	saveAll(t, f, g)
	hidden := []string{"REFRESH", "ACCESS", "SCOPE", "TYPE", "the passphrase", f.identity.String(), f.identity.Recipient().String()}
	for _, path := range fileNames(t, f.path) {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // a folder
		}
		for _, text := range hidden {
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%s contains %q", filepath.Base(path), text)
			}
		}
	}
}

func TestListingDecryptsNothing(t *testing.T) {
	f, hurt, _, file := twoGrants(t)
	writeFile(t, file, append(readLines(t, file)[0], "not encrypted at all"...))
	if ids, errs := list(t, f); len(ids) != 2 || len(errs) != 0 {
		t.Errorf("List gives %q, %v", ids, errs)
	}
	if _, err := f.Load(t.Context(), hurt.Key); !errors.Is(err, fds.ErrCorrupt) {
		t.Errorf("Load gives %v", err)
	}
}

func TestASaveTouchesOneFile(t *testing.T) {
	f, hurt, _, file := twoGrants(t)
	then := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, path := range fileNames(t, f.path) {
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	saveAll(t, f, hurt)
	for _, path := range fileNames(t, f.path) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if changed := !info.ModTime().Equal(then); changed != (path == file) && !info.IsDir() {
			t.Errorf("%s: changed %v", filepath.Base(path), changed)
		}
	}
}

func TestNamesOfFilesSuitEverySystem(t *testing.T) {
	seen := map[string]Key{}
	for _, key := range []Key{
		{"a", "b", "c"}, {"A", "b", "c"}, {"ab", "c", "d"}, {"a", "bc", "d"}, {"1:a", "b", "c"}, {"a", "1:b", "c"},
		{strings.Repeat("x", 1e5), "/", "\x00"}, {"..", "nul", "con"},
	} {
		name := strings.ToLower(key.hash())
		if other, taken := seen[name]; taken {
			t.Errorf("%q and %q have one name", key, other)
		}
		seen[name] = key
		if name != key.hash() || len(name) != 52 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Errorf("%q gives the name %q", key, key.hash())
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, data)
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readLines returns a record's first line and the rest.
func readLines(t *testing.T, path string) [2][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.IndexByte(data, '\n') + 1
	return [2][]byte{slices.Clone(data[:end]), data[end:]}
}

// tenThousand is a folder of 10,000 grants, written without waiting for the disk.
func tenThousand(b *testing.B) *Folder {
	f := openFolder(b, FolderConfig{Path: b.TempDir(), Identity: NewIdentity(b)})
	for n := range 10_000 {
		g := crashGrant(n, "x", 1500)
		content, err := g.Encode()
		if err != nil {
			b.Fatal(err)
		}
		header, _, err := encodeEntry(g.Entry())
		if err != nil {
			b.Fatal(err)
		}
		sealed, err := seal(grantPrefix, header, content, f.identity.Recipient())
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(f.file(g.Key), sealed, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

func BenchmarkFolderOf10000(b *testing.B) {
	f := tenThousand(b)
	config := FolderConfig{Path: f.path, Identity: fds.NewSecret(f.identity.String())}
	b.Run("open and list", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, err := range openFolder(b, config).List(b.Context()) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 10_000 {
				b.Fatalf("%d grants", n)
			}
		}
	})
	g := crashGrant(5000, "x", 1500)
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			saveAll(b, f, g)
		}
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.Load(b.Context(), g.Key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lock and unlock", func(b *testing.B) {
		for b.Loop() {
			lease, err := f.Lock(b.Context(), g.Key)
			if err != nil {
				b.Fatal(err)
			}
			lease.Release()
		}
	})
}

func BenchmarkOpenFolderWithPassphrase(b *testing.B) {
	config := FolderConfig{Path: b.TempDir(), Passphrase: fds.NewSecret("x")}
	for b.Loop() {
		openFolder(b, config)
	}
}

func TestAttackARecordOfAnotherUserIsNotTheWholeStoresTrouble(t *testing.T) {
	denied := &fs.PathError{Op: "open", Path: "x.grant", Err: fs.ErrPermission}
	err := recordFileError("list grant", Key{}, "x.grant", fmt.Errorf("atomicfile: %w", denied))
	if !errors.Is(err, fds.ErrUnsafe) || errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "give this user the right") {
		t.Errorf("got %v", err)
	}
	busy := &fs.PathError{Op: "open", Path: "x.grant", Err: errors.New("too many open files")}
	if err := recordFileError("list grant", Key{}, "x.grant", busy); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("a process out of files gives %v", err)
	}
}
