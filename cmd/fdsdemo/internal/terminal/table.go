package terminal

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is aligned text. Cells must be safe to print, see Escape.
type Table struct {
	Columns []string
	Rows    [][]string // each as long as Columns
	Right   []bool     // columns that are aligned to the right; may be shorter than Columns
	Indent  int
	Hint    string // where to find the columns that did not fit
}

const (
	gap     = 2  // spaces between columns
	maxCell = 60 // characters of a cell or a column's name
	minCell = 12 // a column that does not fit is cut rather than left out
)

// Write prints the table. Where the style has a width, columns that do not fit
// are left out from the right, the first one never, and named in a line below.
func (t Table) Write(w io.Writer, s Style) error {
	widths := make([]int, len(t.Columns))
	for i, name := range t.Columns {
		widths[i] = min(utf8.RuneCountInString(name), maxCell)
		for _, row := range t.Rows {
			widths[i] = max(widths[i], min(utf8.RuneCountInString(row[i]), maxCell))
		}
	}
	shown := len(widths)
	if s.Width > 0 {
		left := s.Width - t.Indent
		for i, width := range widths {
			if left < width && i > 0 {
				shown = i
				if left >= minCell { // a part of it
					widths[i], shown = left, i+1
				}
				break
			}
			left -= width + gap
		}
	}
	b := bufio.NewWriter(w) // a line is much longer than what it says when a column is wide
	line := func(cells []string, style func(string) string) error {
		var l strings.Builder
		for i, cell := range cells[:shown] {
			cell = s.Cut(cell, widths[i])
			blank := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < len(t.Right) && t.Right[i] {
				cell, blank = blank+cell, ""
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
	plain := func(text string) string { return text }
	if err := line(t.Columns, s.Strong); err != nil {
		return err
	}
	for _, row := range t.Rows {
		if err := line(row, plain); err != nil {
			return err
		}
	}
	if hidden := t.Columns[shown:]; len(hidden) > 0 {
		note := fmt.Sprintf("too wide to show: %s%s", strings.Join(hidden, ", "), t.Hint)
		b.WriteString(strings.Repeat(" ", t.Indent) + s.Faint(s.Cut(note, s.Width-t.Indent)) + "\n")
	}
	return b.Flush()
}
