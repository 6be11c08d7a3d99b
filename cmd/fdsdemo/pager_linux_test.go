package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// paged runs a command whose standard output and error are a terminal, with a pager, and returns
// what is on it and the exit status.
func (s *setup) paged(pager string, args ...string) (seen string, status int) {
	s.t.Helper()
	person, program := realtest.PTY(s.t, 100)
	c := s.command(args...)
	c.Stdout, c.Stderr = program, program
	c.Env = append(c.Env, "TERM=xterm", "NO_COLOR=1", "PAGER="+pager)
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // its status is looked at
		program.Close()
		close(ended)
	}()
	data, _ := io.ReadAll(io.LimitReader(person, 8<<20)) // which ends with an error
	<-ended
	seen = strings.ReplaceAll(string(data), "\r\n", "\n")
	return progressLines.ReplaceAllString(seen, ""), c.ProcessState.ExitCode()
}

// progressLines are written again and again before the first data of a slow read.
var progressLines = regexp.MustCompile(`\r[^\r\n]*(\r *\r)?`)

func TestAPagerShowsWhatIsLongOnATerminal(t *testing.T) {
	s := newSetup(t)
	for i := range 3 {
		s.device(s.north, fmt.Sprintf(`{"device_id":"d%d","generic":{}}`, i))
	}
	s.space(s.north, "a", "room", "A", "b room")
	s.space(s.north, "b", "room", "B", "a room")
	s.signIn(s.north)
	get := []string{"get", "specifications", "--no-headers", "--columns", "device_id"}
	const plain = "d0\nd1\nd2\n"
	marks := strings.ReplaceAll(plain, "d", "P:d")
	for name, c := range map[string]struct {
		pager string
		args  []string
		want  string
	}{
		"it shows all":           {"sed s/^/P:/", get, marks},
		"it is a command line":   {`sed 's/^/P/' | sed 's/P/P:/'`, get, marks},
		"it is told how":         {`echo "$LESS $LV" && cat`, get, "FRX -c\n" + plain},
		"it is not wanted":       {"sed s/^/P:/", append(slices.Clone(get), "--no-pager"), plain},
		"cat is none":            {"cat", get, plain},
		"nothing is none":        {"", get, plain},
		"it is not there":        {"no-such-pager -x", get, plain + "fdsdemo: warning: the pager \"no-such-pager -x\" cannot be run; set FDSDEMO_PAGER, or add --no-pager\n"},
		"JSON is paged too":      {"sed s/^/P:/", []string{"get", "specifications", "--json"}, `P:{"device_id":"d0","generic":{}}` + "\n" + `P:{"device_id":"d1","generic":{}}` + "\n" + `P:{"device_id":"d2","generic":{}}` + "\n"},
		"nothing starts it":      {"sed s/^/P:/", []string{"get", "events"}, "No events.\n"},
		"an error is told by us": {"sed s/^/P:/", []string{"get", "specifications", "--columns", "x"}, "fdsdemo: there is no column \"x\"; there are device_id\n"},
	} {
		seen, status := s.paged(c.pager, c.args...)
		if want := 2 * strings.Count(c.want, "there is no column"); seen != c.want || status != want {
			t.Errorf("%s: on the terminal is\n%q\nstatus %d, want\n%q", name, seen, status, c.want)
		}
	}
	// What is told comes after the pages.
	seen, status := s.paged("sed s/^/P:/", "spaces", "--tree")
	lines := strings.Split(strings.TrimSuffix(seen, "\n"), "\n")
	if n := len(lines); status != statusDone || n < 3 || !strings.HasPrefix(lines[0], "P:") || !strings.HasPrefix(lines[n-1], "fdsdemo: warning: ") {
		t.Errorf("status %d: %q", status, seen)
	}
	c := s.command(get...)
	c.Env = append(c.Env, "TERM=xterm", "PAGER=sed s/^/P:/")
	if r := start(t, c).wait().expect(statusDone); r.out != plain {
		t.Errorf("what is piped is paged: %q", r.out)
	}
}

func TestAPersonWhoHasSeenEnoughOfThePagesIsToldNothing(t *testing.T) {
	s := newSetup(t)
	for i := range 200 { // far more than a pipe holds
		s.device(s.north, fmt.Sprintf(`{"device_id":"d%d","generic":{},"x":"%s"}`, i, strings.Repeat("x", 3000)))
	}
	s.signIn(s.north)
	first := filepath.Join(s.folder, "first")
	seen, status := s.paged("head -n 1 > "+first, "get", "specifications", "--json")
	if text, err := os.ReadFile(first); err != nil || !strings.HasPrefix(string(text), `{"device_id":"d0"`) || seen != "" || status != statusDone {
		t.Errorf("status %d, on the terminal is %q; %v", status, seen, err)
	}
	seen, status = s.paged("sh -c 'exit 127'", "get", "specifications", "--json")
	if !strings.Contains(seen, "cannot be run") || status != statusFailed {
		t.Errorf("status %d, on the terminal is %q", status, seen)
	}
}

func TestThePagerIsChosenAsOthersDo(t *testing.T) {
	for _, c := range []struct {
		env    map[string]string
		system string
		want   string
	}{
		{map[string]string{"TERM": "xterm"}, "linux", "less"},
		{map[string]string{"TERM": "xterm", "PAGER": "more"}, "linux", "more"},
		{map[string]string{"TERM": "xterm", "PAGER": "more", "FDSDEMO_PAGER": "most -x"}, "linux", "most -x"},
		{map[string]string{"TERM": "xterm", "PAGER": "more", "FDSDEMO_PAGER": ""}, "linux", ""},
		{map[string]string{"TERM": "xterm", "PAGER": " cat "}, "darwin", ""},
		{map[string]string{"TERM": "dumb"}, "linux", ""},
		{nil, "linux", ""},
		{nil, "windows", ""},
		{map[string]string{"PAGER": "more"}, "windows", "more"},
	} {
		got := pagerCommand(func(name string) (string, bool) { value, ok := c.env[name]; return value, ok }, c.system)
		if got != c.want {
			t.Errorf("%v on %s: %q, want %q", c.env, c.system, got, c.want)
		}
	}
}
