package statefolder

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestAttackNoNameOfAnApplicationLeadsOutOfTheStateFolder: the name is for people, and
// may come from a configuration file.
func TestAttackNoNameOfAnApplicationLeadsOutOfTheStateFolder(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AppData", home)
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "xdg"))
	base := filepath.Dir(filepath.Dir(Of("plain")))
	if !strings.HasPrefix(base, home) {
		t.Fatalf("the state lies in %q", base)
	}
	for _, name := range []string{".", "..", "...", "a/b", "../../etc", "/etc", `..\..\windows`, "a\x00b", "a\nb"} {
		folder := Of(name)
		if filepath.Dir(filepath.Dir(folder)) != base || strings.ContainsAny(folder[len(base):], "\x00\n") {
			t.Errorf("%q: the state lies in %q", name, folder)
		}
	}
}

func TestAStateFolderThatIsNotAbsoluteIsNotUsed(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the variable is not read on this system")
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", "here") // must be ignored, says the XDG base directory specification
	if folder := Of("plain"); !strings.HasPrefix(folder, home) {
		t.Errorf("the state lies in %q", folder)
	}
	t.Setenv("HOME", "")
	if folder := Of("plain"); folder != "" {
		t.Errorf("without a home the state lies in %q", folder)
	}
}
