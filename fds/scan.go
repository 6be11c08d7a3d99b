package fds

import (
	"bytes"
	"encoding/json"
)

// The functions of this file find values inside JSON that ParseItem has checked
// already. encoding/json would check and copy the whole rest at every step down
// a path, which a long chain of spaces turns into seconds. They stay inside
// their slice whatever it holds.

// eachMember calls visit with the name, unescaped, and the raw value of every
// member of an object, in order. It reports whether object is one.
func eachMember(object []byte, visit func(name, value []byte)) bool {
	start := skipSpace(object, 0)
	if start == len(object) || object[start] != '{' {
		return false
	}
	walkMembers(object, start, func(name []byte, at int) int {
		end := skipValue(object, at)
		visit(name, object[at:end:end])
		return end
	})
	return true
}

// walkMembers goes through the object whose brace stands at i. It calls visit
// with each member's name, unescaped, and the position of its value; visit returns
// the position after the value. walkMembers returns the position after the object.
func walkMembers(b []byte, i int, visit func(name []byte, at int) int) int {
	for i < len(b) {
		i = skipSpace(b, i+1) // over the brace or a comma
		if i >= len(b) || b[i] != '"' {
			break // the empty object
		}
		start := i
		i = skipString(b, i)
		name := unquote(b[start:i])
		i = skipSpace(b, i) + 1 // over the colon
		if i = skipSpace(b, i); i == len(b) {
			break
		}
		i = skipSpace(b, visit(name, i))
		if i == len(b) || b[i] != ',' {
			break
		}
	}
	return min(i+1, len(b))
}

// member returns the value of the last member of that name.
func member(object []byte, name string) (value []byte, ok bool) {
	eachMember(object, func(n, v []byte) {
		if string(n) == name {
			value, ok = v, true
		}
	})
	return value, ok
}

// stringValue returns the text of a JSON string.
func stringValue(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	return string(unquote(value)), true
}

// scalar returns the text of a JSON string or number.
func scalar(value []byte) (string, bool) {
	if len(value) > 0 && (value[0] == '-' || value[0] >= '0' && value[0] <= '9') {
		return string(value), true
	}
	return stringValue(value)
}

// unquote returns the text of a JSON string; without an escape it does not copy.
func unquote(quoted []byte) []byte {
	if len(quoted) < 2 {
		return nil
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return nil
	}
	return []byte(text)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return min(i, len(b))
}

// skipString returns the position after the string whose quote stands at i.
func skipString(b []byte, i int) int {
	for start := i + 1; start <= len(b); {
		length := bytes.IndexByte(b[start:], '"')
		if length < 0 {
			break
		}
		quote := start + length
		escapes := 0
		for quote-escapes > start && b[quote-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return quote + 1
		}
		start = quote + 1
	}
	return len(b)
}

// skipValue returns the position after the value that begins at i.
func skipValue(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default:
			if depth == 0 { // a number, true, false or null
				if end := bytes.IndexAny(b[i:], ",]} \t\r\n"); end > 0 {
					return i + end
				}
				return len(b)
			}
			i++
			continue
		}
		if depth <= 0 {
			return i
		}
	}
	return len(b)
}
