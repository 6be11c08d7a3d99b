package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// jsonSink prints items as the provider sent them, one a line.
type jsonSink struct {
	*program
	turn    turn
	whose   *whose   // nil: the lines say nothing of it
	render  renderer // nil: the lines are written as they are
	held    bytes.Buffer
	printed bool
}

func (s *jsonSink) restart()    { s.held.Reset() }
func (s *jsonSink) begun() bool { return s.printed }

const flushBytes = 64 << 10 // of a list that is printed while it is read

func (s *jsonSink) add(ctx context.Context, item fds.Item) error {
	raw, ok := compact(item.Raw())
	if !ok {
		return errors.New("an item is not JSON in valid UTF-8") // ParseItem has checked it
	}
	s.held.Write(terminal.EscapeJSON(raw, s.outStyle.Width > 0))
	s.held.WriteByte('\n')
	switch n := s.held.Len(); {
	case n > heldBytes, n > flushBytes && s.printed:
		return s.flush(ctx)
	case n > aheadBytes:
		return s.turn.wait(ctx)
	}
	return nil
}

func (s *jsonSink) flush(ctx context.Context) error {
	if s.held.Len() == 0 {
		return nil
	}
	if err := s.turn.wait(ctx); err != nil {
		return err
	}
	defer s.held.Reset()
	if s.whose == nil && s.render == nil {
		s.printed = true
		return s.write(s.held.Bytes())
	}
	head, tail := "", "\n"
	if s.whose != nil {
		var err error
		if head, err = s.whose.member(ctx); err != nil {
			return err
		}
		head, tail = head+`,"item":`, "}\n"
	}
	s.printed = true
	b := bufio.NewWriterSize(writer{s.program}, flushBytes) // there may be many owners, and many small items
	var whole []byte
	for line := range bytes.Lines(s.held.Bytes()) {
		whole = append(append(append(whole[:0], head...), bytes.TrimSuffix(line, []byte("\n"))...), tail...)
		shown := whole
		if s.render != nil {
			var err error
			if shown, err = s.render(ctx, whole, s.outStyle.Width > 0); err != nil {
				return errors.Join(err, b.Flush())
			}
		}
		if _, err := b.Write(shown); err != nil {
			return err
		}
	}
	return b.Flush()
}

func (s *jsonSink) end(ctx context.Context, _ bool) error { return s.flush(ctx) }

// tableSink shows items to a person, in a table for each type.
type tableSink struct {
	*program
	turn    turn
	how     printing
	heading func(context.Context) (string, error)
	what    string // of which there may be none
	sheet   sheet
	cut     bool
}

func (s *tableSink) restart()    { s.sheet, s.cut = sheet{}, false }
func (s *tableSink) begun() bool { return false }

func (s *tableSink) add(ctx context.Context, item fds.Item) error {
	if !s.sheet.room() {
		s.cut = true
		return errEnough
	}
	s.sheet.add(rowOf(item))
	if s.sheet.bytes > aheadBytes {
		return s.turn.wait(ctx)
	}
	return nil
}

func (s *tableSink) end(ctx context.Context, whole bool) error {
	if err := s.turn.wait(ctx); err != nil {
		return err
	}
	if err := s.printHeading(ctx, s.heading); err != nil {
		return err
	}
	if whole && s.sheet.rows == 0 {
		if err := s.tellNone(s.what, s.heading != nil); err != nil {
			return err
		}
	}
	var tables []terminal.Table
	var columns []string
	for _, group := range s.sheet.groups {
		t := group.table()
		tables, columns = append(tables, t), append(columns, t.Columns...)
	}
	for i, group := range s.sheet.groups {
		table, err := s.how.arrange(tables[i], columns)
		if err != nil {
			return err
		}
		if heading := group.heading(s.outStyle); !s.how.noHeaders {
			if err := s.write([]byte(heading)); err != nil {
				return err
			}
		}
		if err := s.print(table); err != nil {
			return err
		}
	}
	s.tellCut(s.cut, s.sheet.rows)
	return nil
}

// tellNone says that a list has nothing; where it has a heading, below that.
func (p *program) tellNone(what string, headed bool) error {
	if headed {
		return p.write([]byte("No " + what + ".\n"))
	}
	p.tell("No %s.", what)
	return nil
}

// tellCut says that a table does not show all.
func (p *program) tellCut(cut bool, shown int) {
	if cut {
		p.tell("There is more than these %d%s.", shown, jsonHint)
	}
}

func (p *program) printHeading(ctx context.Context, heading func(context.Context) (string, error)) error {
	if heading == nil {
		return nil
	}
	text, err := heading(ctx)
	if err != nil {
		return err
	}
	return p.write([]byte(p.outStyle.Strong(text) + "\n"))
}

// treeSink shows spaces as a tree, for which all of them are needed.
type treeSink struct {
	*program
	turn    turn
	heading func(context.Context) (string, error)
	whose   *whose
	asJSON  bool
	spaces  []fds.Space
	bytes   int
}

const spaceBytes = 256 // about what a space takes in a tree besides its JSON

func (s *treeSink) restart()    { s.spaces, s.bytes = nil, 0 }
func (s *treeSink) begun() bool { return false }

func (s *treeSink) add(ctx context.Context, item fds.Item) error {
	s.bytes += len(item.Raw()) + spaceBytes
	if s.bytes > treeBytes {
		return fmt.Errorf("the list has more spaces than a tree is made of here, over %d MiB; without --tree all are printed by --json", treeBytes>>20)
	}
	s.spaces = append(s.spaces, fds.Space{Item: item})
	if s.bytes > aheadBytes {
		return s.turn.wait(ctx)
	}
	return nil
}

func (s *treeSink) end(ctx context.Context, whole bool) error {
	if err := s.turn.wait(ctx); err != nil {
		return err
	}
	if !s.asJSON {
		if err := s.printHeading(ctx, s.heading); err != nil {
			return err
		}
		if whole && len(s.spaces) == 0 {
			if err := s.tellNone("spaces", s.heading != nil); err != nil {
				return err
			}
		}
	}
	return s.showTree(ctx, s.spaces, s.whose, s.asJSON, whole)
}
