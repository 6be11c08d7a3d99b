package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// giveAway makes files another user's.
func (s *setup) giveAway(names ...string) {
	s.t.Helper()
	if os.Getuid() != 0 {
		s.t.Skip("only root can give files to another user")
	}
	for _, name := range names {
		if err := os.Chown(name, 12345, 12345); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *setup) grantFiles() []string {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.folder, "grants", "*.grant"))
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

func TestAttackAnotherUsersGrantFileIsNoMissingSignIn(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.giveAway(s.grantFiles()...)
	for _, args := range [][]string{{"owners"}, {"owners", "--json"}, {"get", "statuses"}, {"get", "statuses", "--owner", north.Spelling}, {"spaces"}, {"tag", "list"}, {"watch"}, {"logout", north.Spelling}} {
		if r := s.run(args...).expect(statusFailed).says("belongs to user 12345"); strings.Contains(r.err, "login") {
			t.Errorf("fdsdemo %q wants a sign-in: %s", args, r.err)
		}
	}
}

func TestAttackAnotherUsersGrantFileHarmsNoOtherOwner(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	others := s.grantFiles()
	s.signIn(s.south)
	s.giveAway(others...)
	if r := s.run("owners").expect(statusDone); !strings.Contains(r.out, strings.ToLower(south.Spelling)) || !strings.Contains(r.err, "belongs to user 12345") {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
	s.run("get", "statuses", "--owner", south.Spelling).expect(statusDone)
	for _, args := range [][]string{{"get", "statuses", "--owner", north.Spelling}, {"logout", north.Spelling}} {
		s.run(args...).expect(statusFailed).says("belongs to user 12345")
	}
}
