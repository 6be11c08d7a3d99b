package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/fds-sdk/fds-go/fds"
)

func TestWhatIsChosenStaysChosenWhileOthersCome(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	p.furnish()
	p.types("4", "down", "down", "down")
	before, _ := p.model.selected()
	for i := range 100 {
		p.status(p.south, "OTHER", float64(i), 0)
	}
	p.look()
	if after, _ := p.model.selected(); after.entry != before.entry {
		t.Errorf("chosen is %d, was %d", after.entry.seq, before.entry.seq)
	}
	p.types("g")
	p.status(p.north, "NEWEST", 1, 0)
	if now, _ := p.model.selected(); now.entry.Device != "NEWEST" {
		t.Errorf("at the beginning the newest is followed, not %s", now.entry.Device)
	}
}

func TestAPauseKeepsWhatIsSeenAndLosesNothing(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	p.furnish()
	p.types("p")
	before := strings.Replace(p.look(), "paused, 0 new", "paused, 5 new", 1)
	for i := range 5 {
		p.status(p.north, "SOAPINC_9550B510_0001", float64(i), 0)
	}
	if after := p.look(); after != before {
		t.Errorf("the screen was\n%s\nand is\n%s", before, after)
	}
	p.types("p")
	if after := p.look(); !strings.Contains(after, "29 messages") || !strings.Contains(after, "fill_level 4.0") {
		t.Errorf("what came meanwhile is not seen:\n%s", after)
	}
}

func TestAFilterShowsOnlyWhatContainsIt(t *testing.T) {
	p := newPerson(t, 80, 40, true)
	p.furnish()
	p.types("/", "_", "0", "0", "0", "X", "backspace", "2", "enter")
	if screen := p.look(); strings.Contains(screen, "_0001") || !strings.Contains(screen, "_0002") || !strings.Contains(screen, "/_0002") {
		t.Errorf("the screen is\n%s", screen)
	}
	p.types("esc")
	if screen := p.look(); !strings.Contains(screen, "_0001") {
		t.Errorf("the screen is\n%s", screen)
	}
}

func TestTheThingsOfOneOwnerAreShownAlone(t *testing.T) {
	p := newPerson(t, 80, 40, true)
	p.furnish()
	p.types("o", "o") // harbour, then old-town
	if screen := p.look(); strings.Contains(screen, "SOAPINC") || !strings.Contains(screen, "COUNTCO_9550B510_0011") {
		t.Errorf("the screen is\n%s", screen)
	}
	p.types("o")
	if screen := p.look(); !strings.Contains(screen, "SOAPINC") {
		t.Errorf("the screen is\n%s", screen)
	}
	p.types("1", "down", "o")
	if p.model.only == nil || *p.model.only != p.south {
		t.Errorf("shown is %v", p.model.only)
	}
}

func TestDevicesAreSortedAsAPersonWants(t *testing.T) {
	p := newPerson(t, 120, 40, true)
	p.furnish()
	for _, first := range []string{"SOAPINC_9550B510_0001", "日本製の石鹸ディスペンサー七号", "COUNTCO_9550B510_0011", "COUNTCO_9550B510_0009"} { // by place, level, time, ID
		if i, _ := p.model.selected(); i.device.ID != first {
			t.Errorf("sorted by %s the first is %s, want %s", sorts[devicesPanel][p.model.sorts[devicesPanel]], i.device.ID, first)
		}
		p.types("s")
	}
}

func TestAnEventThatComesAgainIsShownOnce(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	for range 3 {
		p.event(p.north, "D", "error", GravityError, "fault", "x", 0)
	}
	if n := p.model.live.events.len(); n != 3 {
		t.Fatalf("of events without a key %d are kept", n)
	}
	e := p.model.live.events.newest(0)
	again := *e
	again.key = "k"
	once := again
	p.model.live.add(&again, noon)
	p.model.live.add(&once, noon)
	if n := p.model.live.events.len(); n != 4 {
		t.Errorf("%d are kept", n)
	}
}

func TestManyMessagesAreDrawnAtOnce(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	p.furnish()
	p.tell(frame{})
	before := p.model.View().Content
	scheduled := 0
	for i := range 1000 {
		if _, cmd := p.model.Update(messages{{entry: &entry{at: noon, owner: p.north, topic: fmt.Sprint(i)}, taken: make(chan struct{})}}); cmd != nil {
			scheduled++
		}
		if p.model.View().Content != before {
			t.Fatal("a message is drawn by itself")
		}
	}
	if scheduled != 1 {
		t.Errorf("%d redraws are due", scheduled)
	}
	p.tell(frame{})
	if p.model.View().Content == before {
		t.Error("they are not drawn")
	}
}

func TestTheRateIsThatOfTheLastSeconds(t *testing.T) {
	d := newData()
	now := noon
	for range 20 {
		d.tick(now)
		for range 7 {
			d.add(&entry{at: now}, now)
		}
		now = now.Add(time.Second)
	}
	d.tick(now)
	if got := d.rate(); got != 7 {
		t.Errorf("%v a second", got)
	}
	d.tick(now.Add(time.Hour))
	if got := d.rate(); got != 0 {
		t.Errorf("%v a second an hour later", got)
	}
}

