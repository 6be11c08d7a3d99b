package terminal

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Table is aligned text. Cells must be safe to print, see Escape.
type Table struct {
	Columns  []string
	Rows     [][]string  // each as long as Columns
	Levels   [][]float64 // percentages, drawn as bars beside their cells; like Rows, where there are any; less than 0: none
	Right    []bool      // columns that are aligned to the right; may be shorter than Columns
	Indent   int
	NoHeader bool
	Hint     string // where to find the columns that did not fit
}

const (
	gap     = 2  // spaces between columns
	maxCell = 60 // columns of the terminal for a cell or a column's name
	minCell = 12 // a column that does not fit is cut rather than left out
	minID   = 9  // of an ID, the beginning and the end
	maxBar  = 10
	minBar  = 4
)

// column is how a column is laid out.
type column struct {
	width int // of its text
	bar   int // cells of its bars; 0: none
	id    bool
	least int  // of an ID: what tells one from another
	same  bool // in each row
	whole bool // it is never cut
}

// all is the width with the bar.
func (c column) all() int {
	if c.bar > 0 {
		return c.width + 1 + c.bar
	}
	return c.width
}

// Write prints the table. Where the style has a width and the table is wider, bars become shorter,
// what is the same in each row is cut, IDs in the middle and long texts at their end, in that
// order, and then there are no bars. Numbers and times stay whole. What still does not fit is left
// out from the right, the first column never, and named in a line below.
func (t Table) Write(w io.Writer, s Style) error {
	columns := t.measure()
	shown := len(columns)
	if s.Width > 0 {
		shown = t.fit(columns, s.Width-t.Indent)
		if shown < len(columns) { // there is room where the others were
			columns = t.measure()[:shown]
			t.fit(columns, s.Width-t.Indent)
		}
	}
	b := bufio.NewWriter(w) // a line is much longer than what it says when a column is wide
	line := func(cells []string, levels []float64, style func(string) string) error {
		var l strings.Builder
		for i, text := range cells[:shown] {
			c := columns[i]
			if levels == nil { // bars have no heading of their own
				c.width, c.bar, c.id = c.all(), 0, false
			}
			cell := t.cut(text, c, s)
			blank := strings.Repeat(" ", max(c.width-Width(cell), 0))
			right := i < len(t.Right) && t.Right[i] || c.bar > 0
			if right {
				cell, blank = blank+cell, ""
			}
			if c.bar > 0 {
				bar := strings.Repeat(" ", c.bar)
				if levels[i] >= 0 {
					bar = s.Bar(levels[i], c.bar)
				}
				cell, blank = cell+blank+" "+bar, ""
			}
			l.WriteString(cell)
			if i < shown-1 {
				l.WriteString(blank + strings.Repeat(" ", gap))
			}
		}
		b.WriteString(strings.Repeat(" ", t.Indent))
		b.WriteString(style(strings.TrimRight(l.String(), " ")))
		return b.WriteByte('\n')
	}
	none := slices.Repeat([]float64{-1}, len(t.Columns))
	plain := func(text string) string { return text }
	if !t.NoHeader {
		if err := line(t.Columns, nil, s.Strong); err != nil {
			return err
		}
	}
	for n, row := range t.Rows {
		levels := none
		if n < len(t.Levels) {
			levels = t.Levels[n]
		}
		if err := line(row, levels, plain); err != nil {
			return err
		}
	}
	if hidden := t.Columns[shown:]; len(hidden) > 0 {
		b.WriteString(strings.Repeat(" ", t.Indent) + s.Faint(s.Cut(t.note(hidden, s.Width-t.Indent), s.Width-t.Indent)) + "\n")
	}
	return b.Flush()
}

// note names as many of the columns that are left out as there is room for, and where to find them.
func (t Table) note(hidden []string, width int) string {
	const head = "too wide to show: "
	for n := len(hidden); n > 0; n-- {
		names := strings.Join(hidden[:n], ", ")
		if n < len(hidden) {
			names += fmt.Sprintf(" and %d more", len(hidden)-n)
		}
		if text := head + names + t.Hint; Width(text) <= width {
			return text
		}
	}
	return fmt.Sprintf("%d more columns%s", len(hidden), t.Hint)
}

