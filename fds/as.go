package fds

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// As reads the member at a path below the item's root into a T, by the rules of
// encoding/json. Without a path the whole item is read. A missing member matches
// ErrNoMember, one of another kind ErrItem. The error names the path down to the
// value that does not fit, as the item spells it, such as
// generic.filters.2.level; it shows no value.
func As[T any](item Item, path ...string) (T, error) {
	var value T
	raw, ok := item.Member(path...)
	if !ok {
		return value, fmt.Errorf("fds: %s: %w", pathName(path), ErrNoMember)
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		below, kind := misfit[T](raw)
		var zero T
		return zero, fmt.Errorf("fds: %s: %w: it does not fit %v", pathName(append(path[:len(path):len(path)], below...)), ErrItem, kind)
	}
	return value, nil
}

// misfit returns the path below raw of the first value that does not fit into a T, and
// the type that was to hold it. encoding/json knows no index of an array, no name in
// a map and no path to what a type of the caller's refuses.
func misfit[T any](raw []byte) (below []string, kind reflect.Type) {
	const most = 32 // names of a path
	kind = reflect.TypeFor[T]()
	var value T
	err := jsonv2.Unmarshal(raw, &value, jsonv1.DefaultOptionsV1(), jsonv1.ReportErrorsWithLegacySemantics(false))
	var at *jsonv2.SemanticError
	if !errors.As(err, &at) {
		return nil, kind
	}
	for name := range at.JSONPointer.Tokens() {
		if len(below) == most {
			return append(below, "..."), kind
		}
		if strings.ContainsFunc(name, isOdd) || len(name) > 64 || name == "" {
			name = quoteBounded(name) // from outside
		}
		below = append(below, name)
	}
	if at.GoType != nil && len(below) > 0 {
		kind = at.GoType
	}
	return below, kind
}

// isOdd is true of what would make a name unclear or unsafe in a path.
func isOdd(r rune) bool { return r <= ' ' || r >= 0x7F || r == '.' || r == '"' }

func pathName(path []string) string {
	if len(path) == 0 {
		return "item"
	}
	return strings.Join(path, ".")
}
