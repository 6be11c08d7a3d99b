package world

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// place is where a member stands in an object's text, or could.
type place struct {
	inside  int      // behind the opening brace of the innermost object on the way to it
	empty   bool     // that object has no members
	missing []string // the names on the way from there, the member's last; nil: it is there

	before   int // the end of what stands in front of its name
	from, to int // of its value
}

// find looks a member up in a valid JSON object, below the root with dots. It says
// false where something on the way is no object, so that the member cannot be there.
// Of several of one name it is the first.
func find(raw []byte, path string) (place, bool) {
	names, base := strings.Split(path, "."), 0
	for {
		at, there := member(raw, names[0])
		value := raw[at.from:at.to]
		at.inside, at.before, at.from, at.to = at.inside+base, at.before+base, at.from+base, at.to+base
		switch {
		case !there:
			at.missing = names
			return at, true
		case len(names) == 1:
			return at, true
		case value[0] != '{':
			return place{}, false
		}
		raw, base, names = value, at.from, names[1:]
	}
}

func member(raw []byte, name string) (at place, there bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace
	at.inside = int(dec.InputOffset())
	at.empty = !dec.More()
	for dec.More() {
		before := int(dec.InputOffset())
		key, err := dec.Token()
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			break // it was not valid
		}
		if key == name {
			at.before, at.to = before, int(dec.InputOffset())
			at.from = at.to - len(value)
			return at, true
		}
	}
	return at, false
}

// withMember returns an object with a member, unless there is one of that name or cannot
// be one. Nothing else of its text changes.
func withMember(raw []byte, path, value string) json.RawMessage {
	at, ok := find(raw, path)
	if !ok || at.missing == nil {
		return raw
	}
	var text []byte
	for _, name := range at.missing {
		text = append(append(text, mustJSON(name)...), ':', '{')
	}
	text = append(text[:len(text)-1], mustJSON(value)...)
	text = append(text, strings.Repeat("}", len(at.missing)-1)...)
	if !at.empty {
		text = append(text, ',')
	}
	return slices.Insert(bytes.Clone(raw), at.inside, text...)
}

// ReplaceMember returns an object with another value of a member, below the root with
// dots; nil takes the member out. One that is not there stays away.
func ReplaceMember(raw []byte, path string, value json.RawMessage) json.RawMessage {
	at, ok := find(raw, path)
	switch {
	case !ok || at.missing != nil:
		return raw
	case value != nil:
		return slices.Replace(bytes.Clone(raw), at.from, at.to, value...)
	}
	if rest := bytes.TrimLeft(raw[at.to:], " \t\r\n"); at.before == at.inside && rest[0] == ',' {
		at.to = len(raw) - len(rest) + 1 // the first of several: the comma is behind it
	}
	return slices.Delete(bytes.Clone(raw), at.before, at.to)
}
