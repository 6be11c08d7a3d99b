package fds

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// asV1 has a value read by the rules of encoding/json, but an error of it says where the value is.
var asV1 = jsonv2.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	jsonv1.ReportErrorsWithLegacySemantics(false),
	jsonv2.WithUnmarshalers(jsonv2.UnmarshalFunc(func(data []byte, n *json.Number) error {
		return json.Unmarshal(data, n) // a text to all but encoding/json
	})),
)

// As reads the member at a path below the item's root into a T, by the rules of encoding/json.
// Without a path the whole item is read. A missing member matches ErrNoMember, one of another kind
// ErrItem. The error names the path down to the value that does not fit, as the item spells it,
// such as generic.filters.2.level; it shows no value.
func As[T any](item Item, path ...string) (T, error) {
	var value, none T
	raw, ok := item.Member(path...)
	if !ok {
		return none, fmt.Errorf("fds: %s: %w", pathName(path), ErrNoMember)
	}
	if err := jsonv2.Unmarshal(raw, &value, asV1); err != nil {
		below, kind := misfit(err, reflect.TypeFor[T]())
		whole := pathName(slices.Concat(path, below))
		return none, fmt.Errorf("fds: %s: %w: it does not fit %v", whole, ErrItem, kind)
	}
	return value, nil
}

// misfit returns the path below a value of type kind of what did not fit into it, and the type that
// was to hold that.
func misfit(err error, kind reflect.Type) ([]string, reflect.Type) {
	const most = 32 // names of a path
	var at *jsonv2.SemanticError
	if !errors.As(err, &at) {
		return nil, kind
	}
	var below []string
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

// isOdd reports whether a rune would make a name unclear or unsafe in a path.
func isOdd(r rune) bool { return r <= ' ' || r >= 0x7F || r == '.' || r == '"' }

func pathName(path []string) string {
	if len(path) == 0 {
		return "item"
	}
	return strings.Join(path, ".")
}
