//go:build !windows

package brokerconfig_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
)

func TestAttackOthersCanUseNoKey(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	c := configFor(t)
	wellWritten(t, c)
	err := filepath.WalkDir(c.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server.pem", "ca.key.age", "owners/" + ownerA + ".pem", "providers/soap-inc-1.pem"} {
		path := filepath.Join(c.Dir, filepath.FromSlash(name))
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if faults := faultsOf(t, c.Dir); len(faults) != 1 || faults[0].Field != name || !strings.Contains(faults[0].Problem, "holds a key that others can use") {
			t.Errorf("%s: %v", name, faults)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("Inspect has changed it: %v, %v", info, err)
		}
		wellWritten(t, c) // which takes the others' rights away
	}
}

func TestAttackALinkInAFilesPlaceIsNotFollowed(t *testing.T) {
	whole := configFor(t)
	wellWritten(t, whole)
	for _, name := range []string{
		"issued.json", "ca.pem", "ca.key.age", "server.pem", "crl.pem", "acl", "mosquitto.conf", "README.txt", "lock",
		"owners", "providers", "data", "owners/" + ownerA + ".pem", "owners/" + ownerC + ".pem",
	} {
		t.Run(name, func(t *testing.T) {
			c := whole
			c.Dir = filepath.Join(t.TempDir(), "broker")
			if err := os.CopyFS(c.Dir, os.DirFS(whole.Dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(c.Dir, "mosquitto.conf")); err != nil { // it names the other folder
				t.Fatal(err)
			}
			c.Owners = roots(t, ownerA, ownerB, ownerC)
			victim := filepath.Join(t.TempDir(), "victim")
			path := filepath.Join(c.Dir, filepath.FromSlash(name))
			before, _ := os.ReadFile(path)
			if err := os.WriteFile(victim, before, 0o600); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(name, ".") && name != "acl" && name != "lock" {
				victim = t.TempDir()
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, path); err != nil {
				t.Fatal(err)
			}
			if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrUnsafe) {
				t.Errorf("%v", err)
			}
			if info, err := os.Stat(victim); err != nil {
				t.Error(err)
			} else if entries, _ := os.ReadDir(victim); info.IsDir() && len(entries) > 0 {
				t.Errorf("it was written to: %v", entries)
			} else if after, _ := os.ReadFile(victim); !info.IsDir() && !slices.Equal(before, after) {
				t.Error("it was changed")
			}
		})
	}
}

func TestAttackAPipeInAFilesPlaceHoldsNobodyUp(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	for _, name := range []string{"acl", "crl.pem", "owners/" + ownerA + ".pem", "mosquitto.conf"} {
		path := filepath.Join(c.Dir, filepath.FromSlash(name))
		before, err := os.ReadFile(path)
		if err == nil {
			err = os.Remove(path)
		}
		if err == nil {
			err = syscall.Mkfifo(path, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
		if len(faultsOf(t, c.Dir)) == 0 {
			t.Errorf("%s is no fault", name)
		}
		if err := errors.Join(os.Remove(path), os.WriteFile(path, before, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAttackWhatOthersCanChangeIsAFault(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	for _, name := range []string{".", "owners", "providers", "data", "acl", "mosquitto.conf", "ca.pem", "crl.pem", "server.pem", "issued.json"} {
		path := filepath.Join(c.Dir, name)
		info, err := os.Stat(path)
		if err == nil {
			err = os.Chmod(path, info.Mode().Perm()|0o020)
		}
		if err != nil {
			t.Fatal(err)
		}
		if faults := faultsOf(t, c.Dir); len(faults) != 1 || faults[0].Field != name || !strings.Contains(faults[0].Problem, "can be changed by others") {
			t.Errorf("%s: %v", name, faults)
		}
		if err := os.Chmod(path, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAttackAPipeAsAnAuthorityHoldsNobodyUp(t *testing.T) {
	c := configFor(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c.CAFile, c.CAKeyFile = pipe, pipe
	if _, err := brokerconfig.Write(t.Context(), c); !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("%v", err)
	}
}
