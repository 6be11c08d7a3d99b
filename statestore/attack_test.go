package statestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

// TestAttackTheFileOfAnotherOwnerIsNotTaken: what another owner's connection has behind it
// would hide messages from this one.
func TestAttackTheFileOfAnotherOwnerIsNotTaken(t *testing.T) {
	victim := fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: fds.NewSubscriptionID()}
	for name, other := range map[string]fds.OwnerKey{
		"another subscription":         {Issuer: victim.Issuer, SubscriptionID: fds.NewSubscriptionID()},
		"the same at another provider": {Issuer: "https://b.example", SubscriptionID: victim.SubscriptionID},
		"another at another provider":  {Issuer: "https://b.example", SubscriptionID: fds.NewSubscriptionID()},
	} {
		for _, record := range []string{"state", "polled.events.seen.a"} {
			t.Run(name+" "+record, func(t *testing.T) {
				path := t.TempDir()
				folder, err := statestore.OpenFolder(path)
				if err != nil {
					t.Fatal(err)
				}
				keyOf := func(owner fds.OwnerKey) statestore.Key {
					return statestore.Key{ClientID: "app", Owner: owner, Name: record}
				}
				fileOf := func(owner fds.OwnerKey, content string) string {
					files := func() []string {
						found, err := filepath.Glob(filepath.Join(path, "*-*-*-*-*"))
						if err != nil {
							t.Fatal(err)
						}
						return found
					}
					before := files()
					if _, err := folder.Save(t.Context(), keyOf(owner), []byte(content), ""); err != nil {
						t.Fatal(err)
					}
					after := slices.DeleteFunc(files(), func(file string) bool { return slices.Contains(before, file) })
					if len(after) != 1 {
						t.Fatalf("a save made the files %q", after)
					}
					return after[0]
				}
				own, foreign := fileOf(victim, `"own"`), fileOf(other, `"foreign"`)
				if got, err := folder.Load(t.Context(), keyOf(victim)); err != nil || string(got.Data) != `"own"` {
					t.Fatalf("its own file has %s, %v", got.Data, err)
				}
				if err := os.Rename(foreign, own); err != nil {
					t.Fatal(err)
				}
				for name, store := range map[string]func() (*statestore.Folder, error){
					"the same":      func() (*statestore.Folder, error) { return folder, nil },
					"a new process": func() (*statestore.Folder, error) { return statestore.OpenFolder(path) },
				} {
					folder, err := store()
					if err != nil {
						t.Fatal(err)
					}
					if got, err := folder.Load(t.Context(), keyOf(victim)); !errors.Is(err, fds.ErrCorrupt) || len(got.Data) > 0 {
						t.Errorf("%s folder: the other owner's record was taken: %s, %v", name, got.Data, err)
					}
				}
			})
		}
	}
}
