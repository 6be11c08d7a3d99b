package live

import (
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// theme is how things look. Its colours are those that a terminal's user has chosen for the first
// sixteen, so that they can be read on any background; bubbletea leaves them out where none are
// wanted, and nothing is told by colour alone.
type theme struct {
	plain, faint, strong, title, focused, accent, level, chosen, key lipgloss.Style

	moods     [4]lipgloss.Style
	gravities [5]lipgloss.Style
}

func newTheme(unicode bool) theme {
	colour := func(n string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(n)) }
	plain := lipgloss.NewStyle()
	faint := plain.Faint(true)
	return theme{
		plain: plain, faint: faint, strong: plain.Bold(true), title: plain.Bold(true), focused: colour("6").Bold(true),
		accent: colour("6"), level: colour("12"), chosen: plain.Reverse(true), key: colour("6"),
		moods:     [4]lipgloss.Style{Well: colour("2"), Soon: colour("3"), Ill: colour("1").Bold(true), Unknown: faint},
		gravities: [5]lipgloss.Style{GravityUnknown: plain, GravityDebug: faint, GravityInfo: colour("12"), GravityWarning: colour("3"), GravityError: colour("1").Bold(true)},
	}
}

// signOf is how a mood is seen by those who see no colour.
func (m *model) signOf(mood Mood) string {
	switch mood {
	case Well:
		return m.style.Sign("●", "*")
	case Soon:
		return m.style.Sign("▲", "!")
	case Ill:
		return m.style.Sign("✖", "x")
	}
	return m.style.Sign("○", "-")
}

// cell is a part of a line.
type cell struct {
	text  string // safe to print
	width int    // columns; 0: as many as the text takes
	most  int    // of a grown one; 0: any number
	grow  bool   // it takes what is left
	right bool
	mid   bool // cut in the middle
	style lipgloss.Style
}

const cellGap = 2

// line writes cells beside one another in exactly so many columns. The style of the line, if there
// is one, is that of all cells.
func (m *model) line(width int, whole *lipgloss.Style, cells ...cell) string {
	left := width
	var used []cell
	for _, c := range cells {
		if c.width == 0 && !c.grow {
			if c.text == "" {
				continue
			}
			c.width = terminal.Width(c.text)
		}
		if len(used) > 0 {
			left -= cellGap
		}
		left -= c.width
		used = append(used, c)
	}
	growing := 0
	for _, c := range used {
		if c.grow {
			growing++
		}
	}
	for i := range used {
		if c := &used[i]; c.grow {
			share := max(left/growing, 0)
			if c.most > 0 {
				share = min(share, c.most)
			}
			c.width += share
			left -= share
			growing--
		}
	}
	var b strings.Builder
	at := 0
	for i, c := range used {
		if i > 0 && at < width {
			gap := min(cellGap, width-at)
			b.WriteString(strings.Repeat(" ", gap))
			at += gap
		}
		room := min(c.width, width-at)
		if room <= 0 {
			continue
		}
		text := m.style.Cut(c.text, room)
		if c.mid {
			text = m.style.Middle(c.text, room)
		}
		blank := strings.Repeat(" ", room-terminal.Width(text))
		if whole == nil {
			text = c.style.Render(text)
		}
		if c.right {
			text, blank = blank+text, ""
		}
		b.WriteString(text + blank)
		at += room
	}
	b.WriteString(strings.Repeat(" ", max(width-at, 0)))
	if whole != nil {
		return whole.Render(b.String())
	}
	return b.String()
}

// gauge draws a percentage in so many columns, as a line: blocks would run into those of the next
// row.
func (m *model) gauge(percent float64, width int) string {
	full := min(max(int(percent/100*float64(width)+0.5), 0), width)
	return strings.Repeat(m.style.Sign("━", "#"), full) + strings.Repeat(m.style.Sign("┄", "."), width-full)
}

// spark draws the last values in so many columns, at the right. Values of a level are between 0 and
// 100, others between the least and the greatest.
func (m *model) spark(values []float64, level bool, width int) string {
	steps := []rune("▁▂▃▄▅▆▇█")
	if !m.style.Unicode {
		steps = []rune("_.-~=+*#")
	}
	values = values[max(len(values)-width, 0):]
	if len(values) < 2 || width <= 0 { // one alone says nothing of how it was
		return strings.Repeat(" ", max(width, 0))
	}
	low, high := 0.0, 100.0
	if !level {
		low, high = values[0], values[0]
		for _, v := range values {
			low, high = min(low, v), max(high, v)
		}
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", width-len(values)))
	for _, v := range values {
		step := 0
		if high > low {
			step = int((v - low) / (high - low) * float64(len(steps)-1) * 1.0001)
		}
		b.WriteRune(steps[min(max(step, 0), len(steps)-1)])
	}
	return b.String()
}
