package live

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

const (
	wide  = 100 // columns from which on events and messages are beside the devices
	least = 12  // rows below which the panel in focus alone is shown

	leastWidth, leastHeight = 20, 5 // of a terminal on which anything is shown
)

// area is where a panel is.
type area struct {
	panel         panel
	width, height int // with its title
}

// draw returns the whole screen.
func (m *model) draw() string {
	if m.width < 1 || m.height < 1 {
		return ""
	}
	if m.width < leastWidth || m.height < leastHeight {
		lines := []string{m.line(m.width, nil, cell{text: "too small", grow: true})}
		for len(lines) < m.height {
			lines = append(lines, strings.Repeat(" ", m.width))
		}
		return strings.Join(lines, "\n")
	}
	lines := append([]string{m.header()}, m.body(m.height-2)...)
	return strings.Join(append(lines, m.footer()), "\n")
}

// body returns what is between the first line and the last.
func (m *model) body(height int) []string {
	if m.open != nil {
		return m.drawOpen(m.width, height)
	}
	if m.zoomed || height < least-2 {
		return m.drawPanel(area{m.focus, m.width, height})
	}
	owners := m.ownerRows(height)
	lines := m.drawPanel(area{ownersPanel, m.width, owners})
	height -= owners
	if m.width >= wide {
		const between = 3
		left := (m.width - between) * 55 / 100
		right := m.width - between - left
		events := m.share(height, eventsPanel, messagesPanel)
		beside := m.drawPanel(area{eventsPanel, right, events})
		beside = append(beside, m.drawPanel(area{messagesPanel, right, height - events})...)
		rule := m.theme.faint.Render(" " + m.style.Sign("│", "|") + " ")
		for i, line := range m.drawPanel(area{devicesPanel, left, height}) {
			lines = append(lines, line+rule+beside[i])
		}
		return lines
	}
	devices := m.share(height, devicesPanel, messagesPanel)
	if height >= 12 { // else two of the three
		rest := height - devices
		events := m.share(rest, eventsPanel, messagesPanel)
		lines = append(lines, m.drawPanel(area{devicesPanel, m.width, devices})...)
		lines = append(lines, m.drawPanel(area{eventsPanel, m.width, events})...)
		return append(lines, m.drawPanel(area{messagesPanel, m.width, rest - events})...)
	}
	second := eventsPanel
	if m.focus == messagesPanel {
		second = messagesPanel
	}
	lines = append(lines, m.drawPanel(area{devicesPanel, m.width, devices})...)
	return append(lines, m.drawPanel(area{second, m.width, height - devices})...)
}

// share returns how many rows of two parts the first one gets: more where it, or nothing of the
// second, is in focus.
func (m *model) share(height int, first, second panel) int {
	part := 50
	switch {
	case m.focus == first:
		part = 60
	case m.focus == second:
		part = 40
	case first == devicesPanel && m.focus == eventsPanel:
		part = 40
	}
	return max(height*part/100, min(3, height-1))
}

// ownerRows returns how many rows the owners get, with their title.
func (m *model) ownerRows(height int) int {
	most := max(height/5, 2)
	if m.focus == ownersPanel {
		most = max(height/3, 3)
	}
	return min(max(len(m.shown().owners), 1)+1, most)
}

// page is how far a page of the panel in focus goes.
func (m *model) page() int { return max(m.height/3, 1) }

// header is the first line: how all fares.
func (m *model) header() string {
	d := m.shown()
	up, mood, polled := 0, Well, len(d.owners) > 0
	for _, o := range d.owners {
		if o.Connection.Mood == Well {
			up++
		}
		mood = max(mood, o.Connection.Mood)
		polled = polled && o.Polled
	}
	if mood == Unknown && up > 0 || len(d.owners) == 0 {
		mood = Soon
	}
	what := m.word("connected", "up")
	if polled {
		what = "polled"
	}
	cells := []cell{
		{text: " " + m.word(m.options.Title, ""), style: m.theme.focused},
		{text: fmt.Sprintf("%s %d/%d %s", m.signOf(mood), up, len(d.owners), what), style: m.theme.moods[mood]},
	}
	if m.width < 60 || m.width < 100 && m.options.Only != "" {
		cells = cells[1:]
	}
	if m.frozen != nil {
		text := fmt.Sprintf("%s paused, %d new", m.style.Sign("⏸", "||"), m.live.total-m.frozen.total)
		cells = append(cells, cell{text: text, style: m.theme.moods[Soon].Bold(true)})
	} else {
		cells = append(cells, cell{text: count(int(d.total), m.word("message", "msg"))}, cell{text: fmt.Sprintf("%.1f/s", d.rate())})
	}
	clock := cell{text: m.now.Local().Format(m.word("15:04:05 MST", "15:04")) + " ", style: m.theme.faint}
	left := m.width - terminal.Width(clock.text) - 2*cellGap
	for _, c := range cells {
		left -= terminal.Width(c.text) + cellGap
	}
	if only := m.options.Only; only != "" && left >= leastSpark {
		only = m.style.Cut(only, left)
		cells = append(cells, cell{text: only, style: m.theme.moods[Soon]})
		left -= terminal.Width(only) + cellGap
	}
	if most := min(left, maxSpark); m.frozen == nil && most >= leastSpark {
		var values []float64
		for _, n := range d.counts[rateSeconds-1-most : rateSeconds-1] {
			values = append(values, float64(n))
		}
		cells = append(cells, cell{text: m.spark(values, false, most), style: m.theme.level})
	}
	return m.line(m.width, nil, append(cells, cell{grow: true}, clock)...)
}

