package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// order returns the rows in the order of --sort, numbers by their size and before texts. Rows
// without a value come last.
func (o *printing) order(columns []string, cell func(row, column int) string, rows int) []int {
	order := make([]int, rows)
	for n := range order {
		order[n] = n
	}
	name, down := strings.CutPrefix(o.sort, "-")
	if name == "" {
		return order
	}
	by := slices.Index(columns, name)
	if by < 0 {
		return order
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := cell(a, by), cell(b, by)
		switch c := compareCells(x, y); {
		case isNothing(x) || isNothing(y):
			return nothingLast(x, y)
		case down:
			return -c
		default:
			return c
		}
	})
	return order
}

// choose returns which columns are shown, by their numbers: those of --columns, or all.
func (o *printing) choose(columns []string) []int {
	var shown []int
	if len(o.columns) == 0 {
		for i := range columns {
			shown = append(shown, i)
		}
	}
	for _, name := range o.columns {
		if i := slices.Index(columns, name); i >= 0 {
			shown = append(shown, i)
		}
	}
	return shown
}

// known refuses a column that no table has.
func (o *printing) known(columns []string) error {
	for _, name := range o.columns {
		if !slices.Contains(columns, name) {
			return noColumn(name, columns)
		}
	}
	if name := strings.TrimPrefix(o.sort, "-"); name != "" && !slices.Contains(columns, name) {
		return noColumn(name, columns)
	}
	return nil
}

// isNothing reports whether a cell says nothing.
func isNothing(cell string) bool { return cell == "" || cell == "-" }

func nothingLast(a, b string) int {
	switch {
	case isNothing(a) == isNothing(b):
		return 0
	case isNothing(a):
		return 1
	}
	return -1
}

func compareCells(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// noColumn is about a column that there is not.
func noColumn(name string, columns []string) error {
	var each []string
	for _, column := range columns {
		if !slices.Contains(each, column) {
			each = append(each, column)
		}
	}
	return wrongUsage("there is no column %q; there are %s%s", name, strings.Join(each[:min(len(each), maxColumns)], ", "), meant(name, each))
}

// arrange has a table show what --columns, --sort and --no-headers ask for. All are the columns of
// the tables beside it, too.
func (o *printing) arrange(t terminal.Table, all []string) (terminal.Table, error) {
	if err := o.known(all); err != nil {
		return t, err
	}
	order, shown := o.order(t.Columns, func(row, column int) string { return t.Rows[row][column] }, len(t.Rows)), o.choose(t.Columns)
	to := terminal.Table{Indent: t.Indent, Hint: t.Hint, NoHeader: o.noHeaders}
	for _, i := range shown {
		to.Columns, to.Right = append(to.Columns, t.Columns[i]), append(to.Right, i < len(t.Right) && t.Right[i])
	}
	for _, n := range order {
		var row []string
		var levels []float64
		for _, i := range shown {
			row = append(row, t.Rows[n][i])
			if n < len(t.Levels) {
				levels = append(levels, t.Levels[n][i])
			}
		}
		to.Rows = append(to.Rows, row)
		if levels != nil {
			to.Levels = append(to.Levels, levels)
		}
	}
	return to, nil
}
