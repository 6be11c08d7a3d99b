package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// What a provider sends has names that no page of FDS settles, so a table's
// columns are the members that the items have.

// member is a member of a JSON object.
type member struct {
	name string
	raw  json.RawMessage
}

// membersOf returns the members of an object in their order, or nil.
func membersOf(raw json.RawMessage) []member {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var list []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		m := member{name: name.(string)}
		if d.Decode(&m.raw) != nil {
			return nil
		}
		list = append(list, m)
	}
	return list
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// field is a cell of a row.
type field struct {
	name     string
	text     string // safe to print
	percent  float64
	hasValue bool // percent is one
	nested   bool // an object or a list
	number   bool
}

// row is an item, flattened for a person's eyes.
type row struct {
	kind     string  // device_type or space_type
	id       []field // the members at the root
	specific []field
	generic  []field
	part     string // the member that holds the specific ones
}

func rowOf(item fds.Item) row {
	var r row
	for _, m := range membersOf(item.Raw()) {
		switch {
		case m.name == "generic" && isObject(m.raw):
			r.generic = fieldsOf(m.raw)
		case strings.HasSuffix(m.name, "_specific") && isObject(m.raw):
			r.specific, r.part = fieldsOf(m.raw), terminal.Short(m.name)
		case len(r.id) < maxColumns || isKind(m.name):
			r.id = append(r.id, fieldOf(m))
		}
	}
	r.id, r.generic = r.takeKind(r.id), r.takeKind(r.generic)
	return r
}

// takeKind moves the member that says the type out of the fields.
func (r *row) takeKind(fields []field) []field {
	return slices.DeleteFunc(fields, func(f field) bool {
		if isKind(f.name) {
			r.kind = f.text
		}
		return isKind(f.name)
	})
}

func isKind(name string) bool { return name == "device_type" || name == "space_type" }

// fieldsOf returns the first fields of an object, with its type and its name wherever they
// are.
func fieldsOf(raw json.RawMessage) []field {
	var list []field
	for _, m := range membersOf(raw) {
		if len(list) < maxColumns || isKind(m.name) || m.name == "name" {
			list = append(list, fieldOf(m))
		}
	}
	return list
}

func fieldOf(m member) field {
	f := field{name: terminal.Short(m.name), text: terminal.Short(brief(m.raw)), nested: m.raw[0] == '{' || m.raw[0] == '['}
	f.number = m.raw[0] == '-' || m.raw[0] >= '0' && m.raw[0] <= '9' || f.text == "-" && !f.nested
	if strings.HasSuffix(m.name, "_level") {
		n, err := strconv.ParseFloat(string(m.raw), 64)
		f.percent, f.hasValue = n, err == nil && n >= 0 && n <= 100
	}
	return f
}

// brief shows a value in a few words: an object by its name or ID, a longer list
// by its length.
func brief(raw json.RawMessage) string {
	switch {
	case len(raw) > 0 && raw[0] == '[':
		return briefList(raw)
	case isObject(raw):
		return briefObject(raw)
	}
	return scalar(raw)
}

// scalar shows a value that has no parts; what has is only hinted at. A time is
// shown in local time.
func scalar(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "-"
	case raw[0] == '{':
		return "{...}"
	case raw[0] == '[':
		return "[...]"
	case raw[0] != '"':
		return terminal.Short(string(raw))
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return terminal.Short(string(raw))
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Local().Format("2006-01-02 15:04:05")
	}
	return terminal.Short(text)
}

func briefList(raw json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return "[...]"
	}
	if len(list) == 0 {
		return "-"
	}
	if text, ok := translated(list); ok {
		return text
	}
	if len(list) > 3 || len(raw) > 60 {
		return fmt.Sprintf("%d entries", len(list))
	}
	var texts []string
	for _, e := range list {
		texts = append(texts, scalar(e))
	}
	return strings.Join(texts, ", ")
}

// translated shows a list that says the same in several languages, as the texts
// of an event specification do: the first, and what languages there are.
func translated(list []json.RawMessage) (string, bool) {
	var first string
	var languages []string
	for _, e := range list {
		var language, text string
		for _, m := range membersOf(e) {
			switch {
			case m.name == "language":
				language = scalar(m.raw)
			case text == "" && m.raw[0] == '"':
				text = scalar(m.raw)
			}
		}
		if language == "" || text == "" {
			return "", false
		}
		if languages = append(languages, language); len(languages) == 1 {
			first = text
		}
	}
	return fmt.Sprintf("%s (%s)", first, strings.Join(languages, ", ")), true
}

func briefObject(raw json.RawMessage) string {
	members := membersOf(raw)
	var name, id string
	for _, m := range members {
		switch {
		case m.name == "generic":
			for _, inner := range membersOf(m.raw) {
				if inner.name == "name" {
					name = scalar(inner.raw)
				}
			}
		case m.name == "name":
			name = scalar(m.raw)
		case strings.HasSuffix(m.name, "_id") && id == "":
			id = scalar(m.raw)
		}
	}
	switch {
	case id == fds.VoidSpaceID: // what a site is part of
		return "-"
	case name != "" && name != "-":
		return name
	case id != "":
		return id
	}
	var list []field
	var texts []string // which say by themselves what they are, as those of an address
	for _, m := range members {
		if string(m.raw) == "null" {
			continue
		}
		f := field{name: terminal.Short(m.name), text: scalar(m.raw)}
		list = append(list, f)
		if m.raw[0] == '"' {
			texts = append(texts, f.text)
		}
	}
	if len(texts) > 1 && len(texts) == len(list) {
		return strings.Join(texts[:min(len(texts), 5)], ", ")
	}
	return words(list, 4)
}

