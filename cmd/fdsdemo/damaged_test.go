package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func (s *setup) overwrite(path string, change func([]byte) []byte) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(data), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestADamagedGrantIsNotNobodySignedIn(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	file := s.grantFiles()[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:20] },
		"empty":   func([]byte) []byte { return nil },
		"garbage": func([]byte) []byte { return []byte("\x1b[2Jgarbage") },
	} {
		s.overwrite(file, change)
		for _, args := range [][]string{
			{"owners"}, {"owners", "--json"}, {"get", "statuses"}, {"get", "statuses", "--owner", north.Spelling}, {"spaces"}, {"tag", "list"}, {"watch"}, {"logout", north.Spelling}, {"logout", north.Spelling[:6]},
		} {
			r := s.run(args...).expect(statusSignIn)
			if args[len(args)-1] == "--json" {
				if r.out != "" || strings.Count(r.err, "a stored grant is damaged") != 1 {
					t.Errorf("%s: %q: stderr %s", name, args, r.err)
				}
				continue
			}
			r.once(false, "a stored grant is damaged", filepath.Base(file), "remove it from "+filepath.Join(s.folder, "grants"), "fdsdemo login")
			if strings.Contains(r.err, "nobody has signed in") || strings.Contains(r.err, "is not signed in") {
				t.Errorf("%s: %q: stderr %s", name, args, r.err)
			}
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// It harms no other owner, and is told once.
	s.signIn(s.south)
	s.overwrite(file, func([]byte) []byte { return nil })
	for _, args := range [][]string{{"owners"}, {"get", "statuses"}, {"watch", "--for", "3s"}} {
		r := s.run(args...).expect(statusDone)
		if strings.Count(r.err, "fdsdemo: warning: a stored grant is damaged") != 1 || strings.Contains(r.err, "unavailable") {
			t.Errorf("%q: stderr %s", args, r.err)
		}
	}
}

func TestAGrantThatIsUnderAnotherKeyIsUnreadableAndSaysWhatToDo(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.overwrite(s.grantFiles()[0], func(b []byte) []byte {
		b[len(b)-20] ^= 1
		return b
	})
	r := s.run("owners").expect(statusDone)
	if !strings.Contains(r.out, "unreadable") || !strings.Contains(r.err, north.Spelling+": its grant cannot be read: ") || !strings.Contains(r.err, "damaged; sign in again: fdsdemo login") {
		t.Errorf("stdout %s, stderr %s", r.out, r.err)
	}
	s.run("get", "statuses").expect(statusSignIn).once(false, "damaged", "sign in again: fdsdemo login")
}

func TestOwnersHaveTheirReasons(t *testing.T) {
	s := newSetup(t)
	s.lapse(s.north)
	s.run("get", "statuses").expect(statusSignIn)
	now := time.Now()
	s.certificate(s.north, fdstest.CertificateRequest{CommonName: north.Spelling, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour)})
	s.signIn(s.south)
	id := strings.ToLower(south.Spelling)
	if err := os.Remove(filepath.Join(s.folder, "owners", id+".pem")); err != nil {
		t.Fatal(err)
	}
	r := s.run("owners").expect(statusDone)
	for _, why := range []string{
		north.Spelling + ": its grant has lapsed: ", "; sign in again: fdsdemo login --config " + s.config + "\n",
		north.Spelling + ": its certificate for the broker: expired ", "; ask the broker's administrator for another one\n",
		id + ": it has no certificate for the broker: ask the broker's administrator for " + id + ".pem",
	} {
		if strings.Count(r.err, why) != 1 {
			t.Errorf("stderr does not have %q once:\n%s", why, r.err)
		}
	}
	if !strings.Contains(r.out, north.Spelling+"  lapsed") {
		t.Errorf("stdout %s", r.out)
	}
	for _, line := range s.run("owners", "--json").expect(statusDone).lines() {
		var report ownerReport
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			t.Fatal(err)
		}
		if lapsed := report.Owner == s.north.SubscriptionID; lapsed != (report.Token == "lapsed") || lapsed != strings.Contains(report.Lapsed, "sign in again") || report.Problem != "" {
			t.Errorf("%s", line)
		}
	}
}
