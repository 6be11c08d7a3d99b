package realtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

const heldTest = "FDS_REALTEST_HELD"

func TestNoPartOutlivesItsTest(t *testing.T) {
	if os.Getenv(heldTest) != "" {
		holdAllParts(t)
		return
	}
	for name, end := range map[string]func(*exec.Cmd, io.Closer) error{
		"when the test ends":             func(_ *exec.Cmd, input io.Closer) error { return input.Close() },
		"when the test binary is killed": func(command *exec.Cmd, _ io.Closer) error { return command.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			folder, err := os.MkdirTemp("", "orphan") // short, for the bus's socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(folder) })
			command := exec.Command(os.Args[0], "-test.run=^TestNoPartOutlivesItsTest$", "-test.v")
			command.Env = append(os.Environ(), heldTest+"=1", "TMPDIR="+folder)
			command.Stderr = os.Stderr
			input, err := command.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			output, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })

			seen := &strings.Builder{}
			for scanner := bufio.NewScanner(io.TeeReader(output, seen)); ; {
				if !scanner.Scan() {
					if strings.Contains(seen.String(), "--- SKIP:") { // in the child, Require decides
						t.Skipf("the child says:\n%s", seen)
					}
					t.Fatalf("the parts did not come up:\n%s", seen)
				}
				if scanner.Text() == "held" {
					break
				}
			}
			children := childrenOf(t, command.Process.Pid)
			if len(children) != 4 {
				t.Fatalf("4 processes are expected below the test, and there are %v", children)
			}
			if err := end(command, input); err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, output)
			for pid, what := range children {
				waitGone(t, pid, what)
			}
		})
	}
}

// holdAllParts runs in the child: it has all parts up until standard input ends.
func holdAllParts(t *testing.T) {
	realtest.SecretService(t)
	realtest.Mosquitto(t, realtest.MosquittoOptions{})
	realtest.OIDCProvider(t, realtest.OIDCOptions{})
	fmt.Println("\nheld")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func childrenOf(t *testing.T, parent int) map[int]string {
	t.Helper()
	status, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int]string{}
	for _, path := range status {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if what, _, ppid, err := readStat(pid); err == nil && ppid == parent {
			children[pid] = what
		}
	}
	return children
}

// waitGone waits until a process has ended; one that nobody has waited for yet has.
func waitGone(t *testing.T, pid int, what string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		now, state, _, err := readStat(pid)
		if err != nil || state == "Z" || now != what {
			return
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Errorf("%s (process %d) outlived its test by 20 s", what, pid)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// readStat reads a process's name, state and parent.
func readStat(pid int) (name, state string, parent int, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", 0, err
	}
	open, end := strings.IndexByte(string(content), '('), strings.LastIndexByte(string(content), ')')
	if open < 0 || end < open {
		return "", "", 0, errors.New("unexpected form of /proc/PID/stat")
	}
	fields := strings.Fields(string(content[end+1:]))
	parent, err = strconv.Atoi(fields[1])
	return string(content[open+1 : end]), fields[0], parent, err
}