// words shows fields as "fill_level 62, state idle", the first few of them.
func words(fields []field, most int) string {
	var list []string
	for _, f := range fields {
		if len(list) == most {
			list = append(list, "...")
			break
		}
		list = append(list, f.name+" "+f.text)
	}
	return strings.Join(list, ", ")
}

// typeGroup are the items of one type, which have the same columns.
type typeGroup struct {
	kind string
	rows []row

	idsFirst bool     // also where no type is known
	lastName string   // of a further column
	last     []string // its cells, numbers, if there is one
}

// sheet is what is kept of a list for its tables: the first rows, each cut.
type sheet struct {
	groups []typeGroup
	at     map[string]int    // where the group of a type is
	names  map[string]string // of fields, each kept once
	rows   int
	bytes  int // about
}

// room reports whether another row can be kept.
func (s *sheet) room() bool { return s.rows < tableRows && s.bytes < tableBytes }

// add keeps a row.
func (s *sheet) add(r row) {
	if s.at == nil {
		s.at, s.names = make(map[string]int), make(map[string]string)
	}
	i, ok := s.at[r.kind]
	if !ok {
		i = len(s.groups)
		s.at[r.kind] = i
		s.groups = append(s.groups, typeGroup{kind: r.kind})
		s.bytes += len(r.kind) + 128
	}
	s.bytes += 128
	for _, fields := range [][]field{r.id, r.specific, r.generic} {
		for i, f := range fields {
			if known, ok := s.names[f.name]; ok {
				fields[i].name = known
			} else {
				s.names[f.name] = f.name
				s.bytes += len(f.name) + 64
			}
			s.bytes += len(f.text) + 64
		}
	}
	s.groups[i].rows = append(s.groups[i].rows, r)
	s.rows++
}

func (g typeGroup) heading(s terminal.Style) string {
	if g.kind == "" {
		return ""
	}
	return fmt.Sprintf("%s %s\n", s.Strong(g.kind), s.Faint(fmt.Sprintf("(%d)", len(g.rows))))
}

const (
	maxColumns = 64 // whatever a provider sends
	jsonHint   = "; --json shows all"
)

// table returns the group's items with what tells them apart in front: the ID, the
// name, what is specific to their type, and then the rest.
func (g typeGroup) table() terminal.Table {
	t := terminal.Table{Indent: 2, Hint: jsonHint, Rows: make([][]string, len(g.rows)), Levels: make([][]float64, len(g.rows))}
	if g.kind == "" {
		t.Indent = 0
	}
	named := make(map[string]bool)
	var others []bool // columns that hold what is no number
	add := func(part string, fields func(row) []field, wanted func(field) bool) {
		columns := make(map[string]int)
		for _, name := range inOrder(g.rows, fields, wanted) {
			if len(t.Columns) == maxColumns {
				break
			}
			columns[name] = len(t.Columns)
			shown := name
			if named[name] {
				shown = part + "." + name // as CSV has it
			}
			named[shown] = true
			t.Columns, others = append(t.Columns, shown), append(others, false)
		}
		for n, r := range g.rows {
			for _, f := range fields(r) {
				i, ok := columns[f.name]
				if !ok || !wanted(f) {
					continue
				}
				others[i] = others[i] || !f.number || f.hasValue
				for len(t.Rows[n]) <= i {
					t.Rows[n], t.Levels[n] = append(t.Rows[n], ""), append(t.Levels[n], -1)
				}
				if t.Rows[n][i] = f.text; f.hasValue {
					t.Levels[n][i] = f.percent
				}
			}
		}
	}
	root := func(r row) []field { return r.id }
	specific := func(r row) []field { return r.specific }
	generic := func(r row) []field { return r.generic }
	late := func(f field) bool { return g.kind == "" && !g.idsFirst && isUUID(f.text) } // an event's ID says little
	part := "specific"
	for _, r := range g.rows {
		part = cmp.Or(r.part, part)
	}
	add("root", root, func(f field) bool { return !late(f) })
	add("generic", generic, func(f field) bool { return f.name == "name" })
	add(part, specific, func(field) bool { return true })
	add("generic", generic, func(f field) bool { return f.name != "name" })
	add("root", root, late)
	for n := range t.Rows {
		for len(t.Rows[n]) < len(t.Columns) {
			t.Rows[n], t.Levels[n] = append(t.Rows[n], ""), append(t.Levels[n], -1)
		}
	}
	for _, other := range others {
		t.Right = append(t.Right, !other)
	}
	if g.last != nil {
		t.Columns, t.Right = append(t.Columns, g.lastName), append(t.Right, true)
		for n := range t.Rows {
			t.Rows[n], t.Levels[n] = append(t.Rows[n], g.last[n]), append(t.Levels[n], -1)
		}
	}
	return t
}

// inOrder returns the names of fields as rows have them, whichever row comes first: each after all
// that stand before it in any row, as far as rows agree.
func inOrder(rows []row, fields func(row) []field, wanted func(field) bool) []string {
	at := make(map[string]int)
	for _, r := range rows {
		for i, f := range fields(r) {
			if wanted(f) {
				at[f.name] = max(at[f.name], i)
			}
		}
	}
	return slices.SortedFunc(maps.Keys(at), func(a, b string) int {
		return cmp.Or(cmp.Compare(at[a], at[b]), cmp.Compare(a, b))
	})
}

func isUUID(text string) bool {
	_, err := uuid.Parse(text)
	return err == nil
}

// show returns the text of a cell, with a bar for a level.
func (f field) show(s terminal.Style) string {
	if !f.hasValue {
		return f.text
	}
	return fmt.Sprintf("%s %s", f.text, s.Bar(f.percent, 5))
}
