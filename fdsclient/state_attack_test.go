package fdsclient_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// TestAttackTheStateFileOfAnotherOwnerIsNotTaken: what another owner's connection has
// behind it would hide messages from this one.
func TestAttackTheStateFileOfAnotherOwnerIsNotTaken(t *testing.T) {
	victim := fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: fds.NewSubscriptionID()}
	for name, other := range map[string]fds.OwnerKey{
		"another subscription":         {Issuer: victim.Issuer, SubscriptionID: fds.NewSubscriptionID()},
		"the same at another provider": {Issuer: "https://b.example", SubscriptionID: victim.SubscriptionID},
		"another at another provider":  {Issuer: "https://b.example", SubscriptionID: fds.NewSubscriptionID()},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			folder, err := fdsclient.OpenStateFolder(path)
			if err != nil {
				t.Fatal(err)
			}
			fileOf := func(owner fds.OwnerKey, filter string) string {
				before, err := filepath.Glob(filepath.Join(path, "*.json"))
				if err != nil {
					t.Fatal(err)
				}
				if err := folder.Save(t.Context(), owner, fdsclient.OwnerState{Filters: []string{filter}}); err != nil {
					t.Fatal(err)
				}
				after, err := filepath.Glob(filepath.Join(path, "*.json"))
				if err != nil {
					t.Fatal(err)
				}
				after = slices.DeleteFunc(after, func(file string) bool { return slices.Contains(before, file) })
				if len(after) != 1 {
					t.Fatalf("a save made the files %q", after)
				}
				return after[0]
			}
			own, foreign := fileOf(victim, "own"), fileOf(other, "foreign")
			if state, err := folder.Load(t.Context(), victim); err != nil || !slices.Equal(state.Filters, []string{"own"}) {
				t.Fatalf("its own file gives %v, %v", state, err)
			}
			if err := os.Rename(foreign, own); err != nil {
				t.Fatal(err)
			}
			state, err := folder.Load(t.Context(), victim)
			if err == nil || !strings.Contains(err.Error(), own) || !strings.Contains(err.Error(), "delete it") {
				t.Errorf("error %v, want one that says which file to delete", err)
			}
			if state.Filters != nil {
				t.Errorf("the other owner's state was taken: %v", state)
			}
		})
	}
}

// TestAttackAStateFileThatIsNoneIsNotTaken: a folder that others can write into, or a
// newer version beside this one.
func TestAttackAStateFileThatIsNoneIsNotTaken(t *testing.T) {
	const most = 4 << 20
	owner := fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: fds.NewSubscriptionID()}
	path := t.TempDir()
	folder, err := fdsclient.OpenStateFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Save(t.Context(), owner, fdsclient.OwnerState{Filters: []string{"own"}}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(path, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v", files, err)
	}
	own, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content string
		taken   bool
	}{
		"its own":              {string(own), true},
		"as long as it may be": {string(own) + strings.Repeat(" ", most-len(own)), true},
		"longer":               {string(own) + strings.Repeat(" ", most-len(own)+1), false},
		"far longer":           {string(own) + strings.Repeat(" ", 4*most), false},
		"of a newer version":   {strings.Replace(string(own), `"version":1`, `"version":2`, 1), false},
		"of no version":        {strings.Replace(string(own), `"version":1,`, ``, 1), false},
		"of no owner":          {`{"version":1,"state":{"filters":["own"]}}`, false},
		"two, one behind":      {string(own) + string(own), false},
		"cut":                  {string(own[:len(own)-1]), false},
		"empty":                {"", false},
	} {
		if err := os.WriteFile(files[0], []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		state, err := folder.Load(t.Context(), owner)
		if (err == nil) != c.taken || slices.Equal(state.Filters, []string{"own"}) != c.taken {
			t.Errorf("%s: %v, %v", name, state, err)
		}
	}
}
