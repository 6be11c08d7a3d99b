package live

import (
	"fmt"
	"strings"
	"testing"
)

// sizes are the terminals that views are drawn on.
var sizes = [][2]int{{80, 24}, {120, 40}, {40, 20}}

func TestTheViewsAreAsInTestdata(t *testing.T) {
	for name, keys := range map[string][]string{
		"panels":   nil,
		"owners":   {"1", "down"},
		"level":    {"s", "down"},
		"filter":   {"/", "s", "o", "a", "p", "enter"},
		"typing":   {"/", "x"},
		"paused":   {"p"},
		"owner":    {"1", "down", "enter"},
		"device":   {"down", "down", "enter"},
		"json":     {"down", "down", "enter", "tab"},
		"event":    {"3", "enter"},
		"zoom":     {"4", "z"},
		"one":      {"o"},
		"help":     {"?"},
		"messages": {"4", "down", "down"},
	} {
		for _, size := range sizes {
			p := newPerson(t, size[0], size[1], true)
			p.furnish()
			p.types(keys...)
			p.golden(fmt.Sprintf("%s-%dx%d", name, size[0], size[1]))
		}
	}
	for _, size := range sizes {
		newPerson(t, size[0], size[1], true).golden(fmt.Sprintf("empty-%dx%d", size[0], size[1]))
		p := newPerson(t, size[0], size[1], false)
		p.furnish()
		p.golden(fmt.Sprintf("ascii-%dx%d", size[0], size[1]))
	}
}

func TestWhatMessagesAreChosenByIsSeen(t *testing.T) {
	for _, size := range sizes {
		p := newPerson(t, size[0], size[1], true)
		p.model.options.Only = "--topic devices/+/status --severity warning"
		for range 2 { // with nothing, and with messages
			seen := p.look()
			if header, _, _ := strings.Cut(seen, "\n"); size[0] >= 80 && !strings.Contains(header, "--topic devices/+") {
				t.Errorf("%v: the first line is %q", size, header)
			}
			if strings.Contains(seen, "none has come yet") {
				t.Errorf("%v: it looks as if nothing had come:\n%s", size, seen)
			}
			p.furnish()
		}
	}
}

func TestTheScreenIsExactlyAsLargeAsAnyTerminal(t *testing.T) {
	for width := 1; width < 150; width += 7 {
		for height := 1; height < 45; height += 6 {
			p := newPerson(t, width, height, height%12 == 1)
			p.furnish()
			for _, keys := range [][]string{nil, {"1"}, {"3"}, {"4"}, {"z"}, {"esc", "2", "down", "down", "enter"}, {"tab", "pgdown"}, {"esc", "4", "enter"}, {"esc", "1", "enter"}, {"esc", "?"}, {"esc", "w"}, {"esc", "/", "a"}} {
				p.types(keys...)
				p.look()
				if t.Failed() {
					t.Fatalf("%dx%d after %q", width, height, keys)
				}
			}
		}
	}
}

func TestTheHistoryAndTheJSONOfADeviceFillTheScreen(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	p.furnish()
	p.openChosen("SOAPINC_9550B510_0001")
	p.types("down", "tab")
	if screen := p.look(); !strings.Contains(screen, "(1 newer)") {
		t.Fatalf("the screen is\n%s", screen)
	}
	p.types("tab", "z")
	if screen := p.look(); strings.Contains(screen, "JSON of") || strings.Count(screen, ":00  fill_level") < 15 {
		t.Errorf("the history is not alone:\n%s", screen)
	}
	p.types("tab")
	if screen := p.look(); !strings.Contains(screen, "JSON of") || strings.Contains(screen, "History  ") {
		t.Errorf("the JSON is not alone:\n%s", screen)
	}
	p.status(p.north, "SOAPINC_9550B510_0001", 99, 0)
	if screen := p.look(); !strings.Contains(screen, "(2 newer)") {
		t.Errorf("nothing says that there is newer JSON:\n%s", screen)
	}
	p.types("esc")
	if screen := p.look(); !strings.Contains(screen, "History  ") {
		t.Errorf("esc has closed the device:\n%s", screen)
	}
}

func TestHeadingsAreNoDevices(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	p.furnish()
	p.types("1")
	if screen := p.look(); !strings.Contains(screen, " 1-5 of 6\n") {
		t.Errorf("the screen is\n%s", screen)
	}
}
