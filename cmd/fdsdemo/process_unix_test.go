//go:build !windows

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// in has a shell run a command, with that behind it, as >&-.
func in(c *exec.Cmd, how string) *exec.Cmd {
	shell := exec.Command("/bin/sh", append([]string{"-c", how, c.Path}, c.Args[1:]...)...)
	shell.Env, shell.Dir = c.Env, c.Dir
	return shell
}

func TestAHangupEndsACommandAsSIGTERMDoes(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	p := s.watch("--json")
	p.signal(syscall.SIGHUP)
	p.wait().expect(statusDone).quiet()
	p = s.start("login", "--no-browser")
	p.signInURL()
	p.signal(syscall.SIGHUP)
	p.wait().expect(statusFailed).says("interrupted")

	// With nohup it goes on.
	p = start(t, in(s.command("watch", "--json"), `trap "" HUP; exec "$0" "$@"`))
	p.await(p.err, "Connected: ")
	p.signal(syscall.SIGHUP)
	s.publish(s.north, `"on"`, "a")
	p.await(p.out, `"on"`)
	p.end().quiet()
}

func TestWatchGoesOnWhereItWasStopped(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	p := s.watch("--json")
	p.signal(syscall.SIGSTOP)
	s.publish(s.north, `"meanwhile"`, "a")
	s.box.Inject(fdstest.DropConnections()) // as the broker does with one that is silent
	s.publish(s.north, `"gone"`, "a")
	p.signal(syscall.SIGCONT)
	p.await(p.out, `"meanwhile"`)
	p.await(p.out, `"gone"`)
	p.end()
}

func TestClosedStandardFilesHinderNoCommand(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, `{"device_id":"d1","generic":{}}`)
	s.signIn(s.north)
	for _, args := range [][]string{
		{"owners"}, {"get", "specifications", "--json"}, {"spaces"}, {"tag", "list"}, {"version"}, {"completion", "bash"}, {"--help"}, {"login", "--redirect-uri"},
		{"watch", "--json", "--for", "1s"}, {"watch", "--poll", "--for", "1s"},
	} {
		for _, how := range []string{">&-", "<&-", "2>&-", "<&- >&- 2>&-"} {
			r := start(t, in(s.command(args...), `exec "$0" "$@" `+how)).wait().expect(statusDone)
			if strings.Contains(r.err, "fdsdemo: ") && !strings.Contains(r.err, "may have been lost") || strings.Contains(r.err, "goroutine ") {
				t.Errorf("%q %s: stderr %s", args, how, r.err)
			}
		}
		if args[0] == "watch" || args[0] == "--help" {
			continue
		}
		// A pipe that nobody reads.
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		read.Close()
		c := s.command(args...)
		c.Stdout = write
		r := start(t, c).wait()
		write.Close()
		if empty := args[0] == "spaces" || args[0] == "tag"; (r.status == statusFailed) == empty || strings.Contains(r.err, "fdsdemo: ") {
			t.Errorf("%q | true: status %d, stderr %s", args, r.status, r.err)
		}
	}
	r := start(t, in(s.command("tag", "create", "-"), `exec "$0" "$@" <&-`)).wait().expect(statusUsage)
	r.says("standard input")
	p := start(t, in(s.command("login", "--no-browser"), `exec "$0" "$@" 2>&1 | head -n 1; exit 0`))
	p.await(p.out, "Open this URL")
}

// readOnly takes the right to write from all below the folder, for the user that unprivileged runs
// commands as.
func (s *setup) readOnly() {
	s.t.Helper()
	s.rights(0o500, 0o400)
	s.t.Cleanup(func() { s.rights(0o700, 0o600) })
}

const nobody = 12345

func (s *setup) rights(folders, files fs.FileMode) {
	s.t.Helper()
	err := filepath.WalkDir(s.folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case os.Getuid() == 0:
			if err := os.Chown(path, nobody, nobody); err != nil {
				return err
			}
		}
		if entry.IsDir() {
			return os.Chmod(path, folders)
		}
		return os.Chmod(path, files)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// unprivileged is command, run by a user who has the folder and is not root.
func (s *setup) unprivileged(args ...string) *exec.Cmd {
	s.t.Helper()
	c := s.bare(args...)
	if os.Getuid() != 0 {
		return c
	}
	for _, folder := range []string{filepath.Dir(binary), filepath.Dir(s.folder), filepath.Dir(c.Dir), c.Dir} {
		if err := os.Chmod(folder, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return c
}

func TestWhatNeedsNoWritingWorksInAReadOnlyFolder(t *testing.T) {
	s := newSetup(t)
	s.configure("  ca_file:", "  dialect: {time_member: generic.date_time, subscription_parameter: owner}\n  ca_file:")
	s.status(s.north, `{"device_id":"d1","generic":{}}`)
	s.signIn(s.north)
	s.readOnly()
	run := func(args ...string) result { return start(t, s.unprivileged(args...)).wait() }
	for _, args := range [][]string{{"owners"}, {"get", "statuses"}, {"spaces"}, {"tag", "list"}, {"version"}} {
		run(args...).expect(statusDone).quiet()
	}
	for _, args := range [][]string{{"watch"}, {"watch", "--take-over"}} {
		run(args...).expect(statusFailed).once(false, "cannot remember", filepath.Join(s.folder, "state"), "permission denied", "push.state_folder", "watch --poll")
	}
	run("login", "--no-browser").expect(statusFailed).once(false, "permission denied")
	run("logout", north.Spelling).expect(statusFailed).once(false, "permission denied", "give this user the right")
	run("provider", "--dir", filepath.Join(s.folder, "box")).expect(statusUsage).once(false, "permission denied; choose another folder")
	p := start(t, s.unprivileged("watch", "--poll", "--json"))
	p.await(p.err, "what is shown is not remembered: mkdir "+filepath.Join(s.folder, "state"))
	p.await(p.out, `"d1"`)
	p.end()
	s.rights(0o700, 0o600)
	if err := os.Chmod(s.config, 0); err != nil {
		t.Fatal(err)
	}
	run("owners").expect(statusUsage).once(false, "cannot be read", "permission denied")
}
