package live

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
)

// drawItem returns a line of a panel.
func (m *model) drawItem(a area, i item, chosen bool) string {
	var whole *lipgloss.Style
	if chosen {
		whole = &m.theme.chosen
	}
	switch {
	case i.owner != nil:
		return m.drawOwner(a.width, whole, *i.owner)
	case i.device != nil:
		return m.drawDevice(a.width, whole, i.device)
	case i.entry != nil && a.panel == eventsPanel:
		return m.drawEvent(a.width, whole, i.entry)
	case i.entry != nil:
		return m.drawMessage(a.width, whole, i.entry)
	}
	return m.line(a.width, nil, cell{text: "  " + i.heading, grow: true, style: m.theme.faint})
}

// drawOwner is a line of an owner: whether messages come, whether they may, and until when.
func (m *model) drawOwner(width int, whole *lipgloss.Style, o Owner) string {
	mark := " "
	if m.only != nil && *m.only == o.Key {
		mark = m.style.Sign("▸", ">")
	}
	if width < 76 {
		return m.line(width, whole,
			cell{text: mark + m.signOf(o.Connection.Mood), style: m.mood(o.Connection.Mood)},
			cell{text: o.Name, grow: true, style: m.theme.strong},
			cell{text: "grant " + m.signOf(o.Grant.Mood), style: m.mood(o.Grant.Mood)},
			cell{text: "cert " + m.until(o.Certificate), style: m.mood(o.Certificate.Mood)},
			cell{text: m.gap(o, true), style: m.mood(Soon)},
		)
	}
	cells := []cell{
		{text: mark + m.signOf(o.Connection.Mood), style: m.mood(o.Connection.Mood)},
		{text: o.Name, width: 8, grow: true, most: 16, style: m.theme.strong},
		{text: o.Connection.Text + m.since(o.Connection.Time), width: 18, style: m.mood(o.Connection.Mood)},
	}
	cells = append(cells,
		cell{text: m.signed("grant", o.Grant), width: 14, style: m.mood(o.Grant.Mood)},
		cell{text: m.signed("cert", o.Certificate), width: 11, style: m.mood(o.Certificate.Mood)},
	)
	if width >= 100 {
		came := "no message"
		if !o.Last.IsZero() {
			came = "last" + m.since(o.Last)
		}
		cells = append(cells, cell{text: came, width: 11, style: m.theme.faint})
	}
	what, style := m.gap(o, false), m.gapStyle(o)
	last := cell{text: what, width: 11, style: style}
	if width >= 100 {
		if o.Connection.Problem != "" {
			last.text, last.style = what+"; "+o.Connection.Problem, m.mood(o.Connection.Mood)
		}
		last.width, last.grow = 6, true
	}
	cells = append(cells, last)
	return m.line(width, whole, cells...)
}

func (m *model) mood(mood Mood) lipgloss.Style { return m.theme.moods[mood] }

// signed is a standing with its sign, where it is not well, and how long it is good.
func (m *model) signed(name string, s Standing) string {
	if s.Mood == Well || s.Mood == Unknown {
		return name + " " + m.until(s)
	}
	return m.signOf(s.Mood) + " " + name + " " + m.until(s)
}

// until says how long something is good yet, or what it is.
func (m *model) until(s Standing) string {
	if s.Time.IsZero() || s.Text != "" && s.Mood == Ill {
		return s.Text
	}
	return terminal.Span(s.Time.Sub(m.now))
}

// since says how long ago something began.
func (m *model) since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " " + terminal.Span(m.now.Sub(t))
}

// gap says what of an owner's messages is missing or waits.
func (m *model) gap(o Owner, short bool) string {
	switch {
	case o.Failing != "":
		return "failing"
	case !o.GapSince.IsZero() && short:
		return "gap"
	case !o.GapSince.IsZero():
		return m.signOf(Soon) + " gap" + m.since(o.GapSince)
	case short:
		return ""
	case o.Waiting > 0:
		return fmt.Sprintf("%d wait", o.Waiting)
	}
	return "no gap"
}

func (m *model) gapStyle(o Owner) lipgloss.Style {
	if m.gap(o, false) == "no gap" {
		return m.theme.faint
	}
	return m.mood(Soon)
}

// clock is a time of today, or its date.
func (m *model) clock(t time.Time) string {
	if local := t.Local(); local.YearDay() == m.now.YearDay() && local.Year() == m.now.Year() {
		return local.Format("15:04:05")
	}
	return t.Local().Format("Jan 02 15:04")
}

