package main

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// entitiesMember is where a tag has its devices and spaces, as far as FDS says: it
// names the path tag/{id}/entities.
const entitiesMember = "entities"

// tagSink shows tags to a person: their IDs in front, and at the end how many entities
// each has.
type tagSink struct {
	*program
	turn    turn
	how     printing
	heading func(context.Context) (string, error)
	sheet   sheet
	counts  []string // of entities, by row
	counted bool     // a tag has some
	cut     bool
}

func (s *tagSink) restart() {
	*s = tagSink{program: s.program, turn: s.turn, how: s.how, heading: s.heading}
}
func (s *tagSink) begun() bool { return false }

func (s *tagSink) add(_ context.Context, item fds.Item) error {
	tag, err := fds.ParseTag(item.Raw(), s.settings.Provider.Dialect)
	if err != nil {
		return err // it has been read as one
	}
	if !s.sheet.room() {
		s.cut = true
		return errEnough
	}
	idMember := terminal.Short(s.settings.Provider.Dialect.WithDefaults().TagID)
	r := rowOf(tag.Item)
	r.kind = ""
	r.id = slices.DeleteFunc(r.id, func(f field) bool { return f.name == idMember || f.name == entitiesMember })
	r.id = slices.Insert(r.id, 0, field{name: idMember, text: cmp.Or(terminal.Short(tag.ID()), "-")})
	s.sheet.add(r)
	raw, has := tag.Member(entitiesMember)
	s.counted = s.counted || has
	s.counts = append(s.counts, terminal.Short(entityCount(raw)))
	return nil
}

func (s *tagSink) end(ctx context.Context, whole bool) error {
	if err := s.turn.wait(ctx); err != nil {
		return err
	}
	if err := s.printHeading(ctx, s.heading); err != nil {
		return err
	}
	if whole && s.sheet.rows == 0 {
		if err := s.tellNone("tags", s.heading != nil); err != nil {
			return err
		}
	}
	for _, group := range s.sheet.groups { // one
		group.idsFirst, group.lastName = true, entitiesMember
		if s.counted {
			group.last = s.counts
		}
		table := group.table()
		table, err := s.how.arrange(table, table.Columns)
		if err != nil {
			return err
		}
		if err := s.print(table); err != nil {
			return err
		}
	}
	s.tellCut(s.cut, s.sheet.rows)
	return nil
}

// entityCount returns the number of entities, or in a few words what is there
// instead of a list.
func entityCount(raw json.RawMessage) string {
	var list []json.RawMessage
	switch {
	case len(raw) == 0:
		return ""
	case raw[0] == '[' && json.Unmarshal(raw, &list) == nil:
		return strconv.Itoa(len(list))
	}
	return brief(raw)
}
