//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// furnished is a setup whose first owner is signed in and has devices on a floor.
func furnished(t *testing.T) *setup {
	t.Helper()
	s := newSetup(t)
	s.configure("application:", "  dialect:\n    severity_member: generic.severity\n    code_member: generic.code\n    event_topic: events\n    status_topic: status\napplication:")
	const site, building, floor = "9e7f0b2a-3c41-4a55-8d26-0f1f5d8c7a01", "9e7f0b2a-3c41-4a55-8d26-0f1f5d8c7a02", "9e7f0b2a-3c41-4a55-8d26-0f1f5d8c7a03"
	void := `{"space_id":"00000000-0000-0000-0000-000000000000","generic":{"space_type":"nothing","name":"","part_of":null}}`
	inSite := fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":"site","name":"Harbour","part_of":%s}}`, site, void)
	inBuilding := fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":"building","name":"Terminal 1","part_of":%s}}`, building, inSite)
	for _, space := range []string{
		fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":"site","name":"Harbour","part_of":%s,"composed_of":[%q]}}`, site, void, building),
		fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":"building","name":"Terminal 1","part_of":%s,"composed_of":[%q]}}`, building, inSite, floor),
		fmt.Sprintf(`{"space_id":%q,"generic":{"space_type":"floor","name":"Floor 0","part_of":%s,"composed_of":[]}}`, floor, inBuilding),
	} {
		if err := s.box.AddSpace(s.north, []byte(space)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		s.device(s.north, fmt.Sprintf(`{"device_id":"DISPENSER_%d","generic":{"device_type":"dispenser","space_id":%q}}`, i, floor))
	}
	s.signIn(s.north)
	return s
}

// tell publishes a status and an event of a device.
func (s *setup) tell(device string, level int, severity, code string) {
	s.publish(s.north, fmt.Sprintf(`{"device_id":%q,"generic":{"device_type":"dispenser"},"device_type_specific":{"fill_level":%d}}`, device, level), "status")
	s.publish(s.north, fmt.Sprintf(`{"message_id":"%s-%s","generic":{"severity":%q,"code":%q,"message":"Look here.","device_id":%q}}`, device, code, severity, code, device), "events")
}

// terminal is one of tmux with the environment of invocation, and what is set besides.
func (s *setup) terminal(columns, rows int, env ...string) *realtest.Terminal {
	s.t.Helper()
	return realtest.NewTerminal(s.t, columns, rows, append(invocation(s.t).Env, append([]string{"LANG=C.UTF-8"}, env...)...))
}

// types runs a command line there.
func (s *setup) types(x *realtest.Terminal, before string, args ...string) {
	s.t.Helper()
	x.Type(strings.TrimSpace(before + " " + binary + " --config " + s.config + " " + strings.Join(args, " ") + "; echo status=$?"))
	x.Press("Enter")
}

func TestTheLiveViewIsSeenWholeOnTerminalsOfAnySize(t *testing.T) {
	s := furnished(t)
	x := s.terminal(80, 24)
	s.types(x, "", "watch", "--take-over")
	x.Await("1/1 connected", "DISPENSER_0", "Harbour › Terminal 1 › Floor 0")
	s.tell("DISPENSER_1", 42, "critical", "jammed")
	s.tell("DISPENSER_2", 7, "info", "opened")
	x.Await("42", "jammed", "opened")
	for _, size := range [][2]int{{80, 24}, {120, 40}, {40, 20}, {80, 24}} {
		x.Resize(size[0], size[1])
		var screen string
		s.eventually(fmt.Sprintf("the view is as large as the terminal, %v", size), func() bool {
			screen = x.Screen()
			lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
			widest := 0
			for _, line := range lines {
				widest = max(widest, terminal.Width(line))
			}
			return len(lines) == size[1] && widest == size[0] && strings.Contains(lines[len(lines)-1], "q quit")
		})
		for _, part := range []string{"1/1", "Owners 1", "Devices 3", "Harbour", "42", "━", "Events", "✖ 1", "● 1", "jammed", "opened", "Messages", "help"} {
			if !strings.Contains(screen, part) {
				t.Errorf("at %v %q is not seen:\n%s", size, part, screen)
			}
		}
		if jammed, opened := strings.Index(screen, "jammed"), strings.Index(screen, "opened"); size[0] == 80 && jammed > opened {
			t.Errorf("the graver event is not the first:\n%s", screen)
		}
	}
	x.Type("/_1")
	x.Press("Enter", "Enter")
	x.Await("▌DISPENSER_1", "Harbour › Terminal 1 › Floor 0", "fill_level", "History", "jammed", "JSON", `"message": "Look here."`)
	x.Press("Escape")
	x.Await("/_1", "Owners 1")
	x.Press("q")
	x.Await("status=0", "Watching 1 owner.") // as it was before
}

func TestAStoppedViewComesBackWithWhatCameMeanwhile(t *testing.T) {
	s := furnished(t)
	x := s.terminal(80, 24)
	s.types(x, "", "watch", "--take-over")
	x.Await("1/1 connected", "DISPENSER_0")
	x.Press("C-z")
	x.Await("Stopped", "Watching 1 owner.")
	x.Type("stty -a")
	x.Press("Enter")
	x.Await(" icanon", " echo ")
	s.tell("DISPENSER_1", 42, "warning", "low")
	x.Type("fg; echo back=$?")
	x.Press("Enter")
	x.Await("Owners 1", "▲ 1", "low", "42")
	x.Press("C-c")
	x.Await("back=0")
}

func TestAViewThatNobodyCouldContinueIsNotStopped(t *testing.T) {
	s := furnished(t)
	x := s.terminal(80, 24)
	pid := filepath.Join(s.folder, "pid")
	x.Type("echo $$ >" + pid + "; exec " + binary + " --config " + s.config + " watch --take-over")
	x.Press("Enter")
	x.Await("1/1 connected", "DISPENSER_0")
	view := numberIn(t, pid)
	for _, code := range []string{"low", "empty"} {
		x.Press("C-z")
		s.tell("DISPENSER_1", 42, "warning", code)
		x.Await("Owners 1", "1/1 connected", code)
	}
	x.Press("q")
	s.eventually("the process ends", func() bool { return hasEnded(view) }) // it writes to the folder until then
}

// hasEnded reports whether a process has ended, though nobody may have asked for its status: not
// every system's first process does.
func hasEnded(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		return strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " Z")
	}
	return syscall.Kill(pid, 0) != nil
}

