package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// textLine shows a message to a person: when, whose, what, where.
func (p *program) textLine(m delivery.Message) []byte {
	s, dialect := p.outStyle, p.settings.Provider.Dialect
	item, err := fds.ParseItem(m.Payload)
	where := strings.Join(m.Levels, "/")
	if where == "" { // it did not come by a topic, which names the device
		where = string(m.Kind)
		if device, err := fds.ParseDevice(m.Payload, dialect); err == nil && device.ID() != "" {
			where = strings.TrimSpace(where + " " + device.ID())
		}
	}
	at := m.ReceivedAt.Local().Format("15:04:05 MST")
	var marks []string
	if m.Source != delivery.FromPush {
		marks = append(marks, string(m.Source))
	}
	if m.Retained {
		marks = append(marks, "retained")
	}
	if m.Duplicate {
		marks = append(marks, "again")
	}
	head, what := "", count(len(m.Payload), "byte")+" that are no FDS item"
	if err == nil {
		if of, ok := dialect.Time(item); ok {
			if ago := since(of, m.ReceivedAt); ago != "" {
				marks = append(marks, ago)
			}
		}
		head, what = strings.TrimSpace(showSeverity(dialect.Severity(item), s)+" "+s.Strong(terminal.Short(dialect.Code(item)))), p.summary(item)
	}
	if len(marks) > 0 {
		what = "(" + strings.Join(marks, ", ") + ") " + what
	}
	whose := p.nameOf(m.Owner.SubscriptionID)
	where = terminal.Short(where)
	if s.Width > 0 {
		room := s.Width - terminal.Width(at+whose) - 6
		if head != "" {
			room -= terminal.Width(plain(head)) + 2
		}
		where = s.Middle(where, max(room*2/5, 12))
		what = s.Cut(what, max(room-terminal.Width(where), 12))
	}
	var parts []string
	for _, part := range []string{s.Faint(at), s.Faint(whose), head, s.Strong(where), what} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return []byte(strings.Join(parts, "  ") + "\n")
}

// colours are the sequences of terminal.Style.
var colours = regexp.MustCompile("\x1b\\[[0-9]*m")

// plain returns a text without its colours.
func plain(text string) string { return colours.ReplaceAllString(text, "") }

// since says how long before it came a message's own time is, where that tells something.
func since(of, came time.Time) string {
	ago := came.Sub(of)
	switch {
	case ago < -time.Minute:
		return "its time is " + span(-ago) + " ahead"
	case ago < 15*time.Second:
		return ""
	}
	return span(ago) + " ago"
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}} {
		if d >= unit.length {
			return fmt.Sprintf("%d %s", d/unit.length, unit.name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// nameOf returns the name of an owner in the configuration, or the beginning of its ID.
func (p *program) nameOf(id fds.SubscriptionID) string {
	for name, of := range p.names {
		if of == id {
			return terminal.Short(name)
		}
	}
	return id.String()[:8]
}

// summary shows what an item says: what is specific to its type, or else its generic members.
func (p *program) summary(item fds.Item) string {
	r := rowOf(item)
	fields := r.specific
	if len(fields) == 0 {
		fields = p.rest(r.generic)
	}
	if len(fields) == 0 {
		fields = r.id
	}
	for i, f := range fields {
		fields[i].text = f.show(p.outStyle)
	}
	text := words(fields, 6)
	if r.kind != "" {
		text = r.kind + ": " + text
	}
	return text
}

// rest returns the fields that a message's line does not say already: its severity, code and time.
func (p *program) rest(fields []field) []field {
	d := p.settings.Provider.Dialect
	var rest []field
	for _, f := range fields {
		switch "generic." + f.name {
		case d.SeverityMember, d.CodeMember, d.TimeMember:
		default:
			rest = append(rest, f)
		}
	}
	return rest
}
