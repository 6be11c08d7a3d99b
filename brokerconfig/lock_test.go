package brokerconfig_test

import (
	"path/filepath"
	"testing"

	"github.com/gofrs/flock"
)

// lockFolder locks a folder as another process does.
func lockFolder(t *testing.T, dir string) (unlock func()) {
	t.Helper()
	lock := flock.New(filepath.Join(dir, "lock"))
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := lock.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
}
