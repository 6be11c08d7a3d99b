package pull

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
)

// members are parts of an answer by where they stand, as names joined with dots.
type members map[string]json.RawMessage

// keep takes what is wanted, or holds what is wanted.
func (m *members) keep(wanted []string, at string, raw json.RawMessage) bool {
	holds := slices.ContainsFunc(wanted, func(name string) bool { return name == at || strings.HasPrefix(name, at+".") })
	if holds {
		if *m == nil {
			*m = members{}
		}
		(*m)[at] = raw
	}
	return holds
}

var errNoObject = errors.New("is below something that is no object")

// get returns the member of that name, or nil.
func (m members) get(name string) (json.RawMessage, error) {
	for at := name; at != ""; { // the longest first: a name may hold dots
		if raw, kept := m[at]; kept {
			return below(raw, strings.TrimPrefix(name[len(at):], "."))
		}
		at = at[:max(strings.LastIndexByte(at, '.'), 0)]
	}
	return nil, nil
}

// below returns the member of that name in an object, or nil. In place of an object null
// or something empty may stand.
func below(raw json.RawMessage, name string) (json.RawMessage, error) {
	switch {
	case name == "":
		return raw, nil
	case isNothing(raw):
		return nil, nil
	}
	object, err := fds.ParseItem(raw)
	if err != nil {
		return nil, errNoObject
	}
	for at := name; at != ""; {
		if value, ok := object.Member(at); ok {
			return below(value, strings.TrimPrefix(name[len(at):], "."))
		}
		at = at[:max(strings.LastIndexByte(at, '.'), 0)]
	}
	return nil, nil
}

// isNothing reports whether a value is null, false or empty.
func isNothing(raw json.RawMessage) bool {
	if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
		return len(bytes.Trim(raw[1:len(raw)-1], " \t\r\n")) == 0
	}
	switch string(raw) {
	case "", "null", "false", `""`:
		return true
	}
	return false
}

// isBare reports whether a member of an answer can be neither a list, nor an error: what
// it says is nothing, a number or a switch, or links.
func isBare(name string, raw json.RawMessage) bool {
	switch strings.ToLower(name) {
	case "_links", "links":
		return true
	case "status", "code", "error", "errors", "fault", "exception", "message":
		return isNothing(raw)
	}
	if isNothing(raw) || isSwitchOrNumber(raw) {
		return true
	}
	var counts map[string]json.RawMessage // such as of the pages
	if json.Unmarshal(raw, &counts) != nil {
		return false
	}
	for _, value := range counts {
		if !isNothing(value) && !isSwitchOrNumber(value) {
			return false
		}
	}
	return true
}

func isSwitchOrNumber(raw json.RawMessage) bool {
	return string(raw) == "true" || len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}
