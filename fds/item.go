package fds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Item is one object of FDS, a device, a space, a message or a tag, as a
// provider sent it. All have the same root: an ID, a generic object and,
// optionally, a type-specific object. An Item keeps its bytes and returns them
// back untouched, so nothing that a provider adds is lost. Items are immutable
// and safe for concurrent use.
type Item struct {
	raw json.RawMessage
}

// ParseItem takes one JSON object in UTF-8. It keeps data, which must not be
// changed afterwards. Errors match ErrItem.
func ParseItem(data []byte) (Item, error) {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	switch {
	// The faster check, which refuses a few things more, such as half a surrogate pair.
	case jsontext.Value(data).IsValid(jsontext.AllowDuplicateNames(true)) && trimmed[0] == '{':
	case !utf8.Valid(data):
		return Item{}, fmt.Errorf("fds: parse item: %w: it is not valid UTF-8", ErrItem)
	case !json.Valid(data):
		return Item{}, fmt.Errorf("fds: parse item: %w: it is not valid JSON", ErrItem)
	case trimmed[0] != '{':
		return Item{}, fmt.Errorf("fds: parse item: %w: it is not a JSON object", ErrItem)
	}
	return Item{raw: data}, nil
}

// Raw returns the item's JSON as it was sent. The caller must not change it.
func (i Item) Raw() json.RawMessage { return i.raw }

// MarshalJSON returns the item's JSON. encoding/json then removes the white space
// between tokens and, unless SetEscapeHTML(false) says otherwise, escapes <, >
// and &; it keeps the order of members, the spelling of numbers and duplicates.
// json.Compact on Raw removes white space and nothing else.
func (i Item) MarshalJSON() ([]byte, error) {
	if i.raw == nil {
		return []byte("null"), nil
	}
	return i.raw, nil
}

// String returns the item's size and none of its content, so that a log line that
// holds an item by accident does not spill an owner's data.
func (i Item) String() string { return fmt.Sprintf("item of %d bytes", len(i.raw)) }

// Member returns the raw JSON at a path of member names below the root, and
// whether it is there: Member("generic", "device_type"). Names are compared
// exactly. Of a member that occurs twice the last one counts. The result is a
// part of Raw: the caller must not change it.
func (i Item) Member(path ...string) (json.RawMessage, bool) {
	at := []byte(i.raw)
	for _, name := range path {
		var ok bool
		if at, ok = member(at, name); !ok {
			return nil, false
		}
	}
	return at, at != nil
}

// Generic returns the object that every item has, as raw JSON.
func (i Item) Generic() (json.RawMessage, bool) { return i.Member("generic") }

// text returns the first string among the members at the given paths.
func (i Item) text(paths ...[]string) string {
	for _, path := range paths {
		if raw, ok := i.Member(path...); ok {
			if text, ok := stringValue(raw); ok {
				return text
			}
		}
	}
	return ""
}

// scalarAt returns a string, or a number as it is spelt, at a path with dots; "": there is none.
func (i Item) scalarAt(path string) string {
	if path == "" {
		return ""
	}
	raw, _ := i.Member(strings.Split(path, ".")...)
	text, _ := scalar(raw)
	return text
}

// id returns the ID of an item whose member the standard or the dialect names. A number
// is one as it is spelt.
func (i Item) id(name string) string {
	raw, _ := member(i.raw, name)
	text, _ := scalar(raw)
	return text
}
