package fdsclient

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// listings counts how often the folder is read for as many questions, each after a
// change, which returns whose file is there: it is to be found.
func listings(t *testing.T, n *folderNames, questions int, change func() fds.SubscriptionID) int {
	t.Helper()
	read := make(map[time.Time]bool)
	for range questions {
		id := change()
		found, err := n.of(id)
		if err != nil || !slices.Contains(found, id.String()+".pem") {
			t.Fatalf("%v, %v", found, err)
		}
		read[n.read] = true
	}
	return len(read)
}

func crowd(t *testing.T, folder string, names int) (add func() fds.SubscriptionID) {
	t.Helper()
	add = func() fds.SubscriptionID {
		id := fds.NewSubscriptionID()
		if err := os.WriteFile(filepath.Join(folder, id.String()+".pem"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return id
	}
	for range names {
		add()
	}
	return add
}

func TestAFolderThatDoesNotChangeIsNotReadAgain(t *testing.T) {
	folder := t.TempDir()
	id := crowd(t, folder, 10)()
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(folder, old, old); err != nil {
		t.Fatal(err)
	}
	n := &folderNames{path: folder}
	if read := listings(t, n, 100, func() fds.SubscriptionID { return id }); read > 2 { // 2 where this takes 10 s
		t.Errorf("read %d times", read)
	}
	change := func() fds.SubscriptionID {
		old = old.Add(time.Second)
		if err := os.Chtimes(folder, old, old); err != nil {
			t.Fatal(err)
		}
		return id
	}
	if read := listings(t, n, 3, change); read != 3 {
		t.Errorf("read %d times though it changed", read)
	}
}

func TestAttackALargeFolderThatChangesAllTheTimeIsReadRarely(t *testing.T) {
	folder := t.TempDir()
	add := crowd(t, folder, 5*fewNames)
	if read := listings(t, &folderNames{path: folder}, 300, add); read > 100 {
		t.Errorf("read %d times for 300 questions", read)
	}
}
