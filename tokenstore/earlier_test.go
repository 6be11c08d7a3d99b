package tokenstore

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// earlier is where the data of earlier versions is, which its README describes.
const earlier = "testdata/earlier"

// earlierPassphrase is that of the folder with a passphrase.
const earlierPassphrase = " of earlier versions "

// earlierGrants are the grants in it, by grant ID but for one. What a version does not
// know of the one that a newer version wrote is compared by wantRecord.
func earlierGrants(t *testing.T) map[string]Grant {
	t.Helper()
	key := func(id string) Key { return Key{"https://auth.example.com", "fleet-app", id} }
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	return map[string]Grant{
		"bare": {Key: key("bare")},
		"full": {
			Key:           key("full"),
			Subscriptions: []string{"1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01", "2B7F1D2F-6CAE-4D64-9C1F-3A0E2D8B4F02"},
			RefreshToken:  fds.NewSecret("refresh-of-full"),
			AccessToken:   fds.NewSecret("access-of-full"),
			TokenType:     "DPoP",
			AccessExpiry:  at("2025-11-28T10:15:30.123456789Z"),
			RefreshExpiry: at("2099-05-01T00:00:00Z"),
			Scopes:        []string{"openid", "offline_access"},
			ProofKey: fds.NewSecret("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyUmGRpvuT+8M3XpxGsDrx08MJ/qqKpIk11Et/vQsu1qhRANCAAScU+G3M8LU" +
				"Ra9hBBUX/RI3u3Xu9UY+hnhqR/gcDu26EnQCjIiwxWXqPMVhreeEAlxDmIw8RpvnZeyVM21XcRQe"),
			CertificateThumbprint: "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2",
			Created:               at("2025-11-01T07:00:00Z"),
			Renewed:               at("2025-11-28T10:05:30.5Z"),
		},
		"large": {
			Key:           key("large"),
			Subscriptions: []string{"3c8a2e3a-7dbf-4e75-8d2a-4b1f3e9c5a03"},
			RefreshToken:  fds.NewSecret("refresh-of-large-" + strings.Repeat("0123456789abcdef", 150)),
			AccessToken:   fds.NewSecret("access-of-large-" + strings.Repeat("<&>ü~", 60)),
			TokenType:     "bearer",
			AccessExpiry:  at("2025-11-28T10:15:30Z"),
			Created:       at("2025-11-01T08:00:00Z"),
			Renewed:       at("2025-11-28T10:05:30Z"),
		},
		"application": {
			Key:           key("application"),
			Subscriptions: []string{"4d9b3f4b-8ec0-4f86-9e3b-5c2a4fad6b04"},
			GrantType:     "client_credentials",
			AccessToken:   fds.NewSecret("access-of-application"),
			TokenType:     "Bearer",
			AccessExpiry:  at("2025-11-28T10:15:30Z"),
			Created:       at("2025-11-28T09:15:30Z"),
			Renewed:       at("2025-11-28T09:15:30Z"),
		},
		"newer": {
			Key:           key("newer"),
			Subscriptions: []string{"5e0c4a5c-9fd1-4a97-8f4c-6d3b5abe7c05"},
			RefreshToken:  fds.NewSecret("refresh-of-newer"),
			TokenType:     "Bearer",
			unknown:       fds.NewSecret(`{"added_later":{"text":"\u00fc<&>","numbers":[1,2.50,1e3],"none":null},"added_too":"kept"}`),
		},
		"odd": {
			Key:           Key{"https://Auth.Example.com:8443/tenants/ü?x=<&>", `app with "quotes" \ and é`, "../a/b\n%2e"},
			Subscriptions: []string{"6f1d5b6d-a0e2-4ba8-9a5d-7e4c6bcf8d06"},
			RefreshToken:  fds.NewSecret("refresh-of-odd-\u2028"),
			TokenType:     "Bearer",
		},
	}
}

var everyEarlier = []string{"application", "bare", "full", "large", "newer", "odd"}

// earlierRecord returns a record as an earlier version encoded it.
func earlierRecord(t *testing.T, name string) map[string]any {
	t.Helper()
	var all map[string]map[string]any
	readJSON(t, filepath.Join(earlier, "grants.json"), &all)
	if all[name] == nil {
		t.Fatalf("there is no record %q", name)
	}
	return all[name]
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// earlierFolder returns a copy of a folder, with the modes that it had.
func earlierFolder(t *testing.T, name string) string {
	t.Helper()
	from, to := filepath.Join(earlier, name), filepath.Join(t.TempDir(), "grants")
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(to, file.Name()), data)
	}
	return to
}

