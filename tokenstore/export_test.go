package tokenstore

import (
	"testing"

	"filippo.io/age"
)

// NewIdentity gives a fresh key for a folder.
func NewIdentity(t testing.TB) Secret {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return NewSecret(identity.String())
}

// FolderPath is where the folder is.
func FolderPath(f *Folder) string { return f.path }

// OpenFakeKeyring opens a keyring in memory whose entries take limit bytes.
func OpenFakeKeyring(t testing.TB, limit int) *Keyring {
	fake := newFakeKeyring()
	fake.limit = limit
	return fakeStore(t, fake, limit)
}

// ReopenKeyring gives another handle to what k keeps.
func ReopenKeyring(t testing.TB, k *Keyring) *Keyring {
	t.Helper()
	again, err := OpenKeyring(KeyringConfig{Service: k.items.service, LockFolder: k.locks.folder, Timeout: k.items.timeout,
		gate: newCallGate(k.items.gate.backend), chunk: k.records.chunk})
	if err != nil {
		t.Fatal(err)
	}
	return again
}
