package main

import (
	"database/sql"
	"go/parser"
	"go/token"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// commands are those of the program's doc comment, each on one line.
func commands(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "main.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(file.Doc.Text(), "")
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^\t(.*)$`).FindAllStringSubmatch(all, -1) {
		found = append(found, m[1])
	}
	if len(found) != 4 || !strings.HasPrefix(found[2], "cd ") {
		t.Fatalf("the commands are %q", found)
	}
	return found
}

// terminal is a shell that runs a person's command, in a folder in place of the repository's root.
type terminal struct {
	t   *testing.T
	cmd *exec.Cmd
	mu  sync.Mutex
	out strings.Builder
}

func (c *terminal) Write(text []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(text)
}

func (c *terminal) printed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func typed(t *testing.T, folder, command string) *terminal {
	t.Helper()
	c := &terminal{t: t, cmd: exec.Command("/bin/sh", "-c", strings.Replace(command, "go run", "exec go run", 1))}
	c.cmd.Dir = folder
	c.cmd.Env = []string{"PATH=" + filepath.Join(folder, "bin") + ":/usr/bin:/bin", "HOME=" + folder, "XDG_STATE_HOME=" + folder, "XDG_CONFIG_HOME=" + folder,
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent"}
	c.cmd.Stdout, c.cmd.Stderr = c, c
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	return c
}

func (c *terminal) ended() {
	c.t.Helper()
	if err := c.cmd.Wait(); err != nil {
		c.t.Fatalf("%v:\n%s", err, c.printed())
	}
}

// until waits until something holds.
func (c *terminal) until(what string, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s did not come:\n%s", what, c.printed())
		}
	}
}

func TestTheCommandsOfTheDocCommentRunWithTheBox(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	bin, here := filepath.Join(folder, "bin"), filepath.Join(folder, "examples", "exactlyonce")
	for _, path := range []string{bin, here} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	demo := filepath.Join(bin, "fdsdemo")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", demo, "./cmd/fdsdemo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shim := "#!/bin/sh\nwhat=\"$2\"\nshift 2\n[ \"$what\" = . ] && exec \"" + program + "\" \"$@\"\nexec \"" + demo + "\" \"$@\"\n" // all is built
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(shim), 0o700); err != nil {
		t.Fatal(err)
	}
	var ports []string
	base := freePorts(t)
	for i, port := range []string{"8400", "8401", "8402"} {
		ports = append(ports, port, strconv.Itoa(base+i))
	}
	lines := strings.NewReplacer(ports...)
	all := commands(t)

	provider := typed(t, folder, lines.Replace(all[0]))
	provider.until("the provider", func() bool { return strings.Contains(provider.printed(), "ready\n") })
	typed(t, folder, lines.Replace(all[1])).ended()
	for range 2 { // ended and started again
		it := typed(t, folder, all[2]+" && "+lines.Replace(all[3]))
		db, err := sql.Open("sqlite", filepath.Join(here, "messages.db")+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatal(err)
		}
		before := -1
		it.until("a state", func() (more bool) {
			var states int
			if db.QueryRow(`SELECT coalesce(max(at), 0) FROM states`).Scan(&states) == nil && before < 0 {
				before = states
			}
			return before >= 0 && states > before
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := it.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		it.ended()
		if !regexp.MustCompile(`(?m)^\d+ messages with a key, which came again \d+ times; 0 dead letters$`).MatchString(it.printed()) {
			t.Errorf("it says\n%s", it.printed())
		}
	}
}

// freePorts returns the first of three ports in a row on which nothing listens.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		free, base := true, 0
		for i := range 3 {
			port := 0
			if i > 0 {
				port = base + i
			}
			l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				free = false
				break
			}
			defer l.Close()
			if i == 0 {
				base = l.Addr().(*net.TCPAddr).Port
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no three ports in a row are free")
	return 0
}
