package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

func TestABacklogLooksLikeOne(t *testing.T) {
	came := time.Date(2026, 11, 25, 13, 0, 0, 0, time.Local)
	p := &program{began: came.Add(-5 * time.Second)}
	p.settings.Provider.Dialect.TimeMember = "at"
	item := func(ago time.Duration) string {
		return fmt.Sprintf(`{"at":%q,"x":1}`, came.Add(-ago).Format(time.RFC3339))
	}
	for _, c := range []struct {
		m    delivery.Message
		want string
	}{
		{delivery.Message{Source: delivery.FromPush, Payload: []byte(item(0))}, ""},
		{delivery.Message{Source: delivery.FromPush, Payload: []byte(item(10 * time.Second))}, "(backlog) "},
		{delivery.Message{Source: delivery.FromPush, Payload: []byte(item(time.Hour))}, "(backlog, 1 h ago) "},
		{delivery.Message{Source: delivery.FromPush, Retained: true, Payload: []byte(item(time.Hour))}, "(retained, 1 h ago) "},
		{delivery.Message{Source: delivery.FromPush, Duplicate: true, Payload: []byte(item(0))}, "(again) "},
		{delivery.Message{Source: delivery.FromBackfill, Payload: []byte(item(time.Minute))}, "(backfill, 1 min ago) "},
	} {
		c.m.ReceivedAt, c.m.Owner.SubscriptionID = came, idOf(t, north.Spelling)
		_, marks, _ := strings.Cut(string(p.textLine(c.m)), "  1a6f0c1e  ")
		if begin, _, _ := strings.Cut(marks, "at "); begin != c.want {
			t.Errorf("%s is marked %q, want %q: %s", c.m.Payload, begin, c.want, marks)
		}
	}
}

func TestAMessageOnANarrowTerminalLosesNothingThatMatters(t *testing.T) {
	p := &program{outStyle: terminal.Style{Unicode: true, Width: 40}}
	p.settings.Provider.Dialect = fds.Dialect{SeverityMember: "generic.severity", CodeMember: "generic.code"}
	m := delivery.Message{
		Owner: fds.OwnerKey{SubscriptionID: idOf(t, north.Spelling)}, Levels: []string{"devices", first36, "events"}, ReceivedAt: time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC), Source: delivery.FromPush,
		Payload: []byte(`{"generic":{"severity":"critical","code":"battery_low","message":"The battery of the dispenser beside the door is nearly empty; put a new one in, please, before Monday."}}`),
	}
	at := m.ReceivedAt.Local().Format("15:04:05 MST")
	want := at + "  1a6f0c1e\n  ✖ critical battery_low\n  devices/1a6f0c1e-5b…f9d1c7a3e01/events\n  message The battery of the dispenser\n  beside the door is nearly empty; put a\n  new one in, please, before Monday.\n"
	if got := string(p.textLine(m)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

const first36 = "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01"

func TestAnEventBeginsWithItsSeverityAndCode(t *testing.T) {
	id, err := fds.ParseSubscriptionID(north.Spelling)
	if err != nil {
		t.Fatal(err)
	}
	came := time.Date(2026, 11, 25, 13, 0, 0, 0, time.Local)
	named := fds.Dialect{SeverityMember: "generic.severity", CodeMember: "generic.code", TimeMember: "generic.date_time"}
	event := func(severity string, ago time.Duration) string {
		return fmt.Sprintf(`{"message_id":"m","generic":{"date_time":%q,"code":"dispenser_low","severity":"%s","message":"Low level"}}`, came.Add(-ago).Format(time.RFC3339), severity)
	}
	at := came.Format("15:04:05 MST") + "  " + id.String()[:8] + "  "
	for _, c := range []struct {
		name    string
		dialect fds.Dialect
		payload string
		want    string // from the severity on
	}{
		{"a warning", named, event("warning", 0), "▲ warning dispenser_low  d/events  message Low level"},
		{"in other letters", named, event("CRITICAL", 0), "✖ CRITICAL dispenser_low  d/events  message Low level"},
		{"information", named, event("info", 0), "● info dispenser_low  d/events  message Low level"},
		{"an unknown word", named, event("purple", 0), "purple dispenser_low  d/events  message Low level"},
		{"no words of others are obeyed", named, event(`\u001b[2Jx`, 0), `\u001b[2Jx dispenser_low  d/events  message Low level`},
		{"a backlog", named, event("warning", 3*time.Minute), "▲ warning dispenser_low  d/events  (3 min ago) message Low level"},
		{"the future", named, event("warning", -2*time.Hour), "▲ warning dispenser_low  d/events  (its time is 2 h ahead) message Low level"},
		{"nothing named", fds.Dialect{}, event("warning", 0), "d/events  date_time 2026-11-25 13:00:00, code dispenser_low, severity warning, message Low level"},
		{"no severity", named, `{"message_id":"m","generic":{"message":"x"}}`, "d/events  message x"},
		{"no item", named, "x", "d/events  1 byte that are no FDS item"},
	} {
		p := &program{outStyle: terminal.Style{Unicode: true}}
		p.settings.Provider.Dialect = c.dialect
		m := delivery.Message{Owner: fds.OwnerKey{SubscriptionID: id}, Levels: []string{"d", "events"}, ReceivedAt: came, Source: delivery.FromPush, Payload: []byte(c.payload)}
		if got := string(p.textLine(m)); got != at+c.want+"\n" {
			t.Errorf("%s:\n%swant\n%s%s", c.name, got, at, c.want)
		}
		p.names = map[string]fds.SubscriptionID{"harbour": id}
		if got := string(p.textLine(m)); !strings.Contains(got, "  harbour  ") {
			t.Errorf("%s: the owner's name: %s", c.name, got)
		}
		for width := 30; width < 200; width++ {
			for _, colour := range []bool{false, true} {
				p.outStyle = terminal.Style{Unicode: true, Colour: colour, Width: width}
				text := plain(strings.TrimSuffix(string(p.textLine(m)), "\n"))
				for i, line := range strings.Split(text, "\n") {
					if n := terminal.Width(line); n > width || i > 0 && !strings.HasPrefix(line, "  ") {
						t.Errorf("%s: %d columns of %d: %q", c.name, n, width, text)
					}
				}
				if code := "dispenser_low"; c.dialect.CodeMember != "" && strings.Contains(c.want, code) != strings.Contains(text, code) || !strings.Contains(text, "harbour") {
					t.Errorf("%s: something is missing at %d: %q", c.name, width, text)
				}
			}
		}
	}
}
