package following

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// encode returns the record in JSON, as json.Marshal does. That needs several times as long,
// and nearly each message has a record stored.
func (r *record) encode() ([]byte, error) {
	e := encoding{data: make([]byte, 0, 256+base64.StdEncoding.EncodedLen(len(r.Recent)))}
	if len(r.Filters) > 0 {
		e.member("filters")
		e.data = append(e.data, '[')
		for n, filter := range r.Filters {
			if n > 0 {
				e.data = append(e.data, ',')
			}
			e.text(filter)
		}
		e.data = append(e.data, ']')
	}
	if !r.Position.IsZero() {
		e.member("position")
		e.time(r.Position)
	}
	if r.Ahead != 0 {
		e.member("ahead")
		e.data = strconv.AppendInt(e.data, int64(r.Ahead), 10)
	}
	if r.Gap != nil {
		e.member("gap")
		e.value(r.Gap)
	}
	if r.Polled != nil {
		e.member("polled")
		e.value(r.Polled)
	}
	if len(r.Recent) > 0 {
		e.member("recent")
		e.data = append(e.data, '"')
		e.data = base64.StdEncoding.AppendEncode(e.data, r.Recent)
		e.data = append(e.data, '"')
	}
	if len(e.data) == 0 {
		e.data = append(e.data, '{')
	}
	return append(e.data, '}'), e.err
}

// encoding is an object in JSON that is being written.
type encoding struct {
	data []byte
	err  error // the first one
}

// member begins a member, whose name needs no escapes.
func (e *encoding) member(name string) {
	separator := byte(',')
	if len(e.data) == 0 {
		separator = '{'
	}
	e.data = append(e.data, separator, '"')
	e.data = append(e.data, name...)
	e.data = append(e.data, '"', ':')
}

// value adds what json.Marshal makes of v.
func (e *encoding) value(v any) {
	data, err := json.Marshal(v)
	if e.err == nil {
		e.err = err
	}
	e.data = append(e.data, data...)
}

// text adds a string.
func (e *encoding) text(s string) {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			e.value(s)
			return
		}
	}
	e.data = append(e.data, '"')
	e.data = append(e.data, s...)
	e.data = append(e.data, '"')
}

// time adds a time.
func (e *encoding) time(t time.Time) {
	e.data = append(slices.Grow(e.data, len(time.RFC3339Nano)+2), '"')
	data, err := t.AppendText(e.data)
	if err != nil { // its year has more than four digits, which json.Marshal refuses too
		e.err = err
		return
	}
	e.data = append(data, '"')
}
