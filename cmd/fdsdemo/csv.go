package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// csvSink writes items as CSV (RFC 4180): a column for each member that has no parts, with dots
// below the root, and lists as JSON. What it holds goes to the sheet of the command, since any
// list may bring a column.
type csvSink struct {
	turn  turn
	sheet *csvSheet // of all lists
	own   csvSheet
}

func (s *csvSink) restart()    { s.own = csvSheet{} }
func (s *csvSink) begun() bool { return false }

func (s *csvSink) add(ctx context.Context, item fds.Item) error {
	s.own.add(item)
	if s.own.bytes > tableBytes {
		return fmt.Errorf("the list is longer than CSV is made of here, over %d MiB; take --output json", tableBytes>>20)
	}
	if s.own.bytes > aheadBytes {
		return s.turn.wait(ctx)
	}
	return nil
}

func (s *csvSink) end(ctx context.Context, _ bool) error {
	if err := s.turn.wait(ctx); err != nil {
		return err
	}
	return s.sheet.join(&s.own)
}

// csvSheet are rows with the columns that they have.
type csvSheet struct {
	columns []string
	at      map[string]int
	rows    [][]string // may be shorter than columns
	bytes   int        // about
}

const deepestColumn = 16

func (s *csvSheet) add(item fds.Item) {
	s.rows = append(s.rows, nil)
	s.bytes += len(item.Raw()) + 64
	s.flatten("", item.Raw(), 0)
}

// flatten puts the members of an object into the columns of the last row.
func (s *csvSheet) flatten(path string, raw json.RawMessage, depth int) {
	members := membersOf(raw)
	if !isObject(raw) || len(members) == 0 || depth == deepestColumn {
		s.put(path, csvText(raw))
		return
	}
	for _, m := range members {
		below := m.name
		if path != "" {
			below = path + "." + m.name
		}
		s.flatten(below, m.raw, depth+1)
	}
}

// csvText returns a text as it is, nothing of null, and all else as JSON.
func csvText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil { // of null, too
		return text
	}
	return string(raw)
}

// column returns the number of a column, which it adds where it is not yet.
func (s *csvSheet) column(name string) int {
	i, known := s.at[name]
	if !known {
		if s.at == nil {
			s.at = make(map[string]int)
		}
		i = len(s.columns)
		s.at[name], s.columns = i, append(s.columns, name)
		s.bytes += len(name) + 64
	}
	return i
}

// put puts a cell into the last row.
func (s *csvSheet) put(column, text string) {
	i := s.column(column)
	row := &s.rows[len(s.rows)-1]
	for len(*row) <= i {
		*row = append(*row, "")
		s.bytes += 16
	}
	(*row)[i] = text
}

// join takes the rows of another sheet.
func (s *csvSheet) join(o *csvSheet) error {
	for _, name := range o.columns {
		s.column(name)
	}
	for _, row := range o.rows {
		s.rows = append(s.rows, nil)
		for i, text := range row {
			if text != "" {
				s.put(o.columns[i], text)
			}
		}
	}
	if s.bytes += o.bytes; s.bytes > 4*tableBytes {
		return fmt.Errorf("the lists are longer than CSV is made of here, over %d MiB; take --output json, or fewer owners", 4*tableBytes>>20)
	}
	return nil
}

// write prints the rows.
func (s *csvSheet) write(p *program, how *printing) error {
	if len(s.rows) == 0 {
		return nil
	}
	if err := how.known(s.columns); err != nil {
		return err
	}
	order, shown := how.order(s.columns, s.cell, len(s.rows)), how.choose(s.columns)
	w := csv.NewWriter(writer{p})
	if !how.noHeaders {
		var names []string
		for _, i := range shown {
			name := s.columns[i]
			if p.outStyle.Width > 0 {
				name = terminal.Escape(name)
			}
			names = append(names, name)
		}
		_ = w.Write(names) // Error tells
	}
	for _, n := range order {
		cells := make([]string, 0, len(shown))
		for _, i := range shown {
			cell := s.cell(n, i)
			if p.outStyle.Width > 0 {
				cell = terminal.Escape(cell)
			}
			cells = append(cells, cell)
		}
		_ = w.Write(cells)
	}
	w.Flush()
	return w.Error()
}

func (s *csvSheet) cell(row, column int) string {
	if column < len(s.rows[row]) {
		return s.rows[row][column]
	}
	return ""
}
