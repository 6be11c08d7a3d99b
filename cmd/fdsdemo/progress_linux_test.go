package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestALongReadShowsItsProgressOnATerminalAlone(t *testing.T) {
	s := newSetup(t)
	const devices = 3
	for i := range devices {
		s.device(s.north, fmt.Sprintf(`{"device_id":"d%d","generic":{},"x":"%s"}`, i, strings.Repeat("x", 70)))
	}
	s.signIn(s.north)
	off := s.box.Inject(fdstest.Drip(fdstest.APIEndpoint, 8*time.Millisecond)) // a byte at a time
	if r := s.run("get", "specifications", "--json").expect(statusDone); r.err != "" || len(r.lines()) != devices {
		t.Errorf("stdout %s, stderr %q", r.out, r.err)
	}
	person, program := realtest.PTY(t, 100)
	c := s.command("get", "specifications", "--json")
	stdout := newOutput()
	c.Stdout, c.Stderr = stdout, program
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := c.Wait()
		program.Close() // after which the other side reads no more
		ended <- err
	}()
	seen, err := io.ReadAll(io.LimitReader(person, 1<<20))
	if len(seen) == 0 {
		t.Fatalf("nothing is on the terminal: %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(seen), "\r")
	if len(lines) < 4 || !strings.HasPrefix(lines[1], "Reading specifications: ") || strings.Contains(string(seen), "\n") {
		t.Errorf("on the terminal is %q", seen)
	}
	if blank, end := lines[len(lines)-2], lines[len(lines)-1]; strings.TrimSpace(blank) != "" || end != "" {
		t.Errorf("the line stays: %q", seen)
	}
	if !strings.Contains(string(seen), "1 item so far") {
		t.Errorf("it does not count: %q", seen)
	}
	if n := strings.Count(stdout.String(), "\n"); n != devices {
		t.Errorf("%d lines of data", n)
	}
	off()
	person, program = realtest.PTY(t, 100)
	c = s.command("get", "specifications", "--json")
	c.Stderr = program
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	if seen, _ := io.ReadAll(person); len(seen) > 0 {
		t.Errorf("a read that takes no time shows %q", seen)
	}
}
