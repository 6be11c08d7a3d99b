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
