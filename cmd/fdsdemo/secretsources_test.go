package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// asSource has the confidential application's secret come from somewhere.
func (s *setup) asSource(line string) {
	s.t.Helper()
	s.configure("client_id: fdsdemo", "client_id: fleet-app\n  "+line)
}

// script writes a program into the setup's folder.
func (s *setup) script(name, text string) string {
	s.t.Helper()
	if runtime.GOOS == "windows" {
		s.t.Skip("the program is a script of a shell")
	}
	path := s.write(name, "#!/bin/sh\n"+text)
	if err := os.Chmod(path, 0o700); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func TestASecretComesFromTheEnvironmentOrFromAProgram(t *testing.T) {
	s := newSetup(t)
	secret := s.box.ConfidentialApplication().Secret
	with := func(args ...string) result {
		c := s.command(args...)
		c.Env = append(c.Env, "FLEET_SECRET="+secret, "FLEET_PASSPHRASE=for tests only")
		p := start(t, c)
		if args[0] == "login" {
			s.approve(p, s.north)
		}
		return p.wait().expect(statusDone)
	}
	s.asSource("client_secret_env: FLEET_SECRET")
	with("login", "--no-browser")
	s.script("bin/secret", `echo "asked for $1" >&2; cat "$2"`)
	s.write("secret.txt", secret+"\n")
	s.configure("client_id: fdsdemo", "client_id: fleet-app\n  client_secret_command: [bin/secret, 'a b; exit 1', secret.txt]", "passphrase_file: pass.txt", "passphrase_env: FLEET_PASSPHRASE")
	if r := with("login", "--no-browser"); !strings.Contains(r.err, "asked for a b; exit 1\n") || strings.Contains(r.err+r.out, secret) {
		t.Errorf("stdout %s stderr %s", r.out, r.err)
	}
	if r := with("--verbose", "owners"); strings.Contains(r.err+r.out, secret) {
		t.Errorf("stdout %s stderr %s", r.out, r.err)
	}
}

func TestAProgramThatPrintsNoSecretIsAFaultInItsLine(t *testing.T) {
	s := newSetup(t)
	s.script("fails", "echo hunter2; exit 3")
	s.script("silent", "exit 0")
	s.script("lines", "echo one; echo two")
	s.script("endless", "while :; do echo hunter2hunter2hunter2hunter2hunter2; done")
	for line, says := range map[string]string{
		"client_secret_command: [./fails]":                     "fdsdemo.yaml:8: application.client_secret_command: ./fails: exit status 3",
		"client_secret_command: [./silent]":                    "./silent prints nothing",
		"client_secret_command: [./lines]":                     "what the command prints has more than one line",
		"client_secret_command: [./endless]":                   "./endless prints more than 4096 bytes",
		"client_secret_command: [no-such-program]":             "no-such-program: there is no such program",
		"client_secret_command: ['']":                          "the first word is empty",
		"client_secret_command: ['hunter2 show']":              "application.client_secret_command is one text with spaces, and there is no such program; write a list",
		"client_secret_command: pass show x":                   "application.client_secret_command is of the wrong kind; needed is a list such as [a, b]",
		"client_secret_env: NOT_SET":                           "fdsdemo.yaml:8: application.client_secret_env: the environment has no NOT_SET",
		"client_secret_env: X\n  client_secret_file: pass.txt": "application.client_secret_env stands beside application.client_secret_file; choose one",
		"client_secret_env: hunter2-hunter2":                   "application.client_secret_env is no name of a variable of the environment",
		"key_env: NOT_SET":                                     "application.key_env: the environment has no NOT_SET",
		"key_command: [./fails]":                               "application.key_command: ./fails: exit status 3",
	} {
		s.asSource(line)
		if r := s.run("owners").expect(statusUsage).faults(says); strings.Contains(r.err, "hunter2") {
			t.Errorf("%s: %s", line, r.err)
		}
	}
}

func TestAttackAFileThatOthersMayWriteHasNoProgramRun(t *testing.T) {
	s := newSetup(t)
	s.script("secret", "touch ran; echo x")
	s.asSource("client_secret_command: [./secret]")
	for _, mode := range []os.FileMode{0o660, 0o602} {
		if err := os.Chmod(s.config, mode); err != nil {
			t.Fatal(err)
		}
		s.run("owners").expect(statusUsage).faults("fdsdemo.yaml:8: application.client_secret_command: no program is run: other users may write this file", "chmod go-w "+s.config)
		if _, err := os.Stat(filepath.Join(s.folder, "ran")); err == nil {
			t.Error("the program has run")
		}
	}
	if err := os.Chmod(s.config, 0o644); err != nil {
		t.Fatal(err)
	}
	s.run("owners").expect(statusDone)
}

func TestAttackAnotherUsersFileHasNoProgramRun(t *testing.T) {
	s := newSetup(t)
	s.script("secret", "touch ran; echo x")
	s.asSource("client_secret_command: [./secret]")
	s.giveAway(s.config)
	s.run("owners").expect(statusUsage).faults("fdsdemo.yaml:8: application.client_secret_command: no program is run: other users may write this file, since it is not this user's")
	if _, err := os.Stat(filepath.Join(s.folder, "ran")); err == nil {
		t.Error("the program has run")
	}
	s.asSource("")
	s.giveAway(s.config)
	s.run("owners").expect(statusDone)
}

func TestAKeyComesFromAProgramWithTheCertificateInAFile(t *testing.T) {
	s := newSetup(t)
	s.script("key", `cat "owners/$1.pem"`)
	s.asSource("certificate_file: owners/" + north.Spelling + ".pem\n  key_command: [./key, " + north.Spelling + "]")
	s.run("owners").expect(statusDone)
	s.asSource("auth_method: private_key_jwt\n  key_command: [./key, " + north.Spelling + "]")
	s.run("owners").expect(statusDone)
	s.asSource("certificate_file: owners/" + north.Spelling + ".pem\n  key_command: [./key, " + strings.ToLower(south.Spelling) + "]")
	s.run("owners").expect(statusUsage).faults("fdsdemo.yaml:8: application.certificate_file, application.key_command: ")
}

func TestAProgramIsEndedWithItsContextAndItsTime(t *testing.T) {
	t.Parallel()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := runCommand(new(bytes.Buffer))(ctx, []string{sleep, "600"}, t.TempDir(), 10); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > deadline {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestAShellThatCompletesRunsNoProgramOfTheConfiguration(t *testing.T) {
	s := newSetup(t)
	s.script("secret", "touch ran")
	s.asSource("client_secret_command: [./secret]")
	s.completed("watch", "--owner", "")
	if _, err := os.Stat(filepath.Join(s.folder, "ran")); err == nil {
		t.Error("the program has run")
	}
}

func TestTheKeyOfAnEndpointComesFromAProgramOrTheEnvironment(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.script("key", "sed -n '/PRIVATE KEY/,$p' hook.pem")
	s.hook("key_command: [./key]")
	text, err := os.ReadFile(filepath.Join(s.folder, "hook.pem"))
	if err != nil {
		t.Fatal(err)
	}
	chain, _, _ := strings.Cut(string(text), "-----BEGIN PRIVATE KEY")
	s.write("chain.pem", chain)
	config := func(old, new string) {
		t.Helper()
		text, err := os.ReadFile(s.config)
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatal(err, old)
		}
		s.write("fdsdemo.yaml", strings.Replace(string(text), old, new, 1))
	}
	config("certificate_file: hook.pem", "certificate_file: chain.pem")
	p, url := s.listen("--json")
	s.answered(http.StatusOK, s.sender(url), fdstest.Attempt{Owner: s.north, Body: []byte(`{"a":1}`)})
	p.end()
	if r := s.run("config", "set", "webhook.max_marks", "1000").expect(statusDone); r.err != "" { // without the program
		t.Errorf("stderr %s", r.err)
	}

	config("key_command: [./key]", "key_env: HOOK_KEY")
	c := s.command("webhook", "--json")
	key, _ := strings.CutPrefix(string(text), chain)
	c.Env = append(c.Env, "HOOK_KEY="+key)
	q := start(t, c)
	q.await(q.err, "Listening at ")
	q.end()
	s.run("webhook").expect(statusUsage).faults("webhook.key_env: the environment has no HOOK_KEY")
	config("key_env: HOOK_KEY", "key_env: HOOK_KEY\n  key_command: [./key]")
	s.run("webhook").expect(statusUsage).faults("webhook.key_command stands beside webhook.key_env; choose one")
	config("key_env: HOOK_KEY\n  key_command: [./key]", "key_command: [./none]")
	s.run("webhook").expect(statusUsage).faults("webhook.key_command: ./none: ")
}