// measure returns the columns as wide as their cells are.
func (t Table) measure() []column {
	columns := make([]column, len(t.Columns))
	for i := range t.Columns {
		c := &columns[i]
		c.same = len(t.Rows) > 1
		c.whole = i < len(t.Right) && t.Right[i]
		uuids, times := true, true
		var cells []string // that say something
		for n, row := range t.Rows {
			c.width = max(c.width, min(Width(row[i]), maxCell))
			c.same = c.same && row[i] == t.Rows[0][i]
			if n < len(t.Levels) && t.Levels[n][i] >= 0 {
				c.bar = maxBar
			}
			if row[i] != "" && row[i] != "-" {
				cells = append(cells, row[i])
				uuids, times = uuids && isUUID(row[i]), times && isTime(row[i])
			}
		}
		if len(cells) > 0 {
			c.id = (uuids || isIDColumn(t.Columns[i])) && !c.whole && c.bar == 0
			c.whole = c.whole || times
		}
		if c.id {
			c.least = min(leastOf(cells), c.width)
		}
		if heading := t.heading(i); c.bar == 0 || heading > c.all() {
			c.width = max(c.width, heading-(c.all()-c.width))
		}
	}
	return columns
}

// heading returns how wide the heading of a column is.
func (t Table) heading(i int) int {
	if t.NoHeader {
		return 0
	}
	return min(Width(t.Columns[i]), maxCell)
}

// isUUID reports whether a cell looks like one, of which the middle says least.
func isUUID(text string) bool {
	return len(text) == 36 && strings.Count(text, "-") == 4 && strings.Trim(text, "0123456789abcdefABCDEF-") == ""
}

// isIDColumn reports whether a column is called as one of IDs is, which often begin alike.
func isIDColumn(name string) bool {
	name = strings.ToLower(name)
	return name == "id" || strings.HasSuffix(name, "_id")
}

// isTime reports whether a cell is a date with the time of day, whose end says most.
func isTime(text string) bool {
	_, err := time.Parse(time.DateTime, text)
	return err == nil
}

// leastOf returns the width at which no two IDs look alike, or maxCell.
func leastOf(ids []string) int {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for width := minID; width < maxCell; width++ {
		seen := make(map[string]bool, len(ids))
		for _, id := range ids {
			short := Style{Unicode: true}.Middle(id, width)
			if seen[short] {
				break
			}
			seen[short] = true
		}
		if len(seen) == len(ids) {
			return width
		}
	}
	return maxCell
}

// fit makes the columns narrower until they fit, and returns how many of them do.
func (t Table) fit(columns []column, width int) (shown int) {
	over := func() int {
		all := gap * (len(columns) - 1)
		for _, c := range columns {
			all += c.all()
		}
		return all - width
	}
	for bar := maxBar - 1; bar >= minBar && over() > 0; bar-- {
		for i := range columns {
			if c := &columns[i]; c.bar > 0 && c.width+1+bar >= t.heading(i) {
				c.bar = bar
			}
		}
	}
	narrow := func(c *column, least int) { c.width = max(c.width-max(over(), 0), min(c.width, least)) }
	for i := range columns { // what is the same in each row tells none from another
		switch c := &columns[i]; {
		case c.same && c.id:
			narrow(c, minID)
		case c.same && !c.whole && c.bar == 0:
			narrow(c, max(minCell, t.heading(i)))
		}
	}
	for i := range columns {
		if c := &columns[i]; c.id && !c.same {
			narrow(c, max(c.least, t.heading(i)))
		}
	}
	for least := 2 * minCell; least >= minCell; least -= minCell {
		for i := len(columns) - 1; i >= 0 && over() > 0 && least == minCell; i-- {
			if c := &columns[i]; c.bar > 0 {
				c.width, c.bar = max(c.width, t.heading(i)), 0
			}
		}
		for over() > 0 { // the widest first
			widest := -1
			for i, c := range columns {
				if !c.id && !c.whole && c.width > max(least, t.heading(i)) && (widest < 0 || c.width > columns[widest].width) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			columns[widest].width--
		}
	}
	left := width
	for i := range columns {
		c := &columns[i]
		if left < c.all() && i > 0 {
			if left >= minCell && !c.whole { // a part of it
				c.width, c.bar = left, 0
				return i + 1
			}
			return i
		}
		left -= c.all() + gap
	}
	return len(columns)
}

// cut shortens a cell to its column's width.
func (t Table) cut(text string, c column, s Style) string {
	if c.id {
		return s.Middle(text, c.width)
	}
	return s.Cut(text, c.width)
}
