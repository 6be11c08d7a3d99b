package fdstest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Odd is one entry of a list of deviations: of OddTokenAnswers and its kin, which a
// test ranges over.
//
//	for _, odd := range fdstest.OddKeySets() {
//		t.Run(odd.Name, func(t *testing.T) {
//			defer p.Inject(odd.Fault)()
//			// ... sign in; it must succeed if odd.Harmless
//		})
//	}
type Odd struct {
	Name  string // what is odd
	Fault Fault

	// Harmless means that nothing a client needs is missing or in doubt: it ought to
	// go on as if nothing were odd. What that is otherwise, the list says.
	Harmless bool
	// RefreshToken means, in OddTokenAnswers, that the new refresh token stands in
	// the answer, whole, beyond doubt and as a member of the answer itself: a client
	// must keep it, whatever it makes of the rest.
	RefreshToken bool
}

// inList returns every fault of a list the list's name.
func inList(list string, odds []Odd) []Odd {
	for i := range odds {
		odds[i].Fault.name = list + ": " + odds[i].Name
	}
	return odds
}

// member is one of a JSON object, with its value as it is written.
type member struct{ name, value string }

// members are those of a JSON object, in their order.
type members []member

// readMembers reads an object.
func readMembers(text []byte) (members, bool) {
	var m members
	decoder := json.NewDecoder(bytes.NewReader(text))
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return nil, false
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, false
		}
		m = append(m, member{name.(string), string(value)})
	}
	return m, true
}

func (m members) String() string {
	written := make([]string, 0, len(m))
	for _, one := range m {
		written = append(written, quoted(one.name)+":"+one.value)
	}
	return "{" + strings.Join(written, ",") + "}"
}

// quoted writes a string in JSON.
func quoted(s string) string {
	text, _ := json.Marshal(s) // strings have a form in JSON
	return string(text)
}

// get returns a member's value, "" when there is none.
func (m members) get(name string) string {
	for _, one := range m {
		if one.name == name {
			return one.value
		}
	}
	return ""
}

// with sets a member to another value, at its place or at the end.
func (m members) with(name, value string) members {
	if i := slices.IndexFunc(m, func(one member) bool { return one.name == name }); i >= 0 {
		m[i].value = value
		return m
	}
	return m.and(name, value)
}

// and adds a member at the end, also a second one of the name.
func (m members) and(name, value string) members { return append(m, member{name, value}) }

func (m members) without(name string) members {
	return slices.DeleteFunc(m, func(one member) bool { return one.name == name })
}

// first moves a member, if it is there, to the front.
func (m members) first(name string) members {
	value := m.get(name)
	if value == "" {
		return m
	}
	return slices.Insert(m.without(name), 0, member{name, value})
}

// twice repeats a member, if it is there, at the end, with another value or with
// its own when that is "".
func (m members) twice(name, value string) members {
	own := m.get(name)
	if own == "" {
		return m
	}
	return m.and(name, cmp.Or(value, own))
}

// inMembers has change rewrite the object that an answer is.
func inMembers(change func(members) string) func(*Reply) {
	return func(r *Reply) {
		if m, ok := readMembers(r.Body); ok {
			r.Body = []byte(change(m))
		}
	}
}

// is has an answer's member written otherwise; value "" takes it out.
func is(name, value string) func(*Reply) {
	return inMembers(func(m members) string {
		if value == "" {
			return m.without(name).String()
		}
		return m.with(name, value).String()
	})
}

// nested is an array of that depth.
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// filler is a string of n bytes.
func filler(n int) string { return quoted(strings.Repeat("x", n-2)) }

// escaped writes the first character of a string, which is one of ASCII, as an
// escape.
func escaped(value string) string {
	if len(value) < 3 || value[0] != '"' || value[1] == '\\' {
		return value
	}
	return fmt.Sprintf(`"\u%04x%s`, value[1], value[2:])
}
