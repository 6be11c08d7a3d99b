package main

import (
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// onTerminal runs a command whose standard output is a terminal, and returns what is on it.
func (s *setup) onTerminal(args ...string) string {
	s.t.Helper()
	person, program := realtest.PTY(s.t, 100)
	c := s.command(args...)
	c.Stdout = program
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := c.Wait()
		program.Close() // after which the other side reads no more
		ended <- err
	}()
	seen, _ := io.ReadAll(io.LimitReader(person, 1<<20)) // which ends with an error
	if err := <-ended; err != nil {
		s.t.Fatalf("%q: %v", args, err)
	}
	return strings.ReplaceAll(string(seen), "\r\n", "\n")
}

func TestAttackJSONOnATerminalIsNothingThatItObeys(t *testing.T) {
	s := newSetup(t)
	const evil = "{\"device_id\":\"d\u009b2J\u009d0;x\u009c\x7f\u202e\u2066\ufeff\U000e0041\u2028\",\"generic\":{\"ü\":\"日本\"}}"
	s.device(s.north, evil)
	if err := s.box.AddSpace(s.north, []byte(strings.Replace(evil, "device_id", "space_id", 1))); err != nil {
		t.Fatal(err)
	}
	s.signIn(s.north)
	for _, args := range [][]string{{"get", "specifications", "--json"}, {"get", "specifications", "--json", "--grant"}, {"spaces", "--json"}, {"spaces", "--tree", "--json"}} {
		seen := s.onTerminal(args...)
		for _, c := range strings.TrimSuffix(seen, "\n") {
			if !unicode.IsPrint(c) {
				t.Errorf("%q: %U is on the terminal: %q", args, c, seen)
			}
		}
		if !strings.Contains(seen, `d\u009b2J\u009d0;x\u009c\u007f\u202e\u2066\ufeff\udb40\udc41\u2028`) {
			t.Errorf("%q: on the terminal is %q", args, seen)
		}
		if len(args) == 3 && args[0] == "get" {
			sameJSON(t, seen, evil)
			if !strings.Contains(seen, `"ü":"日本"`) {
				t.Errorf("%q", seen)
			}
		}
	}
}