// numberIn returns the number that a file has.
func numberIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAWatchWhoseTerminalIsLostEndsAndLeavesTheOwner(t *testing.T) {
	s := furnished(t)
	for name, before := range map[string]string{"with a hang-up": "", "with one that is ignored": `trap "" HUP;`} {
		x := s.terminal(80, 24)
		pid := filepath.Join(s.folder, "pid")
		x.Type(fmt.Sprintf(`sh -c 'echo $$ >%s; %s exec %s --config %s watch --take-over'`, pid, before, binary, s.config))
		x.Press("Enter")
		x.Await("1/1 connected", "DISPENSER_0")
		n := numberIn(t, pid)
		x.Close()
		s.eventually(name+", the process ends", func() bool { return hasEnded(n) })
		p := s.watch("--plain") // nobody has the owner
		p.signal(os.Interrupt)
		p.wait().expect(statusDone)
	}
}

func TestWatchPrintsLinesWhereAViewCannotBe(t *testing.T) {
	s := furnished(t)
	for _, c := range []struct{ before, flag string }{{"env TERM=dumb", ""}, {"", "--plain"}, {"", "--json"}, {"", "--verbose"}, {"", "--for=10m"}} {
		x := s.terminal(80, 120)
		s.types(x, c.before, "watch", "--take-over", c.flag)
		x.Await("onnected: 1")
		s.tell("DISPENSER_1", 42, "warning", "low")
		screen := x.Await("42", "low")
		if strings.Contains(screen, "Owners 1") {
			t.Errorf("%v: there is a view:\n%s", c, screen)
		}
		x.Press("C-c")
		x.Await("status=0")
	}
}

func TestTheViewHasColoursAndSignsForThoseWhoWantThem(t *testing.T) {
	coloured := regexp.MustCompile("\x1b\\[[0-9;]*3[1-7]m")
	s := furnished(t)
	for name, c := range map[string]struct {
		env    string
		colour bool
		ascii  bool
	}{"as is": {"X=", true, false}, "NO_COLOR": {"NO_COLOR=1", false, false}, "LANG=C": {"LC_ALL=C", true, true}} {
		x := s.terminal(80, 24)
		s.types(x, "env "+c.env, "watch", "--take-over")
		x.Await("1/1 connected", "DISPENSER_0")
		s.tell("DISPENSER_1", 42, "critical", "jammed")
		screen := x.Await("jammed", "42", "critical")
		if styled := x.Styled(); coloured.MatchString(styled) != c.colour {
			t.Errorf("%s: the colours are %q", name, styled)
		}
		if beyond := strings.IndexFunc(screen, func(r rune) bool { return r > unicode.MaxASCII }) >= 0; beyond == c.ascii {
			t.Errorf("%s: on the screen is\n%s", name, screen)
		}
		x.Press("q")
		x.Await("status=0")
	}
}

func TestTheTourFillsATerminalAndEndsAsItBegan(t *testing.T) {
	s := newSetup(t)
	x := s.terminal(80, 40)
	x.Type(binary + " --duration 3s; echo status=$?")
	x.Press("Enter")
	x.Await("fdsdemo tour", "1/1 connected", "Devices 20", "Building A", "Messages")
	x.Await("Live messages", "Next", "fdsdemo provider --dir box", "status=0")
	x.Type("clear; " + binary + "; echo status=$?")
	x.Press("Enter")
	x.Await("fdsdemo tour", "1/1 connected")
	x.Press("q")
	x.Await("The key q ends the tour", "status=0")
}
