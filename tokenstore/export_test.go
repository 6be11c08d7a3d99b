package tokenstore

import (
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/fds-sdk/fds-go/fds"
)

// NewIdentity returns a fresh key for a folder.
func NewIdentity(t testing.TB) fds.Secret {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return fds.NewSecret(identity.String())
}

// FolderPath is where the folder is.
func FolderPath(f *Folder) string { return f.path }

// OpenFakeKeyring opens a keyring in memory whose entries take limit bytes.
func OpenFakeKeyring(t testing.TB, limit int) *Keyring {
	fake := newFakeKeyring()
	fake.limit = limit
	return fakeStore(t, fake, limit)
}

// BreakFakeKeyring has a keyring of OpenFakeKeyring refuse all writes.
func BreakFakeKeyring(k *Keyring) (mend func()) {
	fake := k.items.gate.backend.(*fakeKeyring)
	fake.fail(func(call string) error {
		if strings.HasPrefix(call, "set") {
			return errDied
		}
		return nil
	})
	return func() { fake.fail(nil) }
}

// ReopenKeyring returns another handle to what k keeps.
func ReopenKeyring(t testing.TB, k *Keyring) *Keyring {
	t.Helper()
	again, err := OpenKeyring(KeyringConfig{Service: k.items.service, LockFolder: k.locks.folder, Timeout: k.items.timeout,
		gate: newCallGate(k.items.gate.backend), chunk: k.records.chunk})
	if err != nil {
		t.Fatal(err)
	}
	return again
}
