package main

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// entitiesMember is where a tag has its devices and spaces, as far as FDS says: it
// names the path tag/{id}/entities.
const entitiesMember = "entities"

// tagTable shows tags with their IDs in front, and at the end how many entities
// each has.
func tagTable(tags []fds.Tag, idMember string, s terminal.Style) terminal.Table {
	group := typeGroup{idsFirst: true}
	counted := false
	for _, tag := range tags {
		r := rowOf(tag.Item)
		r.id = slices.DeleteFunc(r.id, func(f field) bool { return f.name == terminal.Escape(idMember) || f.name == entitiesMember })
		id := terminal.Escape(tag.ID())
		if id == "" {
			id = "-"
		}
		r.id = slices.Insert(r.id, 0, field{name: terminal.Escape(idMember), text: id})
		group.rows = append(group.rows, r)
		raw, has := tag.Member(entitiesMember)
		counted = counted || has
		group.last = append(group.last, entityCount(raw))
	}
	if !counted {
		group.last = nil
	}
	group.lastName = entitiesMember
	return group.table(s)
}

// entityCount gives the number of entities, or in a few words what is there
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
