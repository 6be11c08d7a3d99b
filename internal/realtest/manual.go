package realtest

import (
	"os/exec"
	"strings"
	"testing"
)

// ManualFaults returns what mandoc finds wrong with manual pages, a line each. That a line of
// their source is long is nothing wrong.
func ManualFaults(t testing.TB, pages ...string) []string {
	t.Helper()
	lint := exec.Command(program(t, "a formatter of manual pages", "mandoc", "apt-get install mandoc"), append([]string{"-T", "lint", "-W", "warning"}, pages...)...)
	said, err := lint.CombinedOutput()
	if err != nil && len(said) == 0 {
		t.Fatalf("realtest: mandoc: %v", err)
	}
	return strings.FieldsFunc(string(said), func(r rune) bool { return r == '\n' })
}