func TestAKeyQuitsFromEverywhere(t *testing.T) {
	for _, keys := range [][]string{nil, {"?"}, {"w"}, {"enter"}, {"down", "enter"}, {"z"}} {
		p := newPerson(t, 80, 24, true)
		p.furnish()
		p.types(keys...)
		for _, key := range []tea.KeyPressMsg{{Text: "q", Code: 'q'}, {Code: 'c', Mod: tea.ModCtrl}} {
			_, cmd := p.model.Update(key)
			if cmd == nil {
				t.Fatalf("%s does nothing after %q", key, keys)
			}
			if _, quits := cmd().(tea.QuitMsg); !quits {
				t.Errorf("%s does not quit after %q", key, keys)
			}
		}
	}
}

func TestEveryKeyThatDoesSomethingIsInTheHelp(t *testing.T) {
	p := newPerson(t, 120, 60, true)
	p.types("?")
	screen := p.look()
	for _, b := range bindings {
		if b.what != "" && !strings.Contains(screen, b.what) {
			t.Errorf("%q is not in the help:\n%s", b.what, screen)
		}
	}
	seen := make(map[string]bool)
	for _, b := range bindings {
		for _, key := range b.keys {
			if seen[key] {
				t.Errorf("%s does two things", key)
			}
			seen[key] = true
		}
	}
}

func TestARingKeepsTheLastAsFarAsTheyFit(t *testing.T) {
	r := newRing(10, 100, func(n int) int { return n })
	for i := range 1000 {
		r.add(i % 30)
		sum := 0
		for _, n := range r.all() {
			sum += n
		}
		if r.len() > 10 || sum > 100 || sum != r.costs || r.newest(0) != i%30 {
			t.Fatalf("after %d: %v of %d", i, r.all(), r.costs)
		}
		if len(r.list) > 100 {
			t.Fatalf("after %d it takes room for %d", i, len(r.list))
		}
	}
	c := r.clone()
	r.add(5)
	if c.newest(0) == 5 {
		t.Error("a clone changes")
	}
}

func TestDevicesThatCouldNotBeReadAreReadAgain(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	reads := 0
	p.model.options.Devices = func(context.Context, fds.OwnerKey) ([]Device, error) {
		if reads++; reads == 1 {
			return nil, errors.New("the provider does not answer")
		}
		return []Device{{ID: "LATE"}}, nil
	}
	do := func(msg tea.Msg) tea.Msg {
		t.Helper()
		_, cmd := p.model.Update(msg)
		if cmd == nil {
			t.Fatalf("after %T nothing is read", msg)
		}
		return cmd()
	}
	failed := do(owners{{Key: p.north, Name: "harbour"}})
	p.tell(failed)
	if screen := p.look(); !strings.Contains(screen, "the provider does not answer") {
		t.Errorf("the screen is\n%s", screen)
	}
	p.tell(do(unread(p.north)))
	if screen := p.look(); !strings.Contains(screen, "LATE") || reads != 2 {
		t.Errorf("read %d times; the screen is\n%s", reads, screen)
	}
	p.tell(do(tea.KeyPressMsg{Text: "r", Code: 'r'}))
	if reads != 3 {
		t.Errorf("read %d times", reads)
	}
}

func TestTheChosenMessageOfADeviceStaysOpenWhileOthersCome(t *testing.T) {
	p := newPerson(t, 80, 40, true)
	p.furnish()
	p.types("s", "s") // the latest first
	p.openChosen("SOAPINC_9550B510_0001")
	p.types("down", "down", "down")
	if screen := p.look(); !strings.Contains(screen, `"fill_level": 20.5`) {
		t.Fatalf("the screen is\n%s", screen)
	}
	for range 5 {
		p.status(p.north, "SOAPINC_9550B510_0001", 99, 0)
	}
	if screen := p.look(); !strings.Contains(screen, `"fill_level": 20.5`) || !strings.Contains(screen, "9 of 26") {
		t.Errorf("the screen is\n%s", screen)
	}
}

func TestOwnersAreFoundByName(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	p.furnish()
	p.types("1", "/", "O", "L", "D", "enter")
	if screen := p.look(); !strings.Contains(screen, "old-town") || strings.Contains(screen, " ●  harbour") || !strings.Contains(screen, "/OLD") || !strings.Contains(screen, "SOAPINC_9550B510_0001") {
		t.Errorf("the screen is\n%s", screen)
	}
	p.types("esc")
	if screen := p.look(); !strings.Contains(screen, " ●  harbour") {
		t.Errorf("the screen is\n%s", screen)
	}
}

// openChosen opens a device by moving to it.
func (p *person) openChosen(id string) {
	p.t.Helper()
	for range 100 {
		if i, ok := p.model.selected(); ok && i.device != nil && i.device.ID == id {
			p.types("enter")
			return
		}
		p.types("down")
	}
	p.t.Fatalf("%s is not in the list", id)
}

func TestAFilterTakesLettersOfTwoCharacters(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	p.types("/", "e", "\u0301", "\u202e")
	if got := *p.model.filterOf(p.model.focus); got != "e\u0301" {
		t.Errorf("the filter is %+q", got)
	}
}
