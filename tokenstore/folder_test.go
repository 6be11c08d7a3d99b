package tokenstore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

const pathsAreUnlinked = runtime.GOOS != "windows"

// lightWork makes scrypt cheap; what its cost is for is not what is tested.
const lightWork = 10

func openFolder(t testing.TB, config FolderConfig) *Folder {
	t.Helper()
	f, err := OpenFolder(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func saveAll(t testing.TB, s Store, grants ...Grant) {
	t.Helper()
	for _, g := range grants {
		if _, err := replace(context.Background(), s, g); err != nil {
			t.Fatal(err)
		}
	}
}

func saveError(t *testing.T, s Store, g Grant) error {
	_, err := s.Save(t.Context(), g)
	return err
}

// replace saves g in place of whatever is stored.
func replace(ctx context.Context, s Store, g Grant) (revision string, err error) {
	if g, err = loaded(ctx, s, g); err != nil {
		if err := s.Delete(ctx, g.Key); err != nil {
			return "", err
		}
	}
	return s.Save(ctx, g)
}

// loaded returns g with the revision of what is stored, so that it can be saved.
func loaded(ctx context.Context, s Store, g Grant) (Grant, error) {
	stored, err := s.Load(ctx, g.Key)
	if errors.Is(err, fds.ErrNoGrant) {
		err = nil
	}
	g.Revision = stored.Revision
	return g, err
}

func wantLoad(t *testing.T, s Store, want Grant) {
	t.Helper()
	if g, err := s.Load(t.Context(), want.Key); err != nil || !g.Equal(want) {
		t.Fatalf("Load gives %+v, %v", g, err)
	}
}

// list returns what List returns: entries by grant ID, and errors.
func list(t *testing.T, s Store) (ids []string, errs []error) {
	t.Helper()
	for e, err := range s.List(t.Context()) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ids = append(ids, e.GrantID)
	}
	slices.Sort(ids)
	return ids, errs
}

func TestEachKindOfKeyOpensItsFolderAgain(t *testing.T) {
	gate := newCallGate(newFakeKeyring())
	for name, config := range map[string]FolderConfig{
		"passphrase":                  {Passphrase: fds.NewSecret(" pass phrase "), scryptWork: lightWork},
		"identity":                    {Identity: NewIdentity(t)},
		"identity file of age-keygen": {Identity: fds.NewSecret("# created: 2026-01-01\n# public key: age1...\n" + NewIdentity(t).Reveal() + "\n")},
		"with a byte order mark":      {Identity: fds.NewSecret("\ufeff" + NewIdentity(t).Reveal())},
		"keyring":                     {KeyringService: "test", gate: gate},
	} {
		t.Run(name, func(t *testing.T) {
			config.Path = filepath.Join(t.TempDir(), "made", "by", "the store")
			g := crashGrant(1, "x", 10)
			saveAll(t, openFolder(t, config), g)
			f := openFolder(t, config)
			wantLoad(t, f, g)
			if ids, errs := list(t, f); len(ids) != 1 || len(errs) != 0 {
				t.Errorf("List gives %q, %v", ids, errs)
			}
		})
	}
}

func TestTheWrongKeyIsNamed(t *testing.T) {
	fake := newFakeKeyring()
	gate := newCallGate(fake)
	right := map[string]FolderConfig{
		"passphrase": {Passphrase: fds.NewSecret("right"), scryptWork: lightWork},
		"identity":   {Identity: NewIdentity(t)},
		"keyring":    {KeyringService: "test", gate: gate},
	}
	for name, config := range right {
		config.Path = t.TempDir()
		right[name] = config
		saveAll(t, openFolder(t, config), crashGrant(1, "x", 10))
	}
	for _, c := range []struct {
		folder string
		config FolderConfig
		says   string
	}{
		{"passphrase", FolderConfig{Passphrase: fds.NewSecret("wrong " + hush)}, "the passphrase is not this folder's"},
		{"passphrase", FolderConfig{Identity: NewIdentity(t)}, "set tokenstore.FolderConfig.Passphrase"},
		{"passphrase", FolderConfig{KeyringService: "test", gate: gate}, "set tokenstore.FolderConfig.Passphrase"},
		{"identity", FolderConfig{Identity: NewIdentity(t)}, "that of another folder"},
		{"identity", FolderConfig{Identity: fds.NewSecret(hush)}, "not an age X25519 identity"},
		{"identity", FolderConfig{Passphrase: fds.NewSecret("right")}, "set Identity"},
		{"identity", FolderConfig{KeyringService: "test", gate: gate}, "set Identity"},
		{"keyring", FolderConfig{KeyringService: "other", gate: gate}, `the keyring has no entry folder-key-`},
		{"keyring", FolderConfig{Identity: NewIdentity(t)}, "that of another folder"},
		{"keyring", FolderConfig{Passphrase: fds.NewSecret("right")}, "set tokenstore.FolderConfig.KeyringService"},
	} {
		c.config.Path = right[c.folder].Path
		_, err := OpenFolder(t.Context(), c.config)
		if !errors.Is(err, fds.ErrWrongKey) || !strings.Contains(err.Error(), c.says) || leaks(err.Error()) {
			t.Errorf("a folder with a %s: got %v, want it to say %q", c.folder, err, c.says)
		}
	}
	for _, config := range right {
		wantLoad(t, openFolder(t, config), crashGrant(1, "x", 10))
	}
	clear(fake.items)
	if _, err := OpenFolder(t.Context(), right["keyring"]); !errors.Is(err, fds.ErrWrongKey) {
		t.Errorf("a lost key gives %v", err)
	}
	if len(fake.items) != 0 {
		t.Error("a new key was made in place of the lost one")
	}
}

func TestAFolderWhoseKeyringIsAwaySaysSo(t *testing.T) {
	fake := newFakeKeyring()
	config := FolderConfig{Path: t.TempDir(), KeyringService: "test", gate: newCallGate(fake)}
	fake.fail(func(string) error { return errNoBus })
	if _, err := OpenFolder(t.Context(), config); !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "passphrase_file") {
		t.Fatalf("making a folder gives %v", err)
	}
	fake.fail(nil)
	saveAll(t, openFolder(t, config), crashGrant(1, "x", 0)) // the failure left nothing in the way
	fake.fail(func(string) error { return errNoBus })
	if _, err := OpenFolder(t.Context(), config); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Fatalf("opening a folder gives %v", err)
	}
}

func TestAFoldersConfigurationIsChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder")
	id := NewIdentity(t)
	for _, config := range []FolderConfig{
		{},
		{Path: path},
		{Identity: id},
		{Path: path, Identity: id, Passphrase: fds.NewSecret("x")},
		{Path: path, Identity: id, KeyringService: "x"},
		{Path: path, KeyringService: "x\n"},
		{Path: path, KeyringService: "x", KeyringTimeout: -1},
		{Path: path, Identity: fds.NewSecret(hush)},
	} {
		if _, err := OpenFolder(t.Context(), config); !errors.Is(err, fds.ErrConfig) || leaks(err.Error()) {
			t.Errorf("%+v gives %v", config, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenFolder(ctx, FolderConfig{Path: path, Identity: id}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestAFolderIsMadeOnceWhoeverComesFirst(t *testing.T) {
	fake := newFakeKeyring()
	config := FolderConfig{Path: t.TempDir(), KeyringService: "test", gate: newCallGate(fake)}
	var (
		wg      sync.WaitGroup
		folders [8]*Folder
	)
	for n := range folders {
		wg.Go(func() {
			f, err := OpenFolder(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			folders[n] = f
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for n, f := range folders {
		saveAll(t, f, crashGrant(n, "x", 0))
		wantLoad(t, folders[0], crashGrant(n, "x", 0))
	}
	if len(fake.items) != 1 {
		t.Errorf("the keyring has %d keys", len(fake.items))
	}
}

func TestAttackAFolderWithGrantsButNoKeyFileGetsNoNewKey(t *testing.T) {
	config := FolderConfig{Path: t.TempDir(), Passphrase: fds.NewSecret("x"), scryptWork: lightWork}
	saveAll(t, openFolder(t, config), crashGrant(1, "x", 0))
	file := filepath.Join(config.Path, keyFileName)
	away, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(t.Context(), config); !errors.Is(err, fds.ErrCorrupt) || !strings.Contains(err.Error(), "restore that file") {
		t.Fatalf("got %v", err)
	}
	if err := os.WriteFile(file, away, 0o600); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, openFolder(t, config), crashGrant(1, "x", 0))
}

func TestADamagedKeyFileIsNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		class  error
		change func([]byte) []byte
	}{
		{"empty", fds.ErrCorrupt, func([]byte) []byte { return nil }},
		{"foreign", fds.ErrCorrupt, func([]byte) []byte { return []byte("hello\n") }},
		{"another folder's name", fds.ErrCorrupt, func(b []byte) []byte {
			i := bytes.Index(b, []byte(`"folder":"`)) + len(`"folder":"`)
			b[i] ^= 1
			return b
		}},
		{"a newer version", fds.ErrNewerFormat, func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) }},
		{"another kind of key", fds.ErrCorrupt, func(b []byte) []byte { return bytes.Replace(b, []byte(`"passphrase"`), []byte(`"telepathy"`), 1) }},
		{"cut", fds.ErrCorrupt, func(b []byte) []byte { return b[:len(b)-1] }},
		{"last byte", fds.ErrCorrupt, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"absurd cost of scrypt", fds.ErrCorrupt, func(b []byte) []byte {
			i := bytes.Index(b, []byte("-> scrypt "))
			end := i + bytes.IndexByte(b[i:], '\n')
			return slices.Concat(b[:end-len(" 10")], []byte(" 30"), b[end:])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := FolderConfig{Path: t.TempDir(), Passphrase: fds.NewSecret("x"), scryptWork: lightWork}
			openFolder(t, config)
			file := filepath.Join(config.Path, keyFileName)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.change(data), 0o600); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := OpenFolder(t.Context(), config); !errors.Is(err, c.class) || !strings.Contains(err.Error(), keyFileName) {
				t.Errorf("got %v, want %q", err, c.class)
			}
			if time.Since(began) > 30*time.Second {
				t.Error("opening it took as long as the file asked for")
			}
		})
	}
}

func TestAProbeSeesThatTheFolderIsGone(t *testing.T) {
	config := FolderConfig{Path: filepath.Join(t.TempDir(), "folder"), Identity: NewIdentity(t)}
	f := openFolder(t, config)
	before := fileNames(t, config.Path)
	if err := f.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := fileNames(t, config.Path); !slices.Equal(before, after) {
		t.Errorf("a probe leaves %q, before it was %q", after, before)
	}
	if err := os.RemoveAll(config.Path); err != nil {
		t.Fatal(err)
	}
	if err := f.Probe(t.Context()); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("Probe of a removed folder gives %v", err)
	}
	if _, err := f.Save(t.Context(), crashGrant(1, "x", 0)); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("Save into a removed folder gives %v", err)
	}
	openFolder(t, config)
	if err := f.Probe(t.Context()); !errors.Is(err, fds.ErrWrongKey) {
		t.Errorf("Probe of a folder made anew gives %v", err)
	}
}

func fileNames(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestAFolderThatIsAwayIsNoFolderWithoutGrants: by it all owners would be taken for signed
// out.
func TestAFolderThatIsAwayIsNoFolderWithoutGrants(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "grants")
	f := openFolder(t, FolderConfig{Path: path, Passphrase: fds.NewSecret("of a folder")})
	list := func() (n int, failed error) {
		for _, err := range f.List(t.Context()) {
			if n++; err != nil {
				failed = err
			}
		}
		return n, failed
	}
	if n, err := list(); n != 0 || err != nil {
		t.Fatalf("a folder without grants lists %d, %v", n, err)
	}
	if err := os.Rename(path, path+" elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // as where nothing is mounted
		t.Fatal(err)
	}
	if n, err := list(); n != 1 || !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("a folder that is away lists %d, %v", n, err)
	}
	if _, err := f.Load(t.Context(), crashGrant(1, "x", 0).Key); !errors.Is(err, fds.ErrStoreUnavailable) || errors.Is(err, fds.ErrNoGrant) {
		t.Errorf("a grant in a folder that is away: %v", err)
	}
}
