package realtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Terminal is one of tmux, which takes what a program writes as a person's would, with a shell in
// it that knows job control.
type Terminal struct {
	t      testing.TB
	tmux   string
	socket string
	env    []string
	server *child
}

// NewTerminal starts one of so many columns and rows. The environment is all that the shell has.
func NewTerminal(t testing.TB, columns, rows int, env []string) *Terminal {
	t.Helper()
	folder := shortTempDir(t)
	profile := filepath.Join(folder, "profile")
	if err := os.WriteFile(profile, []byte("PS1='$ '\n"), 0o600); err != nil {
		t.Fatalf("realtest: %v", err)
	}
	x := &Terminal{
		t: t, tmux: program(t, "a terminal", "tmux", "apt-get install --no-install-recommends tmux"),
		socket: filepath.Join(folder, "tmux"), env: append(env, "ENV="+profile),
	}
	x.server = startChild(t, "tmux", x.command("-D"))
	for end := time.Now().Add(startTime); x.command("list-sessions").Run() != nil; time.Sleep(10 * time.Millisecond) { // until it listens
		if time.Now().After(end) {
			t.Fatalf("realtest: tmux does not listen: %s", x.server.output)
		}
	}
	x.run("new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows), "sh -i")
	x.Await("$")
	return x
}

func (x *Terminal) command(args ...string) *exec.Cmd {
	c := exec.Command(x.tmux, append([]string{"-u", "-f", "/dev/null", "-S", x.socket}, args...)...)
	c.Env = x.env
	return c
}

func (x *Terminal) run(args ...string) string {
	x.t.Helper()
	out, err := x.command(args...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("realtest: tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// Type types a text.
func (x *Terminal) Type(text string) {
	x.t.Helper()
	x.run("send-keys", "-l", text)
}

// Press presses keys by their names in tmux, as Enter, Escape or C-z.
func (x *Terminal) Press(keys ...string) {
	x.t.Helper()
	x.run(append([]string{"send-keys"}, keys...)...)
}

// Resize makes it another size.
func (x *Terminal) Resize(columns, rows int) {
	x.t.Helper()
	x.run("resize-window", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows))
}

// Screen returns what is seen, line by line without the blanks at their ends.
func (x *Terminal) Screen() string {
	x.t.Helper()
	return x.run("capture-pane", "-p")
}

// Styled is Screen with the sequences of its colours.
func (x *Terminal) Styled() string {
	x.t.Helper()
	return x.run("capture-pane", "-pe")
}

// Await waits until all parts are seen at once, and returns the screen.
func (x *Terminal) Await(parts ...string) string {
	x.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // between looks
		screen, missing := x.Screen(), ""
		for _, part := range parts {
			if !strings.Contains(screen, part) {
				missing = part
			}
		}
		if missing == "" {
			return screen
		}
		if time.Now().After(end) {
			x.t.Fatalf("realtest: %q does not get on the terminal:\n%s", missing, screen)
		}
	}
}

// Close takes the terminal away from whatever runs there.
func (x *Terminal) Close() { x.server.kill() }
