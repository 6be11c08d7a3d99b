package main

import (
	"strings"
	"testing"
)

func TestTheFloorsAllowWhatTheHouseIsBuiltOf(t *testing.T) {
	for _, allowed := range []struct {
		from, to string
		test     bool
	}{
		{"push", "fds", false},
		{"push", "internal/tlspolicy", false},
		{"push", "push/internal/wire", false},
		{"internal/loopback", "internal/backoff", false},
		{"fdsclient", "tokenstore", false},
		{"fdsclient", "push", false},
		{"fdsclient", "fdsclient/internal/authserver", false},
		{"fdsclient/internal/authserver", "tokenstore", false},
		{"fdsclient/internal/authserver", "internal/backoff", false},
		{"fdsclient/internal/authserver", "fdsclient/internal/other", false},
		{"fdsclient/internal/authserver", "fdstest", true},
		{"conformance", "fdsclient", false},
		{"cmd/fdsdemo", "conformance", false},
		{"cmd/fdsdemo", "fdstest", false},
		{"examples/server", "fdsclient", false},
		{"fdstest", "fds", false},
		{"fdstest", "fdstest/internal/broker", false},
		{"push", "fdstest", true},
		{"push", "internal/realtest", true},
		{"fds", "internal/realtest", true},
		{"fdstest", "internal/realtest", true},
	} {
		if why := forbidden(allowed.from, allowed.to, allowed.test); why != "" {
			t.Errorf("%s may not import %s: %s", allowed.from, allowed.to, why)
		}
	}
}

func TestTheFloorsForbidWhatWouldBringTheHouseDown(t *testing.T) {
	for _, refused := range []struct {
		from, to string
		test     bool
	}{
		{"fds", "internal/backoff", false},
		{"fds", "push", false},
		{"internal/backoff", "push", false},
		{"push", "pull", false},
		{"tokenstore", "pull", true},
		{"pull", "fdsclient", false},
		{"pull", "fdsclient", true},
		{"fdsclient", "conformance", false},
		{"fdsclient/internal/authserver", "fdsclient", false},
		{"fdsclient/internal/authserver", "fdsclient", true},
		{"fdsclient/internal/authserver", "fdsclient/other", false},
		{"fdsclient/internal/authserver", "conformance", false},
		{"conformance", "cmd/fdsdemo", false},
		{"examples/server", "cmd/fdsdemo", false},
		{"push", "fdstest", false},
		{"conformance", "fdstest", false},
		{"fdstest", "push", false},
		{"fdstest", "push", true},
		{"fdstest", "internal/tlspolicy", false},
		{"fdstest/internal/broker", "internal/tlspolicy", false},
		{"push", "internal/realtest", false},
		{"internal/backoff", "internal/realtest", false},
		{"internal/realtest", "push", false},
		{"internal/realtest", "fds", true},
		{"push", "somewhere", false},
	} {
		if why := forbidden(refused.from, refused.to, refused.test); why == "" {
			t.Errorf("%s may import %s (test: %v)", refused.from, refused.to, refused.test)
		}
	}
}

func TestAFaultNamesBothPackages(t *testing.T) {
	packages, err := read(strings.NewReader(`
		{"ImportPath": "m/fds", "Imports": ["strings", "m/push"], "XTestImports": ["m/internal/realtest"]}
		{"ImportPath": "m/garage"}
		{"ImportPath": "m"}
		{"ImportPath": "m/.ci/floors", "Imports": ["m/push"]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(check("m", packages), "\n")
	want := `fds imports push: it is on a higher floor
garage: its room has no floor; give it one in .ci/floors
the module's root holds a package: it has no floor`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestNoPackageAtAllIsAnError(t *testing.T) {
	if _, err := read(strings.NewReader("")); err == nil {
		t.Error("an empty list passed")
	}
	if _, err := read(strings.NewReader(`{"ImportPath": "m/fds"`)); err == nil {
		t.Error("a list that was cut off passed")
	}
}
