package realtest

import (
	"os"
	"os/exec"
	"testing"
)

// Require ends a test that cannot run here: it skips it with the reason, or, with
// FDS_REQUIRE_REAL=1, fails it. Parameter what names the part that is missing, reason says what to
// install or set.
func Require(t testing.TB, what, reason string) {
	t.Helper()
	if os.Getenv("FDS_REQUIRE_REAL") == "1" {
		t.Fatalf("realtest: %s is required (FDS_REQUIRE_REAL=1): %s", what, reason)
	}
	t.Skipf("realtest: without %s: %s", what, reason)
}

// program finds an installed program in PATH or where Debian keeps servers, which is not in every
// user's PATH.
func program(t testing.TB, what, name, install string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	Require(t, what, name+" is not installed: "+install)
	return ""
}
