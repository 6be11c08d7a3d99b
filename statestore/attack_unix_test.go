//go:build !windows

package statestore

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
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

func TestAttackOthersCannotReadWhatIsKept(t *testing.T) {
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
