package live

import (
	"container/list"
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
)

// drawOpenDevice returns a device: what is known of it, its messages, and the JSON of the chosen
// one.
func (m *model) drawOpenDevice(width, height int) []string {
	o := m.open
	of := m.shown().devices[o.device]
	if of == nil {
		return []string{m.bar(width, "Device", "is not known any more")}
	}
	lines := []string{m.bar(width, of.ID, strings.TrimSpace(of.Name+"  "+of.Type))}
	lines = append(lines, m.fact(width, "place", m.where(of), m.theme.plain)...)
	if len(m.shown().owners) > 1 {
		lines = append(lines, m.fact(width, "owner", m.shown().name(of.key.owner), m.theme.plain)...)
	}
	readings := max(height/5, 1)
	if o.zoomed {
		readings = 1
	}
	for _, r := range of.Readings[:min(len(of.Readings), readings)] {
		lines = append(lines, m.drawReading(width, of, r))
	}
	rest := height - len(lines)
	if rest < 4 {
		return lines
	}

	n := len(of.history)
	if at := slices.IndexFunc(of.history, func(e *list.Element) bool { return e.Value.(*entry) == o.entry }); at >= 0 {
		o.chosen = n - 1 - at // others have come since
	}
	o.chosen = min(o.chosen, max(n-1, 0))
	raw, size, title := of.Raw, len(of.Raw), "JSON as it was read"
	if n > 0 {
		e := of.history[n-1-o.chosen].Value.(*entry)
		if o.entry = nil; o.chosen > 0 {
			o.entry = e
		}
		raw, size, title = e.raw, e.size, "JSON of "+m.clock(e.at)
		if o.chosen > 0 {
			title += fmt.Sprintf(" (%d newer)", o.chosen)
		}
	}
	if o.zoomed {
		if o.inJSON {
			return append(lines, m.drawJSON(width, rest, title, raw, size)...)
		}
		return append(lines, m.drawHistory(width, rest, of)...)
	}
	if width >= wide {
		const between = 3
		left := (width - between) / 2
		right := width - between - left
		rule := m.theme.faint.Render(" " + m.style.Sign("│", "|") + " ")
		beside := m.drawJSON(right, rest, title, raw, size)
		for i, line := range m.drawHistory(left, rest, of) {
			lines = append(lines, line+rule+beside[i])
		}
		return lines
	}
	share := max(rest*40/100, 2)
	if o.inJSON {
		share = 2
	}
	share = min(share, max(n, 1)+1)
	lines = append(lines, m.drawHistory(width, share, of)...)
	return append(lines, m.drawJSON(width, rest-share, title, raw, size)...)
}

// drawReading is a line of a value: with its gauge, and of the main one how it was.
func (m *model) drawReading(width int, of *device, r Reading) string {
	cells := []cell{{text: " " + r.Name, width: 17, style: m.theme.faint}, {text: r.Text, width: 7, grow: true, most: 20}}
	if r.Level {
		cells[1] = cell{text: r.Text, width: 5, right: true}
		cells = append(cells, cell{text: m.gauge(r.Value, 10), style: m.theme.level})
	}
	if r.Name == of.point && of.points.len() > 1 {
		values := of.points.all()
		cells = append(cells, cell{text: m.spark(values, r.Level, min(len(values), max(width-40, 5))), style: m.theme.accent})
	}
	return m.line(width, nil, cells...)
}

// part is the title of a part of what is open.
func (m *model) part(width int, name, more string, focused bool) string {
	style, mark := m.theme.title, " "
	if focused {
		style, mark = m.theme.focused, m.style.Sign("▌", ">")
	}
	used := len(mark+name) + cellGap
	rule := strings.Repeat(m.style.Sign("─", "-"), max(width-used-len(more)-1, 0))
	return m.line(width, nil, cell{text: mark + name, style: style}, cell{text: rule + " " + more, grow: true, style: m.theme.faint})
}

// drawHistory returns the messages of a device, the newest first.
func (m *model) drawHistory(width, height int, of *device) []string {
	o := m.open
	n := len(of.history)
	lines := []string{m.part(width, "History", fmt.Sprintf("%d of %d", min(o.chosen+1, n), n), !o.inJSON)}
	if n == 0 {
		lines = append(lines, m.line(width, nil, cell{text: "  no message has come yet", grow: true, style: m.theme.faint}))
	}
	rows := height - 1
	from := max(min(o.chosen-rows/2, n-rows), 0)
	for i := from; i < n && len(lines) < height; i++ {
		e := of.history[n-1-i].Value.(*entry)
		var whole *lipgloss.Style
		if i == o.chosen {
			whole = &m.theme.chosen
		}
		style := m.theme.plain
		text := e.Summary
		if marks := e.marks(); marks != "" {
			text = "(" + marks + ") " + text
		}
		if e.event() {
			text, style = strings.TrimSpace(e.Gravity.Sign(m.style)+" "+e.Code+"  "+text), m.theme.gravities[e.Gravity]
		}
		lines = append(lines, m.line(width, whole, cell{text: " " + m.clock(e.moment()), style: m.theme.faint}, cell{text: text, grow: true, style: style}))
	}
	for len(lines) < height {
		lines = append(lines, strings.Repeat(" ", width))
	}
	return lines
}

// drawJSON returns an item's JSON, as far as it was moved.
func (m *model) drawJSON(width, height int, title string, raw []byte, size int) []string {
	o := m.open
	all := m.jsonLines(width, raw, size)
	o.scroll = max(min(o.scroll, len(all)-height+1), 0)
	more := ""
	if len(all) > height-1 {
		more = fmt.Sprintf("%d-%d of %d", o.scroll+1, min(o.scroll+height-1, len(all)), len(all))
	}
	lines := append([]string{m.part(width, title, more, o.inJSON)}, all[o.scroll:min(o.scroll+height-1, len(all))]...)
	for len(lines) < height {
		lines = append(lines, strings.Repeat(" ", width))
	}
	return lines[:height]
}
