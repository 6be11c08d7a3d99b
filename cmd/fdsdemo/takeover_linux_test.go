package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// asked runs a command on a terminal, answers its first question, and returns what is seen there up
// to a text and the exit status; until is "" for the end.
func (s *setup) asked(answer, until string, args ...string) (seen string, status int) {
	s.t.Helper()
	person, program := realtest.PTY(s.t, 100)
	c := s.bare(args...)
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	program.Close()
	late := time.AfterFunc(deadline, func() { _ = c.Process.Kill() })
	defer late.Stop()
	buffer, answered, ended := make([]byte, 4<<10), false, false
	for {
		n, err := person.Read(buffer)
		seen += string(buffer[:n])
		if !answered && strings.Contains(seen, "[y/N] ") {
			answered = true
			if _, err := io.WriteString(person, answer); err != nil {
				s.t.Fatal(err)
			}
		}
		if until != "" && !ended && strings.Contains(seen, until) {
			ended = true
			_ = c.Process.Signal(os.Interrupt) // an end before it is seen by the status
		}
		if err != nil {
			break
		}
	}
	_ = c.Wait() // its status is looked at
	return seen, c.ProcessState.ExitCode()
}

func TestAtATerminalWatchAsksBeforeItTakesOver(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	for _, no := range []string{"\n", "n\n", "\x04", "never\n"} {
		seen, status := s.asked(no, "", "watch")
		if status != statusFailed || strings.Count(seen, "[y/N]") != 1 || !strings.Contains(seen, "nothing was taken over") ||
			!strings.Contains(seen, north.Spelling) || !strings.Contains(seen, strings.ToLower(south.Spelling)) {
			t.Errorf("answer %q: status %d, on the terminal is %q", no, status, seen)
		}
	}
	if n := len(s.box.Connections()); n != 0 {
		t.Errorf("%d connections", n)
	}
	seen, status := s.asked("y\n", "Connected: 2 owners.", "watch")
	if status != statusDone {
		t.Errorf("status %d, on the terminal is %q", status, seen)
	}
	if seen, status := s.asked("", "Connected: 2 owners.", "watch"); status != statusDone || strings.Contains(seen, "[y/N]") {
		t.Errorf("asked again: status %d, %q", status, seen)
	}
}