func earlierIdentity(t *testing.T) fds.Secret {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(earlier, "folder-identity.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return fds.NewSecret(string(data))
}

// earlierKeyring returns a keyring that holds what a file says, under the service
// "earlier".
func earlierKeyring(t *testing.T, name string) *fakeKeyring {
	t.Helper()
	var items map[string]string
	readJSON(t, filepath.Join(earlier, name), &items)
	fake := newFakeKeyring()
	for name, text := range items {
		fake.items["earlier:"+name] = text
	}
	return fake
}

func openEarlierKeyring(t *testing.T, fake *fakeKeyring, locks string) *Keyring {
	t.Helper()
	k, err := OpenKeyring(KeyringConfig{Service: "earlier", LockFolder: locks, Timeout: 10 * time.Second, gate: newCallGate(fake), chunk: 400})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// wantEarlier checks that a store lists just the grants of those names, and loads them.
func wantEarlier(t *testing.T, s Store, names ...string) {
	t.Helper()
	all := earlierGrants(t)
	listed := map[Key][]string{}
	for entry, err := range s.List(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		listed[entry.Key] = entry.Subscriptions
	}
	if len(listed) != len(names) {
		t.Errorf("%d grants are listed, want %d: %v", len(listed), len(names), listed)
	}
	for _, name := range names {
		want := all[name]
		if got, ok := listed[want.Key]; !ok || !slices.Equal(got, want.Subscriptions) {
			t.Errorf("%s is listed: %v, with the subscriptions %q", name, ok, got)
		}
		got, err := s.Load(t.Context(), want.Key)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.Equal(want) {
			t.Errorf("%s is\n%s, want\n%s", name, encoded(t, got), encoded(t, want))
		}
		wantRecord(t, got, name)
	}
}

// wantRecord checks that a grant is encoded with the members that it had.
func wantRecord(t *testing.T, g Grant, name string) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(encoded(t, g), &got); err != nil {
		t.Fatal(err)
	}
	if want := earlierRecord(t, name); !reflect.DeepEqual(got, want) {
		t.Errorf("%s is encoded %v, want %v", name, got, want)
	}
}

func encoded(t *testing.T, g Grant) []byte {
	t.Helper()
	data, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFoldersOfEarlierVersionsOpen(t *testing.T) {
	for name, c := range map[string]struct {
		config FolderConfig
		grants []string
	}{
		"identity":   {FolderConfig{Identity: earlierIdentity(t)}, everyEarlier},
		"passphrase": {FolderConfig{Passphrase: fds.NewSecret(earlierPassphrase)}, []string{"bare", "full"}},
		"keyring":    {FolderConfig{KeyringService: "earlier", gate: newCallGate(earlierKeyring(t, "folder-keyring.json"))}, []string{"full"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Path = earlierFolder(t, "folder-"+name)
			f := openFolder(t, c.config)
			if err := f.Probe(t.Context()); err != nil {
				t.Error(err)
			}
			wantEarlier(t, f, c.grants...)
			// Saved anew they are still the same.
			for _, name := range c.grants {
				g, err := f.Load(t.Context(), earlierGrants(t)[name].Key)
				if err != nil {
					t.Fatal(err)
				}
				saveAll(t, f, g)
			}
			wantEarlier(t, openFolder(t, c.config), c.grants...)
		})
	}
}

func TestKeyringsOfEarlierVersionsOpen(t *testing.T) {
	for _, name := range []string{
		"whole", // an entry a grant, as with the Secret Service
		"parts", // several, as on Windows and macOS
	} {
		t.Run(name, func(t *testing.T) {
			fake, locks := earlierKeyring(t, "keyring/"+name+".json"), t.TempDir()
			k := openEarlierKeyring(t, fake, locks)
			if err := k.Probe(t.Context()); err != nil {
				t.Error(err)
			}
			wantEarlier(t, k, everyEarlier...)
			for _, name := range everyEarlier {
				g, err := k.Load(t.Context(), earlierGrants(t)[name].Key)
				if err != nil {
					t.Fatal(err)
				}
				saveAll(t, k, g)
			}
			wantEarlier(t, openEarlierKeyring(t, fake, locks), everyEarlier...)
			for _, name := range everyEarlier {
				if err := k.Delete(t.Context(), earlierGrants(t)[name].Key); err != nil {
					t.Error(err)
				}
			}
			if left := fake.snapshot(); len(left) > 0 {
				t.Errorf("left is %v", left)
			}
		})
	}
}

func TestWhatAnEarlierVersionWasCutShortInIsSettled(t *testing.T) {
	open := func(t *testing.T, name string) (*Keyring, *fakeKeyring) {
		fake := earlierKeyring(t, "keyring/"+name+".json")
		return openEarlierKeyring(t, fake, t.TempDir()), fake
	}
	all := earlierGrants(t)
	settled := func(t *testing.T, fake *fakeKeyring, parts ...string) {
		t.Helper()
		items := fake.snapshot()
		if strings.Contains(items["earlier:index"], "unsettled") {
			t.Error("the index is still unsettled")
		}
		for name := range items {
			if strings.Count(name, ".") == 2 && !slices.ContainsFunc(parts, func(part string) bool { return strings.HasSuffix(name, part) }) {
				t.Errorf("left is %s", name)
			}
		}
	}
	t.Run("a first save", func(t *testing.T) { // in the index, and nowhere else
		k, fake := open(t, "first-save-cut")
		wantEarlier(t, k, "bare")
		saveAll(t, k, all["newer"])
		wantEarlier(t, k, "bare", "newer")
		settled(t, fake)
	})
	t.Run("a save", func(t *testing.T) { // the new parts are there, the head is the old one
		k, fake := open(t, "save-cut")
		wantEarlier(t, k, "bare", "full")
		g, err := k.Load(t.Context(), all["full"].Key)
		if err != nil {
			t.Fatal(err)
		}
		saveAll(t, k, g)
		wantEarlier(t, k, "bare", "full")
		settled(t, fake, ".b.0", ".b.1")
	})
	t.Run("a deletion", func(t *testing.T) { // the head is gone, the parts are there
		k, fake := open(t, "delete-cut")
		wantEarlier(t, k, "bare")
		if g, err := k.Load(t.Context(), all["full"].Key); !errors.Is(err, fds.ErrNoGrant) {
			t.Errorf("Load gives %v, %v", g, err)
		}
		saveAll(t, k, all["bare"])
		wantEarlier(t, k, "bare")
		settled(t, fake)
	})
}
