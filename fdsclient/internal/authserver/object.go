package authserver

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// object is what was found in an answer of the server: of the members at the top
// level of a JSON object, or of a form's pairs, those that were asked for.
type object struct {
	members map[string]*member
	fault   error // why it is not one whole object; what was found before that is here
}

// member is one of an object. One that stands there twice is not readable, since two
// readers could take either.
type member struct {
	raw   json.RawMessage // as it stands, perhaps no JSON; of the last
	text  string          // of the last that is a text and not empty
	times int
}

func (o *object) add(name string, raw []byte) {
	if o.members == nil {
		o.members = make(map[string]*member)
	}
	m := o.members[name]
	if m == nil {
		m = new(member)
		o.members[name] = m
	}
	m.raw = raw
	m.times++
	var text string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil && text != "" {
		m.text = text
	}
}

// twice returns the first of names that stands there more than once, or "".
func (o *object) twice(names ...string) string {
	for _, name := range names {
		if m := o.members[name]; m != nil && m.times > 1 {
			return name
		}
	}
	return ""
}

// raw returns a member as it stands; nil when it is missing, null, or not readable.
func (o *object) raw(name string) json.RawMessage {
	m := o.members[name]
	if m == nil || m.times > 1 || string(m.raw) == "null" {
		return nil
	}
	return m.raw
}

// text returns a member that is a text; "" when it is missing, empty, or not readable.
func (o *object) text(name string) string {
	if raw := o.raw(name); len(raw) == 0 || raw[0] != '"' {
		return ""
	}
	return o.members[name].text
}

// lastText returns the last text that stands there by that name, for what must not be
// lost whatever is wrong.
func (o *object) lastText(name string) string {
	if m := o.members[name]; m != nil {
		return m.text
	}
	return ""
}

// flag returns a member that is true, or says so; false when it is anything else.
func (o *object) flag(name string) bool {
	return string(o.raw(name)) == "true" || strings.EqualFold(o.text(name), "true")
}

// list returns a member that is an array of texts, or a text of several with one of
// separators between; nil when it is missing or not readable. What is no text in an
// array is passed over.
func (o *object) list(name, separators string) []string {
	if text := o.text(name); text != "" {
		return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(separators, r) })
	}
	var values []any
	if json.Unmarshal(o.raw(name), &values) != nil {
		return nil
	}
	texts := make([]string, 0, len(values))
	for _, value := range values {
		if text, ok := value.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// longestTime is what a server can say in seconds; more is nonsense.
const longestTime = 100 * 366 * 24 * time.Hour

// number returns a member that is a finite number, or a text with one.
func (o *object) number(name string) (n float64, ok bool) {
	text := string(o.raw(name))
	if quoted := o.text(name); quoted != "" {
		text = strings.TrimSpace(quoted)
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// seconds returns a member that is a number of seconds, or a text with one; 0 when it is
// missing, not positive, beyond measure, or not readable.
func (o *object) seconds(name string) time.Duration {
	n, ok := o.number(name)
	if !ok || n <= 0 || n > longestTime.Seconds() {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

// date returns a member that is a NumericDate (RFC 7519 section 2); zero when it is
// missing or not readable.
func (o *object) date(name string) time.Time {
	n, ok := o.number(name)
	if !ok || n <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(min(n, 1<<40)), 0) // beyond any time that matters
}
