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
		for width := 40; width < 200; width++ {
			for _, colour := range []bool{false, true} {
				p.outStyle = terminal.Style{Unicode: true, Colour: colour, Width: width}
				line := plain(strings.TrimSuffix(string(p.textLine(m)), "\n"))
				if n := terminal.Width(line); n > max(width, 80) {
					t.Errorf("%s: %d columns of %d: %s", c.name, n, width, line)
				}
			}
		}
	}
}
