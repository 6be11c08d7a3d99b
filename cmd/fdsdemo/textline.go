package main

import (
	"cmp"
	"regexp"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// textLine shows a message to a person: when, whose, what, where. On a narrow terminal it takes
// several lines, all but the first indented.
func (p *program) textLine(m delivery.Message) []byte {
	s, dialect := p.styleNow(), p.settings.Provider.Dialect
	item, err := fds.ParseItem(m.Payload)
	where := strings.Join(m.Levels, "/")
	if where == "" { // it did not come by a topic, which names the device
		where = string(m.Kind)
		if device, err := fds.ParseDevice(m.Payload, dialect); err == nil && device.ID() != "" {
			where = strings.TrimSpace(where + " " + device.ID())
		}
	}
	marks := p.marks(m)
	head, what := "", count(len(m.Payload), "byte")+" that are no FDS item"
	if err == nil {
		if of, ok := dialect.Time(item); ok {
			if of.Before(p.began) && len(marks) == 0 {
				marks = append(marks, "backlog")
			}
			if ago := since(of, m.ReceivedAt); ago != "" {
				marks = append(marks, ago)
			}
		}
		head, what = strings.TrimSpace(showSeverity(dialect.Severity(item), s)+" "+s.Strong(terminal.Short(dialect.Code(item)))), p.summary(item)
	}
	if len(marks) > 0 {
		what = "(" + strings.Join(marks, ", ") + ") " + what
	}
	l := messageText{
		at: m.ReceivedAt.Local().Format("15:04:05 MST"), whose: p.nameOf(m.Owner.SubscriptionID), head: head, where: terminal.Short(where), what: what,
	}
	return []byte(l.show(s) + "\n")
}

// marks say what a message is besides a new one.
func (p *program) marks(m delivery.Message) (marks []string) {
	if m.Source != delivery.FromPush {
		marks = append(marks, string(m.Source))
	}
	if m.Retained {
		marks = append(marks, "retained")
	}
	if m.Duplicate {
		marks = append(marks, "again")
	}
	return marks
}

// messageText is what is shown of a message; head may be in colour.
type messageText struct{ at, whose, head, where, what string }

// leastWhat is how much of what a message says has to be seen beside the rest; else it has lines
// of its own.
const leastWhat = 28

func (l messageText) show(s terminal.Style) string {
	if s.Width > 0 {
		room := s.Width - terminal.Width(l.at+l.whose) - 6
		if l.head != "" {
			room -= terminal.Width(plain(l.head)) + 2
		}
		where := s.Middle(l.where, max(room*2/5, 12))
		left := room - terminal.Width(where)
		if left < min(leastWhat, terminal.Width(l.what)) {
			return l.wrapped(s)
		}
		l.where, l.what = where, s.Cut(l.what, left)
	}
	var parts []string
	for _, part := range []string{s.Faint(l.at), s.Faint(l.whose), l.head, s.Strong(l.where), l.what} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "  ")
}

const (
	wrapIndent = 2
	mostWhat   = 3 // lines of what a message says
)

// wrapped is show for a narrow terminal. What cannot be cut without a loss, the severity and the
// code, has a line of its own where it has to.
func (l messageText) wrapped(s terminal.Style) string {
	room := s.Width - wrapIndent
	var b strings.Builder
	column := 0
	put := func(text, styled string) {
		width := terminal.Width(text)
		switch {
		case text == "":
			return
		case column > 0 && column+2+width > s.Width:
			b.WriteString("\n" + strings.Repeat(" ", wrapIndent))
			column = wrapIndent
		case column > 0:
			b.WriteString("  ")
			column += 2
		}
		b.WriteString(styled)
		column += width
	}
	put(l.at, s.Faint(l.at))
	whose := s.Cut(l.whose, room)
	put(whose, s.Faint(whose))
	if head := plain(l.head); terminal.Width(head) <= room {
		put(head, l.head)
	} else {
		head = s.Cut(head, room)
		put(head, head)
	}
	where := s.Middle(l.where, room)
	put(where, s.Strong(where))
	rest := l.what
	for n := 1; rest != ""; n++ {
		line := rest
		if n < mostWhat && terminal.Width(rest) > room {
			line = firstWords(s, rest, room)
		}
		rest = strings.TrimLeft(strings.TrimPrefix(rest, line), " ")
		if n == mostWhat {
			rest = ""
		}
		line = s.Cut(strings.TrimRight(line, " "), room)
		b.WriteString("\n" + strings.Repeat(" ", wrapIndent) + line)
	}
	return b.String()
}

// firstWords returns the beginning of a text that has so many columns at most, up to a space where
// there is one.
func firstWords(s terminal.Style, text string, width int) string {
	end := 0
	for i := range text {
		if i > 0 && text[i] == ' ' {
			if terminal.Width(text[:i]) > width {
				break
			}
			end = i
		}
	}
	if end == 0 { // one long word
		for i := range text {
			if terminal.Width(text[:i]) > width {
				break
			}
			end = i
		}
	}
	return text[:end]
}

// styleNow is how to write to standard output, as wide as the terminal is at this moment.
func (p *program) styleNow() terminal.Style {
	s := p.outStyle
	if width := terminal.WidthOf(p.outFile); s.Width > 0 && width > 0 {
		s.Width = width
	}
	return s
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
		return "its time is " + terminal.Span(-ago) + " ahead"
	case ago < 15*time.Second:
		return ""
	}
	return terminal.Span(ago) + " ago"
}

// nameOf returns the name of an owner in the configuration, or the beginning of its ID.
func (p *program) nameOf(id fds.SubscriptionID) string {
	return cmp.Or(terminal.Short(p.givenName(id)), id.String()[:8])
}

// givenName returns the name of an owner in the configuration, the first of several; "": it has none.
func (p *program) givenName(id fds.SubscriptionID) string {
	first := ""
	for name, of := range p.names {
		if of == id && (first == "" || name < first) {
			first = name
		}
	}
	return first
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