const maxSpark, leastSpark = 30, 6 // columns of the messages of the last seconds

// word returns one where there is room, or else a shorter one.
func (m *model) word(long, short string) string {
	if m.width < 60 {
		return short
	}
	return long
}

// footer is the last line: the filter that is being written, what was told just now, or the keys.
func (m *model) footer() string {
	if m.typing {
		return m.line(m.width, nil, cell{text: " /" + *m.filterOf(m.focus) + m.style.Sign("▏", "_"), style: m.theme.strong}, cell{grow: true}, cell{text: "enter keeps it, esc ends it ", style: m.theme.faint})
	}
	if n := m.notices.len(); n > 0 {
		if last := m.notices.newest(0); m.now.Sub(last.at) < toldFor {
			return m.line(m.width, nil, cell{text: " " + m.signOf(last.mood) + " " + last.text, grow: true, style: m.theme.moods[last.mood]})
		}
	}
	var left, right strings.Builder
	room := m.width
	for _, k := range m.keysOf() {
		shown, _, _ := strings.Cut(m.ascii(k.shown), " ")
		width := terminal.Width(shown) + 1 + terminal.Width(k.short) + 2
		if room -= width; room < 0 {
			break
		}
		to := &left
		if k.does == doHelp || k.does == doQuit || k.does == doBack {
			to = &right
		}
		to.WriteString(" " + m.theme.key.Render(shown) + " " + m.theme.faint.Render(k.short) + " ")
	}
	return left.String() + strings.Repeat(" ", m.width-terminal.Width(ansi.Strip(left.String()+right.String()))) + right.String()
}

// drawPanel returns a panel in exactly its area.
func (m *model) drawPanel(a area) []string {
	items := m.items(a.panel)
	p := &m.lists[a.panel]
	from, to, chosen := p.window(items, max(a.height-1, 0))
	lines := []string{m.title(a, rowsOf(items), rowsOf(items[:from]), rowsOf(items[:to]))}
	for i := from; i < to; i++ {
		lines = append(lines, m.drawItem(a, items[i], i == chosen && a.panel == m.focus))
	}
	if len(items) == 0 && a.height > 1 {
		lines = append(lines, m.line(a.width, nil, cell{text: "  " + m.empty(a.panel), grow: true, style: m.theme.faint}))
	}
	for len(lines) < a.height {
		lines = append(lines, strings.Repeat(" ", a.width))
	}
	return lines[:a.height]
}

// rowsOf counts lines that are no headings.
func rowsOf(items []item) int {
	n := 0
	for _, i := range items {
		if i.key() != nil {
			n++
		}
	}
	return n
}

// title is the first line of a panel.
func (m *model) title(a area, items, from, to int) string {
	name := m.theme.title
	mark := " "
	if a.panel == m.focus {
		name, mark = m.theme.focused, m.style.Sign("▌", ">")
	}
	cells := []cell{{text: mark + m.titleOf(a.panel), style: name}}
	cells = append(cells, m.notes(a)...)
	var more []string
	if a.panel != ownersPanel {
		if m.only != nil {
			more = append(more, m.shown().name(*m.only))
		}
	}
	if text := *m.filterOf(a.panel); text != "" {
		more = append(more, "/"+text)
	}
	if a.panel == m.focus {
		more = append(more, "by "+sorts[a.panel][m.sorts[a.panel]])
	}
	if to-from < items {
		more = append(more, fmt.Sprintf("%d-%d of %d", from+1, to, items))
	}
	used := 0
	for _, c := range cells {
		used += terminal.Width(c.text) + cellGap
	}
	text := strings.Join(more, m.style.Sign(" · ", ", "))
	if text != "" {
		text = " " + text
	}
	rule := strings.Repeat(m.style.Sign("─", "-"), max(a.width-used-terminal.Width(text), 0))
	return m.line(a.width, nil, append(cells, cell{text: rule + text, grow: true, style: m.theme.faint})...)
}

func (m *model) titleOf(p panel) string {
	switch p {
	case ownersPanel:
		return fmt.Sprintf("Owners %d", len(m.shown().owners))
	case devicesPanel:
		text := fmt.Sprintf("Devices %d", len(m.shown().of(m.only)))
		if m.shown().more > 0 {
			text += " and more"
		}
		return text
	case eventsPanel:
		return "Events"
	}
	return "Messages"
}

// empty is what a panel without lines says.
func (m *model) empty(p panel) string {
	switch {
	case *m.filterOf(p) != "":
		return "nothing contains " + *m.filterOf(p)
	case p == ownersPanel:
		return "nobody is signed in"
	case p == devicesPanel && m.loading:
		return "reading the devices" + m.style.Sign("…", "...")
	case p == devicesPanel:
		for key, err := range m.failed {
			if m.of(key) {
				return terminal.Short("they could not be read: " + err.Error())
			}
		}
		return "none is known yet"
	case m.options.Only != "":
		return "none has come that is asked for"
	case p == eventsPanel:
		return "none has come"
	}
	return "none has come yet"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
