//go:build !windows

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestAttackAProvidersFolderIsOneThatItMade(t *testing.T) {
	t.Parallel()
	// all returns names and modes of all that is in a folder, and of itself.
	all := func(folder string) (list string) {
		if err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil {
				list += path + " " + info.Mode().String() + "\n"
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	type kind struct {
		mode os.FileMode
		file string // "": the folder is empty
		text string
		user int // 0: our own
		ours bool
	}
	for name, c := range map[string]kind{
		"as /tmp is":                      {mode: os.ModeSticky | 0o777, file: "theirs"},
		"that others read":                {mode: 0o755, file: "theirs"},
		"with files of another use":       {mode: 0o700, file: "theirs"},
		"with a configuration":            {mode: 0o755, file: configName, text: "provider: {}\n"},
		"with a configuration as a pipe":  {mode: 0o755, file: configName + "|"},
		"of another user":                 {mode: 0o700, user: 12345},
		"that is empty":                   {mode: 0o755, ours: true},
		"of an earlier start":             {mode: 0o700, file: configName, text: boxMark + "provider: {}\n", ours: true},
		"of a start that was interrupted": {mode: 0o700, file: ".tmp-1", ours: true},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if c.user != 0 && os.Geteuid() != 0 {
				t.Skip("only root can give a folder away")
			}
			folder := filepath.Join(t.TempDir(), "folder")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			path, pipe := strings.CutSuffix(filepath.Join(folder, c.file), "|")
			var err error
			switch {
			case pipe:
				err = syscall.Mkfifo(path, 0o600)
			case c.file != "":
				err = os.WriteFile(path, []byte(c.text), 0o600)
			}
			if err == nil {
				err = os.Chmod(folder, c.mode)
			}
			if err == nil && c.user != 0 {
				err = os.Chown(folder, c.user, -1)
			}
			if err != nil {
				t.Fatal(err)
			}
			before := all(folder)
			box := start(t, invocation(t, "provider", "--dir", folder))
			if c.ours {
				box.await(box.out, "ready")
				box.signal(syscall.SIGTERM)
				box.wait().expect(statusDone)
				if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
				return
			}
			box.wait().expect(statusUsage).says("folder")
			if after := all(folder); after != before {
				t.Errorf("it changed\n%sto\n%s", before, after)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, invocation(t, "provider", "--dir", file)).wait().expect(statusUsage).says("--dir")
}

func TestAttackASecretThatOthersMayReadIsUsedAndWarnedAbout(t *testing.T) {
	s := newSetup(t)
	s.write("secret.txt", s.box.ConfidentialApplication().Secret+"\n")
	s.write("p12.txt", "password\n")
	s.configure("client_id: fdsdemo", "client_id: fleet-app\n  client_secret_file: secret.txt", "owners/", "owners/\n  certificate_password_file: p12.txt")
	if r := s.run("owners").expect(statusDone); strings.Contains(r.err, "chmod") {
		t.Errorf("files of one's own are warned about: %s", r.err)
	}
	for _, name := range []string{"secret.txt", "p12.txt", "pass.txt"} {
		if err := os.Chmod(filepath.Join(s.folder, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := s.run("owners").expect(statusDone)
	for setting, name := range map[string]string{"application.client_secret_file": "secret.txt", "push.certificate_password_file": "p12.txt", "tokens.passphrase_file": "pass.txt"} {
		if want := "warning: " + setting + ": others on this machine may read "; strings.Count(r.err, want) != 1 || !strings.Contains(r.err, "chmod 600 "+filepath.Join(s.folder, name)) {
			t.Errorf("of %s: %s", setting, r.err)
		}
	}

	s.configure("client_id: fdsdemo", "client_id: fleet-app\n  key_file: app.key")
	s.write("app.key", string(realtest.NewCA(t).IssueCertificate("app", realtest.CertificateOptions{}).KeyPEM))
	if err := os.Chmod(filepath.Join(s.folder, "app.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if r := s.run("owners").expect(statusDone); !strings.Contains(r.err, "warning: application.key_file: others") {
		t.Errorf("of the application's key: %s", r.err)
	}
}

func TestAttackAnOwnersKeyThatOthersMayReadIsUsedAndWarnedAboutOnce(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	path := filepath.Join(s.folder, "owners", s.north.SubscriptionID.String()+".pem")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	watch := s.start("watch")
	watch.await(watch.err, "Connected: ")
	if r := watch.end(); strings.Count(r.err, "chmod 600 "+path) != 1 {
		t.Errorf("stderr %s", r.err)
	}
}
