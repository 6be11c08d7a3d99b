package fdsclient

import (
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/fds-sdk/fds-go/statestore"
)

// StateStore is statestore.Store.
//
// Deprecated: use statestore.Store; this name goes with the next release.
type StateStore = statestore.Store

// StateFolder is statestore.Folder.
//
// Deprecated: use statestore.Folder; this name goes with the next release.
type StateFolder = statestore.Folder

// MemoryState is statestore.Memory.
//
// Deprecated: use statestore.Memory; this name goes with the next release.
type MemoryState = statestore.Memory

// OpenStateFolder is statestore.OpenFolder.
//
// Deprecated: use statestore.OpenFolder; this name goes with the next release.
func OpenStateFolder(path string) (*StateFolder, error) { return statestore.OpenFolder(path) }

// defaultStateFolder is the place for state that outlives a program, or "".
func defaultStateFolder(application string) string {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		base = filepath.Join(home, ".local", "state")
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		var err error
		if base, err = os.UserConfigDir(); err != nil {
			return ""
		}
	}
	name := url.PathEscape(application)
	if strings.Trim(name, ".") == "" { // a step in a path
		name = strings.ReplaceAll(name, ".", "%2E")
	}
	return filepath.Join(base, name, "state")
}