// drawDevice is a line of a device: what it is, how it is, how it was, and when that came.
func (m *model) drawDevice(width int, whole *lipgloss.Style, of *device) string {
	reading, _ := of.main()
	sign := " "
	signStyle := m.theme.plain
	if e := of.event; e != nil && e.Gravity >= GravityWarning {
		sign, signStyle = e.Gravity.Sign(m.style), m.theme.gravities[e.Gravity]
	}
	age := ""
	if !of.last.IsZero() {
		age = terminal.Span(m.now.Sub(of.last))
	}
	bar, sparks, room := 8, 12, 12
	switch {
	case width >= 110:
		bar, sparks, room = 10, 24, 16
	case width < 44:
		bar, room = 5, 0
	case width < 72:
		bar, sparks, room = 6, 6, 12
	}
	var cells []cell
	add := func(from int, c cell) {
		if width >= from && c.width > 0 {
			cells = append(cells, c)
		}
	}
	add(0, cell{text: sign, width: 2, right: true, style: signStyle})
	add(0, cell{text: of.ID, width: 10, grow: true, most: 14, mid: true})
	add(110, cell{text: of.Name, width: 10, grow: true, most: 14})
	add(100, cell{text: of.Type, width: 16, style: m.theme.faint})
	add(0, cell{text: of.Room, width: room, style: m.theme.faint})
	text, graph := reading.Text, ""
	if reading.Number {
		text = strings.TrimSuffix(text, ".0")
	}
	if reading.Level {
		graph = m.gauge(reading.Value, bar)
	} else if reading.Name != "" {
		graph = reading.Name
	}
	add(0, cell{text: text, width: 5, right: true})
	add(0, cell{text: graph, width: bar, style: m.graphStyle(reading)})
	add(52, cell{text: m.spark(of.points.all(), reading.Level, sparks), width: sparks, style: m.theme.accent})
	add(36, cell{text: age, width: 6, right: true, style: m.theme.faint})
	return m.line(width, whole, cells...)
}

func (m *model) graphStyle(r Reading) lipgloss.Style {
	if r.Level {
		return m.theme.level
	}
	return m.theme.faint
}

// drawEvent is a line of an event: how grave, what, where, when, in words.
func (m *model) drawEvent(width int, whole *lipgloss.Style, e *entry) string {
	style := m.theme.gravities[e.Gravity]
	where := e.Device
	if where == "" { // it is about something else, or all
		where = e.Summary
	}
	cells := []cell{{text: e.Gravity.Sign(m.style), width: 2, right: true, style: style}}
	if width >= 60 {
		cells = append(cells, cell{text: e.Severity, width: 8, style: style})
	}
	cells = append(cells,
		cell{text: e.Code, width: 10, grow: true, most: 10, style: m.theme.strong},
	)
	if e.Device == "" {
		cells = append(cells, cell{text: where, width: 9, grow: true, style: m.theme.faint})
	} else {
		cells = append(cells, cell{text: where, width: 9, grow: true, most: 13, mid: true})
	}
	if width >= 70 && e.Device != "" {
		cells = append(cells, cell{text: e.Summary, width: 10, grow: true, style: m.theme.faint})
	}
	return m.line(width, whole, append(cells, cell{text: m.ago(e), width: 7, right: true, style: m.theme.faint})...)
}

// ago is how long ago an entry's own time is.
func (m *model) ago(e *entry) string { return terminal.Span(m.now.Sub(e.moment())) }

// drawMessage is a line of a message: when, whose, of what, in words.
func (m *model) drawMessage(width int, whole *lipgloss.Style, e *entry) string {
	cells := []cell{{text: " " + e.at.Local().Format("15:04:05"), style: m.theme.faint}}
	if m.only == nil && len(m.shown().owners) > 1 && width >= 44 {
		cells = append(cells, cell{text: m.shown().name(e.owner), width: 8, style: m.theme.faint})
	}
	where := e.Device
	if where == "" {
		where = e.topic
	}
	cells = append(cells, cell{text: where, width: 9, grow: true, most: 13, mid: true})
	text := e.Summary
	if marks := e.marks(); marks != "" {
		text = "(" + marks + ") " + text
	}
	if e.event() {
		text = strings.TrimSpace(e.Gravity.Sign(m.style) + " " + e.Code + "  " + text)
		return m.line(width, whole, append(cells, cell{text: text, width: 8, grow: true, style: m.theme.gravities[e.Gravity]})...)
	}
	return m.line(width, whole, append(cells, cell{text: text, width: 8, grow: true})...)
}

// lateAfter is how much older a message must be than its arrival for that to be said.
const lateAfter = 15 * time.Second

// marks say what a person should know of how a message came.
func (e *entry) marks() string {
	var marks []string
	if e.source != delivery.FromPush {
		marks = append(marks, string(e.source))
	}
	if e.retained {
		marks = append(marks, "retained")
	}
	if e.duplicate {
		marks = append(marks, "again")
	}
	switch late := e.at.Sub(e.moment()); {
	case late >= lateAfter:
		marks = append(marks, terminal.Span(late)+" old")
	case late <= -time.Minute:
		marks = append(marks, "its time is "+terminal.Span(-late)+" ahead")
	}
	return strings.Join(marks, ", ")
}

// notes are what a panel's title says besides.
func (m *model) notes(a area) []cell {
	switch a.panel {
	case ownersPanel:
		gaps, ill := 0, 0
		for _, o := range m.shown().owners {
			if !o.GapSince.IsZero() {
				gaps++
			}
			if o.worst() == Ill {
				ill++
			}
		}
		var cells []cell
		if ill > 0 {
			cells = append(cells, cell{text: fmt.Sprintf("%s %d", m.signOf(Ill), ill), style: m.mood(Ill)})
		}
		if gaps > 0 {
			cells = append(cells, cell{text: count(gaps, "gap"), style: m.mood(Soon)})
		}
		return cells
	case eventsPanel:
		var counts [GravityError + 1]int
		for _, e := range m.shown().events.all() {
			if m.of(e.owner) {
				counts[e.Gravity]++
			}
		}
		var cells []cell
		for g := GravityError; ; g-- {
			if counts[g] > 0 {
				cells = append(cells, cell{text: fmt.Sprintf("%s %d", g.Sign(m.style), counts[g]), style: m.theme.gravities[g]})
			}
			if g == GravityUnknown {
				return cells
			}
		}
	}
	return nil
}
