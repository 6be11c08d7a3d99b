package live

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
)

func TestAttackNothingThatATerminalObeysGetsOnTheScreen(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;x\a\u009b31m\u202e\u2066\r\n\t\x7f"
	for _, payload := range []string{
		`{"a":"` + "\u009b2J\u202e\x7f" + `"}`, `{"a` + "\u202e" + `":[1,{"b":"\u001b[2J"}]}`, evil, "\xff\xfe\x00", "{\n \"a\":\n\n 1}", "",
	} {
		p := newPerson(t, 80, 24, true)
		p.furnish()
		p.come(delivery.Message{Owner: p.north, Levels: []string{"devices", evil}, Source: delivery.FromPush, Payload: []byte(payload), ReceivedAt: noon}, Facts{Summary: "x"})
		p.tell(noticesOf("fdsdemo: warning: "+evil+"\n"+evil, noon)[0])
		for _, keys := range [][]string{nil, {"w"}, {"esc", "4"}, {"enter"}, {"down"}, {"esc", "/", evil, "\x1b"}} {
			p.types(keys...)
			screen := p.look()
			for _, r := range strings.ReplaceAll(screen, "\n", "") {
				if !unicode.IsPrint(r) {
					t.Fatalf("%q after %q: %U is on the screen:\n%q", payload, keys, r, screen)
				}
			}
			p.model.stale = true
			for rest := p.model.View().Content; rest != ""; { // only the sequences of colours
				at := strings.IndexByte(rest, '\x1b')
				if at < 0 {
					break
				}
				sequence, _, n, _ := ansi.DecodeSequence(rest[at:], 0, nil)
				if !strings.HasPrefix(sequence, "\x1b[") || !strings.HasSuffix(sequence, "m") {
					t.Fatalf("%q: %q is on the screen", payload, sequence)
				}
				rest = rest[at+n:]
			}
		}
	}
}

func TestAttackWhateverComesTheViewKeepsABoundedPart(t *testing.T) {
	p := newPerson(t, 80, 24, true)
	big := []byte(`{"a":"` + strings.Repeat("x", 300_000) + `"}`)
	for i := range 30_000 {
		m := delivery.Message{Owner: p.north, Kind: delivery.KindEvent, Source: delivery.FromPush, Payload: []byte("{}"), ReceivedAt: noon}
		if i%10 == 0 {
			m.Payload = big
		}
		p.come(m, Facts{Device: strings.Repeat("d", i%97) + string(rune('0'+i%7919)), Summary: "x", Readings: []Reading{{Name: "n", Number: true, Value: float64(i)}}})
	}
	d := p.model.live
	if d.messages.len() > maxMessages || d.events.len() > maxEvents || len(d.devices) > MaxDevices {
		t.Errorf("%d messages, %d events and %d devices are kept", d.messages.len(), d.events.len(), len(d.devices))
	}
	if d.more == 0 && len(d.devices) == MaxDevices {
		t.Error("nothing says that there are more devices")
	}
	held, costs := 0, 0
	for _, of := range d.devices {
		if len(of.Raw) > MaxItem || len(of.Readings) > maxReadings {
			t.Errorf("%d bytes and %d readings of a device are kept", len(of.Raw), len(of.Readings))
		}
		held += len(of.history)
		if len(of.history) > maxHistory || of.points.len() > maxPoints {
			t.Errorf("%d messages and %d points of a device are kept", len(of.history), of.points.len())
		}
		for _, e := range of.history {
			costs += e.Value.(*entry).cost()
		}
	}
	if held != d.kept.Len() || costs != d.costs || costs > maxHistories {
		t.Errorf("%d messages of %d bytes are in histories, %d of %d are counted", held, costs, d.kept.Len(), d.costs)
	}
	for name, r := range map[string]ring[*entry]{"messages": d.messages, "events": d.events} {
		sum := 0
		for _, e := range r.all() {
			sum += e.cost()
		}
		if sum != r.costs || sum > maxEntries {
			t.Errorf("%s take %d bytes, %d are counted", name, sum, r.costs)
		}
	}
	for range 3 * maxNotices {
		p.tell(notice{at: noon, text: terminal.Short("x")})
	}
	if n := p.model.notices.len(); n != maxNotices {
		t.Errorf("%d notices are kept", n)
	}
}

func TestAttackAPayloadThatIsDearToDrawHoldsNothingUp(t *testing.T) {
	for name, payload := range map[string]string{
		"deep":                    strings.Repeat("[", 9999) + strings.Repeat("]", 9999),
		"deep behind a text":      `{"[\"":` + strings.Repeat("[", 9998) + strings.Repeat("]", 9998) + "}",
		"one long word":           strings.Repeat("x", maxRaw),
		"control characters":      strings.Repeat("\x01", maxRaw),
		"a long text":             `"` + strings.Repeat("\u2028", 21_000) + `"`,
		"a long name":             `{"` + strings.Repeat("\u6f22", 21_000) + `":1}`,
		"marks upon one another":  `"` + strings.Repeat("\u0301", 32_000) + `"`,
		"many members":            "[0" + strings.Repeat(",0", 32_000) + "]",
		"marks that are no JSON":  strings.Repeat("\u0301", 32_000),
		"not a character of UTF8": strings.Repeat("\xff", maxRaw),
	} {
		p := newPerson(t, 80, 24, true)
		p.furnish()
		p.come(delivery.Message{Owner: p.north, Levels: []string{"devices"}, Source: delivery.FromPush, Payload: []byte(payload), ReceivedAt: noon}, Facts{Summary: "x"})
		p.types("4")
		began := time.Now()
		p.types("enter")
		for range 5 {
			p.types("down")
			p.look()
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: five frames took %v", name, took)
		}
	}
}

func TestAttackAnIDOfMarksCrashesNoView(t *testing.T) {
	for _, id := range []string{strings.Repeat("a\ufe0f", 40), strings.Repeat("a", 30) + "\ufe0f" + strings.Repeat("b", 5), strings.Repeat("\U0001f1e9", 31), "\ufe0f" + strings.Repeat("\u0301", 40)} {
		for n := range 8 {
			p := newPerson(t, 80, 24, true)
			p.furnish()
			p.come(delivery.Message{Owner: p.north, Kind: delivery.KindEvent, Source: delivery.FromPush, Payload: []byte("{}"), ReceivedAt: noon}, Facts{Device: terminal.Short(id + strings.Repeat("x", n)), Summary: terminal.Short(id)})
			for _, keys := range [][]string{nil, {"3"}, {"enter"}, {"d"}} {
				p.types(keys...)
				p.look()
			}
		}
	}
}
