// Package statefolder says where the state of an application lies that names no place for it.
package statefolder

import (
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Of returns the folder for what an application of that name has to remember from one start to the
// next; "": this user has no place for it.
func Of(application string) string {
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
